import type { X509Certificate } from 'node:crypto'

/** NIST SP 800-57 part 1, table 2: less than 112 bits of security; public CAs and browsers take no smaller ones. */
const MIN_RSA_BITS = 2048
const MIN_CURVE_BITS = 256

/** What is too weak in a chain that holds together, for people; null: nothing. Clients would refuse it, TLS or we. */
export function weaknessOf(chain: readonly X509Certificate[]): string | null {
  for (const [i, certificate] of chain.entries()) {
    const weakness = weakKey(certificate) ?? (isTrustAnchor(certificate, i) ? null : weakSignature(certificate))
    if (weakness !== null) return `certificate ${i + 1} in it ${weakness}`
  }
  return null
}

function weakKey({ publicKey }: X509Certificate): string | null {
  const { modulusLength, namedCurve } = publicKey.asymmetricKeyDetails ?? {}
  if (modulusLength !== undefined && modulusLength < MIN_RSA_BITS) {
    return `has a key of ${modulusLength} bits, and less than ${MIN_RSA_BITS} are too few`
  }
  if (publicKey.asymmetricKeyType !== 'ec') return null
  if (namedCurve === undefined) return 'has a key on a curve without a name, which TLS does not know' // RFC 8422 §5.4
  // nearly every name says the size; those that do not (WAP, Oakley) are of small ones
  return Number(/\d{3}/.exec(namedCurve)) < MIN_CURVE_BITS ? `has a key on the curve ${namedCurve}, which is too small` : null
}

/** RFC 9155 §2, RFC 5246 §7.4.2: nobody accepts them any more. */
function weakSignature({ signatureAlgorithm = '' }: X509Certificate): string | null {
  return /sha1(?!\d)|md\d/i.test(signatureAlgorithm) ? `is signed with ${signatureAlgorithm}, which is broken` : null
}

/** A root is trusted for being known, whatever its signature (RFC 5280 §6.1); a leaf that signed itself is none. */
function isTrustAnchor(certificate: X509Certificate, position: number): boolean {
  return position > 0 && certificate.issuer === certificate.subject
}
