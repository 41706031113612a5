import { OperationalError, reasonOf } from '../../dns/operational-error.ts'
import { ALERT } from '../../net/quic-alerts.ts'
import { HandshakeError } from '../client/quic-codes.ts'
import { printable } from './lines.ts'
import type { QueryRequest } from './query-arguments.ts'

/** OpenSSL's ways of saying that the chain does not lead to a known root. */
const UNKNOWN_ISSUER = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
])

const TRUST_ADVICE = '; use --ca <file> to trust its CA'
const NAME_ADVICE = '; use --server-name <name> to expect another name'
const ALERT_ADVICE: Readonly<Record<number, string>> = { [ALERT.UNKNOWN_CA]: TRUST_ADVICE, [ALERT.BAD_CERTIFICATE]: NAME_ADVICE }

/** The error with which the command ends when `error` kept it from an answer. */
export function queryFailure({ server, timeoutMs }: QueryRequest, error: unknown): OperationalError {
  const reason = isTimeout(error) ? `no answer within ${duration(timeoutMs)}` : reasonText(error)
  // much of it was written by the other side, and goes to a terminal
  return new OperationalError('ATLAS_QUERY', `Cannot query ${server.text}: ${printable(reason)}`, error)
}

function isTimeout(error: unknown): boolean {
  return error instanceof DOMException && error.name === 'TimeoutError'
}

function duration(milliseconds: number): string {
  return milliseconds % 1000 === 0 ? `${milliseconds / 1000} s` : `${milliseconds} ms`
}

function reasonText(error: unknown): string {
  const reason = reasonOf(error)
  if (error instanceof HandshakeError) return `${reason}${ALERT_ADVICE[error.alert] ?? ''}`
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  // Node.js has advice of its own behind the semicolon, about its own options
  if (UNKNOWN_ISSUER.has(code)) return `${reason.split(';')[0]}${TRUST_ADVICE}`
  return code === 'ERR_TLS_CERT_ALTNAME_INVALID' ? `${reason}${NAME_ADVICE}` : reason
}
