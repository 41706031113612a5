import type { Failure } from '../../dns/failure.ts'
import type { RequestFields } from './request-fields.ts'
import type { Http2Stream } from './stream.ts'

/** Serves the requests of one connection. */
export interface Http2Handler {
  /** Whether there may be one more: a reset frees no work (CVE-2023-44487). */
  readonly mayAccept: boolean
  /** The header section of a request. `fields` are borrowed; what follows goes to the stream's receiver, which is set now. */
  request(stream: Http2Stream, fields: RequestFields): void
  /** A request whose header section is larger than allowed; its method, where that came first. */
  requestTooLarge(stream: Http2Stream, method: string): void
}

/** What a session needs of the world. */
export interface SessionHost extends Http2Handler {
  /** There is something to send. */
  outputReady(): void
  /** Something has begun that may take too long: check() has to be called within a second or so, until needsCheck is false. */
  watch(): void
  /** Counts what was refused. */
  dropped(failure: Failure): void
}
