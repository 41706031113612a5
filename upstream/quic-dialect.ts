import type { Failure } from '../dns/failure.ts'
import type { Query } from '../dns/query.ts'
import type { QuicClientConnection } from '../net/quic.ts'

/** A way to carry DNS on QUIC. */
export interface QuicProtocol {
  /** ALPN (RFC 9001 §8.1). */
  readonly token: 'doq' | 'h3'
  readonly codes: QuicCodes
  readonly needsUnidirectional: boolean
  /** For one connection, whose handshake is complete. */
  open(connection: QuicClientConnection, events: DialectEvents): QuicDialect
}

/** Application error codes (RFC 9250 §4.3, RFC 9114 §8.1). */
export interface QuicCodes {
  readonly noError: number
  readonly excessiveLoad: number
  /** Of a stream whose answer nobody waits for any longer. */
  readonly cancelled: number
  /** An answer with edns-tcp-keepalive closes the connection with it (RFC 9250 §5.5.2); null: it means nothing. */
  readonly keepalive: number | null
}

/** What is said and heard on one connection. Bytes are borrowed for the length of the call. */
export interface QuicDialect {
  /** Octets of answers that are not complete yet. */
  readonly held: number
  /** Sends the question, and the FIN. */
  ask(stream: number, query: Query): void
  received(stream: number, bytes: Uint8Array, fin: boolean): void
  reset(stream: number): void
  /** Nobody waits for the stream any longer. */
  forget(stream: number): void
}

/** Called within received() and reset() of the dialect. */
export interface DialectEvents {
  /** Whether a question waits for an answer on this stream. */
  isWaiting(stream: number): boolean
  /** A whole message, to be parsed; an HTTP cache has had it for `ageSeconds` (RFC 9111 §5.1). */
  answered(stream: number, message: Uint8Array, ageSeconds: number): void
  /** No usable answer will come on this stream, and not from this server. */
  failed(stream: number, failure: Failure): void
  /** The server gave the stream up: another attempt may succeed. */
  refused(stream: number): void
  /** The server breaks the protocol: the connection is closed with `code`. `stream`: where; -1 for none. */
  violated(code: number, stream: number): void
  /** The server serves no streams from this one on (RFC 9114 §5.2). */
  leaving(stream: number): void
  /** The server asks for a pause. */
  busy(ms: number): void
}
