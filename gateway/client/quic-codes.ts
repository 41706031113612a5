import { H3, Qpack } from '../../net/http3/errors.ts'
import type { QuicCloseReason } from '../../net/quic.ts'
import { ALERT, alertName, alertOf, certificateProblem } from '../../net/quic-alerts.ts'
import { RefusedError } from './exchange.ts'

/** RFC 9250 §8.4. */
const DOQ_NAMES: Readonly<Record<number, string>> = {
  0: 'DOQ_NO_ERROR',
  1: 'DOQ_INTERNAL_ERROR',
  2: 'DOQ_PROTOCOL_ERROR',
  3: 'DOQ_REQUEST_CANCELLED',
  4: 'DOQ_EXCESSIVE_LOAD',
  5: 'DOQ_UNSPECIFIED_ERROR',
  3499682398: 'DOQ_ERROR_RESERVED',
}

const HTTP3_NAMES: Readonly<Record<number, string>> = Object.fromEntries([
  ...Object.entries(H3).map(([name, code]) => [code, `H3_${name}`]),
  ...Object.entries(Qpack).map(([name, code]) => [code, `QPACK_${name}`]),
])

/** RFC 9000 §20.1. */
const CONNECTION_REFUSED = 0x2
/** RFC 9000 §10.2.3: what a server says in place of a code of its protocol while it cannot know whether the client reads that yet. */
const APPLICATION_ERROR = 0xc
const TRANSPORT_NAMES: readonly string[] = [
  'NO_ERROR',
  'INTERNAL_ERROR',
  'CONNECTION_REFUSED',
  'FLOW_CONTROL_ERROR',
  'STREAM_LIMIT_ERROR',
  'STREAM_STATE_ERROR',
  'FINAL_SIZE_ERROR',
  'FRAME_ENCODING_ERROR',
  'TRANSPORT_PARAMETER_ERROR',
  'CONNECTION_ID_LIMIT_ERROR',
  'PROTOCOL_VIOLATION',
  'INVALID_TOKEN',
  'APPLICATION_ERROR',
  'CRYPTO_BUFFER_EXCEEDED',
  'KEY_UPDATE_ERROR',
  'AEAD_LIMIT_REACHED',
  'NO_VIABLE_PATH',
]

export function doqCodeText(code: number): string {
  return DOQ_NAMES[code] ?? otherCodeText(code)
}

export function http3CodeText(code: number): string {
  return HTTP3_NAMES[code] ?? otherCodeText(code)
}

export interface Expectation {
  /** Of the certificate. */
  readonly serverName: string
  /** What the server was to speak, for people. */
  readonly protocolName: string
}

/** TLS within QUIC did not come about. */
export class HandshakeError extends Error {
  override readonly name = 'HandshakeError'
  /** RFC 8446 §6. */
  readonly alert: number

  constructor(message: string, alert: number) {
    super(message)
    this.alert = alert
  }
}

/** Why there is no connection, when it closed before its handshake was complete. Only the alert is known of what TLS disliked. */
export function handshakeError({ code, text }: QuicCloseReason, expectation: Expectation): Error {
  const alert = alertOf(code)
  if (alert >= 0) {
    return new HandshakeError(`${alertMeaning(alert, expectation)} (${alertText(code)})`, alert)
  }
  const message = `the server refused the connection (${withReason(TRANSPORT_NAMES[code] ?? hex(code), text)})`
  return isRefusal(code) ? new RefusedError(message) : new Error(message)
}

/** Whether a code of QUIC itself says that the connection is not wanted. */
export function isRefusal(code: number): boolean {
  return code === CONNECTION_REFUSED || code === APPLICATION_ERROR
}

function alertMeaning(alert: number, { serverName, protocolName }: Expectation): string {
  if (alert === ALERT.NO_APPLICATION_PROTOCOL) return `the server does not speak ${protocolName}`
  return certificateProblem(alert, serverName) ?? 'the handshake failed'
}

export function withReason(name: string, reason: string): string {
  return reason === '' ? name : `${name}: ${reason}`
}

function otherCodeText(code: number): string {
  return alertOf(code) >= 0 ? alertText(code) : hex(code)
}

function alertText(code: number): string {
  return `TLS alert ${alertName(alertOf(code))}`
}

function hex(code: number): string {
  return `0x${code.toString(16)}`
}
