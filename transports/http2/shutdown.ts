import type { Clock } from '../../net/clock.ts'
import { ErrorCode, MAX_STREAM } from './codes.ts'
import { putGoaway, putPing } from './control-frames.ts'
import type { StreamTable } from './stream-table.ts'

/** The PING whose acknowledgement says that the client has seen our first GOAWAY. */
const DRAIN_PING = Buffer.from('draining', 'latin1')

/** How a connection ends in good order (RFC 9113 §6.8). */
export class Shutdown {
  /** The client has sent GOAWAY. */
  isPeerLeaving = false
  readonly #streams: StreamTable
  readonly #clock: Clock
  /** When the first GOAWAY was sent; null before. */
  #since: number | null = null
  /** The GOAWAY with the last stream has been sent. */
  #isSaid = false

  constructor(streams: StreamTable, clock: Clock) {
    this.#streams = streams
    this.#clock = clock
  }

  /** Whether the round trip behind the first GOAWAY is under way. */
  get isWaiting(): boolean {
    return this.#since !== null && !this.#isSaid
  }

  /** Whether the last request has been answered, and the client knows that no more will be. */
  get isDone(): boolean {
    return (this.#isSaid || this.isPeerLeaving) && this.#streams.size === 0
  }

  /** Announces the end: requests that are on their way are still answered. */
  begin(): void {
    if (this.#since !== null) return
    this.#since = this.#clock()
    const { output } = this.#streams.sender
    putGoaway(output, MAX_STREAM, ErrorCode.NO_ERROR)
    putPing(output, 0, DRAIN_PING)
  }

  /** The client has acknowledged a PING. */
  onAcknowledged(payload: Buffer): void {
    if (this.isWaiting && DRAIN_PING.equals(payload)) this.sayLast(ErrorCode.NO_ERROR)
  }

  /** `limitMs`: how long the round trip may take. */
  check(now: number, limitMs: number): void {
    if (this.isWaiting && now - (this.#since ?? now) >= limitMs) this.sayLast(ErrorCode.NO_ERROR)
  }

  /** Says which requests are the last to be answered. */
  sayLast(code: ErrorCode): void {
    const { last, lastAccepted, sender } = this.#streams
    // RFC 9113 §6.8: it never rises
    this.#streams.lastAccepted = Math.min(last, lastAccepted)
    putGoaway(sender.output, this.#streams.lastAccepted, code)
    this.#isSaid = true
  }
}
