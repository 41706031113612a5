import type { Answer } from '../dns/answer.ts'
import type { UpstreamSink } from '../dns/contracts.ts'
import type { Failure } from '../dns/failure.ts'
import type { Query } from '../dns/query.ts'
import type { Clock } from '../net/clock.ts'
import { mayRepeat } from './server.ts'
import type { StreamUpstream } from './stream.ts'

/**
 * Questions within a window from which one pipelined connection is cheaper than datagrams: a system call then carries all questions of a turn, where
 * each datagram needs its own (10 µs against 18 to 31 at a hundred in flight, design §6).
 */
const BUSY_QUESTIONS = 32
const WINDOW_MS = 10
/** Without any answer for so long, the connection is not trusted with more. */
const SILENT_MS = 100
/** After a failure questions stay on datagrams: there may be no TCP at all (RFC 9210 §3 notwithstanding). */
const PAUSE_MS = 60_000

/** Who asks over UDP what could not be asked here. */
export interface DatagramAsker {
  askOverUdp(query: Query, sink: UpstreamSink): void
}

/** Decides which questions to a server on UDP leave over TCP, because there are many, and gives them back when that fails. */
export class BusyStream {
  readonly #clock: Clock
  readonly #stream: StreamUpstream
  readonly #datagrams: DatagramAsker
  #windowEnd = 0
  #count = 0
  #isBusy = false
  #notBefore = Number.NEGATIVE_INFINITY
  /** On their way, and when the last answer came, or the first of them left. */
  #open = 0
  #heardAt = 0

  constructor(stream: StreamUpstream, datagrams: DatagramAsker, clock: Clock) {
    this.#clock = clock
    this.#stream = stream
    this.#datagrams = datagrams
  }

  /** Whether the question was sent. */
  take(query: Query, sink: UpstreamSink, now: number): boolean {
    if (now >= this.#windowEnd) {
      this.#isBusy = this.#count >= BUSY_QUESTIONS && now < this.#windowEnd + WINDOW_MS
      this.#windowEnd = now + WINDOW_MS
      this.#count = 0
    }
    this.#count++
    if (!this.#isBusy || now < this.#notBefore) return false
    // the first opens the connection; nobody else waits for that
    if (this.#open > 0 && (!this.#stream.isReady || now - this.#heardAt > SILENT_MS)) return false
    if (this.#open++ === 0) this.#heardAt = now
    this.#stream.send(query, new Ride(this, sink))
    return true
  }

  answered(): void {
    this.#open--
    this.#heardAt = this.#clock()
  }

  /** Whether it is asked elsewhere. */
  failed(query: Query, sink: UpstreamSink): boolean {
    this.#open--
    const now = this.#clock()
    this.#notBefore = now + PAUSE_MS
    if (now >= query.deadline || !mayRepeat(query, sink)) return false
    this.#datagrams.askOverUdp(query, sink)
    return true
  }
}

/** One question that goes over TCP. */
class Ride implements UpstreamSink {
  readonly #owner: BusyStream
  readonly #sink: UpstreamSink

  constructor(owner: BusyStream, sink: UpstreamSink) {
    this.#owner = owner
    this.#sink = sink
  }

  answered(query: Query, answer: Answer): void {
    this.#owner.answered()
    this.#sink.answered(query, answer)
  }

  failed(query: Query, failure: Failure): void {
    if (!this.#owner.failed(query, this.#sink)) this.#sink.failed(query, failure)
  }

  mayRepeat(query: Query): boolean {
    return mayRepeat(query, this.#sink)
  }
}
