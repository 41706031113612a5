import { X509Certificate } from 'node:crypto'
import type { Identity } from './identity.ts'

/** The curves of TLS (RFC 8446 §4.2.7), by the names that OpenSSL has for them. */
const CURVES: Readonly<Record<string, string>> = { prime256v1: 'P-256', secp384r1: 'P-384', secp521r1: 'P-521' }

/** What kind of key a certificate is for, as people call it: "ECDSA P-256", "RSA 2048", "Ed25519". */
export function keyKindOf({ chainPem }: Pick<Identity, 'chainPem'>): string {
  const { asymmetricKeyType: type = '', asymmetricKeyDetails: details } = new X509Certificate(chainPem).publicKey
  if (type === 'ec') return `ECDSA ${CURVES[details?.namedCurve ?? ''] ?? details?.namedCurve}`
  if (type === 'rsa' || type === 'rsa-pss') return `RSA ${details?.modulusLength}`
  return `${type.charAt(0).toUpperCase()}${type.slice(1)}`
}
