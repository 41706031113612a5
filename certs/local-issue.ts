import { KeyObject, randomBytes, webcrypto, X509Certificate } from 'node:crypto'
import type { Extension, X509CertificateCreateCommonParams } from '@peculiar/x509'
import type { LocalNames } from './local-names.ts'
import { NAME_CONSTRAINTS_OID, nameConstraints } from './name-constraints.ts'

export interface Issued {
  readonly certPem: string
  readonly keyPem: string
}

export interface Issuer {
  readonly certificate: X509Certificate
  readonly key: KeyObject
}

/** A CA certificate that can vouch for these names and addresses only, with a new key. `now`: milliseconds since 1970. */
export async function issueCa(names: LocalNames, now: number): Promise<Issued> {
  const x509 = await loadX509()
  const keys = await makeKeys()
  const subject = `CN=Atlas DNS local CA ${randomBytes(4).toString('hex')}` // clients find an issuer by name: two CAs must differ
  const extensions = [
    new x509.BasicConstraintsExtension(true, 0, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
    await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    new x509.Extension(NAME_CONSTRAINTS_OID, true, nameConstraints(names)),
  ]
  const validity = { notBefore: seconds(now - BACKDATE_MS), notAfter: seconds(now + CA_LIFETIME_MS) }
  return sign(keys, { subject, issuer: subject, ...validity, extensions, signingKey: keys.privateKey })
}

/** A server certificate under `issuer` for all of `names`, with a new key. `now`: milliseconds since 1970. */
export async function issueLeaf(issuer: Issuer, { names, now }: { names: LocalNames; now: number }): Promise<Issued> {
  const x509 = await loadX509()
  const keys = await makeKeys()
  const parent = new x509.X509Certificate(issuer.certificate.raw)
  const extensions = [
    new x509.BasicConstraintsExtension(false, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
    new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
    new x509.SubjectAlternativeNameExtension([
      ...names.names.map((value) => ({ type: 'dns' as const, value })),
      ...names.addresses.map((value) => ({ type: 'ip' as const, value })),
    ]),
    await x509.AuthorityKeyIdentifierExtension.create(parent.publicKey),
    await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
  ]
  const notAfter = Math.min(now - BACKDATE_MS + LEAF_LIFETIME_MS, issuer.certificate.validToDate.getTime())
  const signingKey = issuer.key.toCryptoKey(ECDSA_P256, false, ['sign'])
  return sign(keys, {
    subject: 'O=Atlas DNS Gateway', // no CN: OpenSSL and GnuTLS hold it against the name constraints of DNS names
    issuer: parent.subjectName,
    notBefore: seconds(now - BACKDATE_MS),
    notAfter: seconds(notAfter),
    extensions,
    signingKey,
  })
}

export const DAY_MS = 86_400_000
const CA_LIFETIME_MS = 3650 * DAY_MS
/** Browsers and Apple's systems refuse more than 398 days; the end counts as valid too, so 397 are not quite used up. */
const LEAF_LIFETIME_MS = 397 * DAY_MS - 1000
/** For clients whose clock is behind. */
export const BACKDATE_MS = 3_600_000
const ECDSA_P256 = { name: 'ECDSA', namedCurve: 'P-256' }
const SERIAL_OCTETS = 16

/** 180 ms and 20 MB, so only when a certificate has to be made or taken apart. It throws unless reflect-metadata came first. */
export async function loadX509(): Promise<typeof import('@peculiar/x509')> {
  await import('reflect-metadata')
  return import('@peculiar/x509')
}

export async function makeKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ECDSA_P256, true, ['sign', 'verify'])
}

interface Content extends X509CertificateCreateCommonParams {
  readonly signingKey: webcrypto.CryptoKey
  readonly extensions: Extension[]
}

/** `content` signed, with a serial number that nobody else has. */
export async function sign(keys: webcrypto.CryptoKeyPair, content: Content): Promise<Issued> {
  const { X509CertificateGenerator } = await loadX509()
  const serial = randomBytes(SERIAL_OCTETS)
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40 // positive and without a leading zero (RFC 5280 §4.1.2.2)
  const certificate = await X509CertificateGenerator.create({
    ...content,
    serialNumber: serial.toString('hex'),
    publicKey: keys.publicKey,
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
  })
  return {
    certPem: new X509Certificate(Buffer.from(certificate.rawData)).toString(),
    keyPem: KeyObject.from(keys.privateKey).export({ type: 'pkcs8', format: 'pem' }),
  }
}

/** X.509 times have no fraction. */
export function seconds(time: number): Date {
  return new Date(Math.floor(time / 1000) * 1000)
}
