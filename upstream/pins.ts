import { createHash, X509Certificate } from 'node:crypto'
import type { DetailedPeerCertificate } from 'node:tls'

/** Certificates of one chain that are looked at; public chains have three or four. */
const MAX_CHAIN = 10

/**
 * Whether one of the pinned keys (RFC 7858 §4.2: base64 of the SHA-256 of the SubjectPublicKeyInfo) is that of the leaf or of
 * an issuer above it. The way up is proved by signatures: Node links certificates by name alone, and anybody can send a copy
 * of somebody else's behind his own.
 */
export function hasPinnedKey(leaf: DetailedPeerCertificate, pins: readonly string[]): boolean {
  try {
    let details = leaf
    let certificate = new X509Certificate(leaf.raw)
    for (let depth = 0; depth < MAX_CHAIN; depth++) {
      if (pins.includes(keyHash(certificate))) return true
      details = details.issuerCertificate
      // the list of what the server sent ends without an issuer, or with one that names itself
      if (details === undefined || details.raw.equals(certificate.raw)) return false
      const issuer = new X509Certificate(details.raw)
      if (!issuer.ca || !certificate.verify(issuer.publicKey)) return false
      certificate = issuer
    }
  } catch {
    // a kind of key that OpenSSL does not know
  }
  return false
}

function keyHash({ publicKey }: X509Certificate): string {
  return createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('base64')
}
