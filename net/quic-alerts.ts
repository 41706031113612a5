/** RFC 9001 §4.8: in QUIC an alert of TLS is an error code from here on. */
const FIRST_ALERT = 0x100
const LAST_ALERT = 0x1ff

/** RFC 8446 §6. */
export const ALERT = {
  BAD_CERTIFICATE: 42,
  UNSUPPORTED_CERTIFICATE: 43,
  CERTIFICATE_REVOKED: 44,
  CERTIFICATE_EXPIRED: 45,
  CERTIFICATE_UNKNOWN: 46,
  UNKNOWN_CA: 48,
  NO_APPLICATION_PROTOCOL: 120,
} as const
const ALERT_NAMES: Readonly<Record<number, string>> = {
  10: 'unexpected_message',
  40: 'handshake_failure',
  [ALERT.BAD_CERTIFICATE]: 'bad_certificate',
  [ALERT.UNSUPPORTED_CERTIFICATE]: 'unsupported_certificate',
  [ALERT.CERTIFICATE_REVOKED]: 'certificate_revoked',
  [ALERT.CERTIFICATE_EXPIRED]: 'certificate_expired',
  [ALERT.CERTIFICATE_UNKNOWN]: 'certificate_unknown',
  47: 'illegal_parameter',
  [ALERT.UNKNOWN_CA]: 'unknown_ca',
  49: 'access_denied',
  50: 'decode_error',
  51: 'decrypt_error',
  70: 'protocol_version',
  71: 'insufficient_security',
  80: 'internal_error',
  109: 'missing_extension',
  110: 'unsupported_extension',
  112: 'unrecognized_name',
  116: 'certificate_required',
  [ALERT.NO_APPLICATION_PROTOCOL]: 'no_application_protocol',
}

/** The alert that an error code stands for; -1: none. */
export function alertOf(code: number): number {
  return code >= FIRST_ALERT && code <= LAST_ALERT ? code - FIRST_ALERT : -1
}

export function alertName(alert: number): string {
  return ALERT_NAMES[alert] ?? String(alert)
}

/**
 * What is wrong with the certificate of a server, when a client ended its handshake with `alert`: servers cannot see a certificate
 * of ours before the handshake is complete, so these are our own. Null: something else is.
 */
export function certificateProblem(alert: number, serverName: string): string | null {
  switch (alert) {
    case ALERT.BAD_CERTIFICATE:
      return `the certificate is not for ${serverName}, or not valid`
    case ALERT.CERTIFICATE_EXPIRED:
      return 'the certificate has expired'
    case ALERT.UNKNOWN_CA:
      return 'the issuer of the certificate is unknown'
    case ALERT.UNSUPPORTED_CERTIFICATE:
    case ALERT.CERTIFICATE_REVOKED:
    case ALERT.CERTIFICATE_UNKNOWN:
      return `the certificate is not accepted (TLS alert ${alertName(alert)})`
  }
  return null
}
