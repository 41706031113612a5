import type { Socket } from 'node:net'
import type { Failure } from '../dns/failure.ts'

/** Hears how the opening of one connection ends: one of the two, once, never within dial(), and nothing after abort(). */
export interface DialSink {
  /** The socket may be written to: where the server has to prove who it is, it has (RFC 8310 §5). An 'error' of it is taken care of. */
  ready(socket: Socket): void
  /** No connection came about; its socket is closed. */
  failed(failure: Failure): void
}

/** A connection that is being opened. */
export interface Dial {
  /** Gives it up. Without effect once it has ended. */
  abort(): void
}

/** Opens the connections to one server. */
export interface Dialer {
  /** RFC 8467 block length of what is sent; 0: no padding. */
  readonly padding: number
  /** What questions fail with at once, because a connection was refused a moment ago; null: dial. */
  readonly refusal: Failure | null
  dial(sink: DialSink): Dial
  /** An answer has come: nobody refuses us any longer. In TLS 1.3 a connection alone does not say that (RFC 8446 §4.4.2.4). */
  answered(): void
}
