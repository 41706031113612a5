import { constants } from 'node:crypto'
import { createSecureContext, type SecureContextOptions } from 'node:tls'

export interface TlsPolicyOptions {
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3'
}

/**
 * Options common to every TLS listener, but for ALPN: its names are those of the protocols behind it, and stand where these are served
 * (transports/stream-transport.ts, doh/doh.ts, doh/http3.ts, doq/doq.ts). Early data stays off (RFC 8446 §8: it can be replayed): Node offers none unless asked.
 */
export function tlsPolicy({ minVersion }: TlsPolicyOptions): SecureContextOptions {
  return {
    minVersion,
    ecdhCurve: supportsGroups(HYBRID_GROUPS) ? HYBRID_GROUPS : CLASSIC_GROUPS,
    honorCipherOrder: true,
    sessionIdContext: SESSION_ID_CONTEXT,
    sessionTimeout: TICKET_LIFETIME_S,
    // RFC 9113 §9.2.1: HTTP/2 allows neither renegotiation nor compression; OpenSSL is built without the latter
    ...(minVersion === 'TLSv1.2' && { ciphers: CIPHERS_WITH_TLS12, secureOptions: constants.SSL_OP_NO_RENEGOTIATION }),
  }
}

/**
 * Options common to every TLS connection to a server: 1.2 too, which servers in the field have (RFC 8310 §9 allows it). The
 * groups are OpenSSL's own, where the hybrid one comes with a second key share, so that older servers cost no round trip more.
 */
export function clientTlsPolicy(): SecureContextOptions {
  return { minVersion: 'TLSv1.2', ciphers: CIPHERS_WITH_TLS12, secureOptions: constants.SSL_OP_NO_RENEGOTIATION }
}

/** Node's own default hashes `process.argv`: after a restart with other arguments no ticket would fit. */
const SESSION_ID_CONTEXT = 'atlas-dns'

/** RFC 8446 §4.6.1 allows 604,800 at most. A phone that comes back within the day resumes. */
const TICKET_LIFETIME_S = 86_400

/** How long one key makes session tickets: who learns it can read the early secrets of no more sessions than these. */
export const TICKET_ROTATION_MS = 12 * 3_600_000

/** Keys that are accepted, the newest included: what its last second's tickets say of their lifetime is to be true. */
export const TICKET_KEYS = 1 + Math.ceil((TICKET_LIFETIME_S * 1000) / TICKET_ROTATION_MS)

const CLASSIC_GROUPS = 'X25519:P-256'
/** Against recording now and decrypting later. */
const HYBRID_GROUPS = `X25519MLKEM768:${CLASSIC_GROUPS}`

/** For 1.2 only ECDHE with an AEAD: the suites that RFC 9113 Appendix A does not prohibit. Those of 1.3 must be repeated, or 1.3 is off. */
const CIPHERS_WITH_TLS12 = [
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'TLS_AES_128_GCM_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
].join(':')

/** A Node that uses the system's OpenSSL may have one older than 3.5, which does not know ML-KEM. */
function supportsGroups(ecdhCurve: string): boolean {
  try {
    createSecureContext({ ecdhCurve })
    return true
  } catch {
    return false
  }
}
