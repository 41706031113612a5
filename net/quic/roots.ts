import 'reflect-metadata'
import { X509Certificate } from 'node:crypto'
import { AsnConvert } from '@peculiar/asn1-schema'
import { Certificate, type GeneralSubtrees, id_ce_nameConstraints, NameConstraints } from '@peculiar/asn1-x509'

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g

/**
 * Roots for the library, whose TLS (BoringSSL) refuses every certificate with an address below a root that constrains
 * addresses (RFC 5280 §4.2.1.10), as our local CA does. It verifies DNS names only, and the constraints on those stay; a
 * root is trusted for standing in this list, so that its own signature no longer fits does not matter.
 */
export function withoutAddressConstraints(pem: string): string {
  return pem.replaceAll(PEM_CERTIFICATE, (block) => {
    // nearly all roots have none, and parsing is slow
    const { raw } = new X509Certificate(block)
    return raw.includes(NAME_CONSTRAINTS_OID) ? withoutAddresses(raw) : block
  })
}

/** 2.5.29.30 as it stands in DER. */
const NAME_CONSTRAINTS_OID = Buffer.from('0603551d1e', 'hex')

function withoutAddresses(der: Uint8Array): string {
  const certificate = AsnConvert.parse(der, Certificate)
  for (const extension of certificate.tbsCertificate.extensions ?? []) {
    if (extension.extnID !== id_ce_nameConstraints) continue
    const constraints = AsnConvert.parse(extension.extnValue.buffer, NameConstraints)
    dropAddresses(constraints.permittedSubtrees)
    dropAddresses(constraints.excludedSubtrees)
    extension.extnValue.buffer = AsnConvert.serialize(constraints)
  }
  return new X509Certificate(Buffer.from(AsnConvert.serialize(certificate))).toString()
}

function dropAddresses(subtrees: GeneralSubtrees | undefined): void {
  if (subtrees === undefined) return
  const kept = subtrees.filter(({ base }) => base.iPAddress === undefined)
  subtrees.splice(0, subtrees.length, ...kept)
}
