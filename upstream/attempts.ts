import type { Answer } from '../dns/answer.ts'
import type { UpstreamSink } from '../dns/contracts.ts'
import { Failure } from '../dns/failure.ts'
import type { Query } from '../dns/query.ts'
import { Rcode } from '../dns/types.ts'
import { WheelEntry } from '../net/wheel.ts'
import type { Candidate } from './candidate.ts'
import type { Selection } from './selection.ts'

/** Design §6: what one attempt gets before the next server is asked too. */
const ATTEMPT_UNKNOWN_MS = 400
const ATTEMPT_MIN_MS = 150
const ATTEMPT_MAX_MS = 1000
const RTT_FACTOR = 4
/** RFC 9520 §3.1: how often one question is sent to one server. */
const MAX_SENDS = 3
/** When a server that could not be reached is tried again: time enough for a process to restart. */
const RETRY_MS = 400

/** What has become of one candidate: a number with the sends so far in its two lowest bits, those that are open above them, and two flags. */
const SENDS = 0x3
const OPEN_ONE = 0x4
const OPEN = 0xc
/** It could not be reached just now. */
const UNREACHABLE = 0x10
/** It is not asked this again. */
const OUT = 0x20

/** The attempts to get one question answered. It is the sink of the first of them itself. */
export class Attempts extends WheelEntry implements UpstreamSink {
  readonly #query: Query
  readonly #sink: UpstreamSink
  readonly #selection: Selection
  readonly #turn: number
  /** By candidate. */
  readonly #marks: number[]
  /** Who was asked last, and when. */
  #at = -1
  #sentAt = 0
  #first = -1
  #firstSentAt = 0
  #totalOpen = 0
  #settled = false
  /** Some server had an answer: one that has not is to blame, and not the name. */
  #resolved = false
  #asking = false
  #again = false
  /** What the timer is for: those that could not be reached are asked again; or the first is slow, but not late. */
  #retrying = false
  #hedging = false
  /** What to say when nobody has an answer: an upstream's own SERVFAIL with its explanation before our failure to reach it. */
  #refusal: Answer | null = null
  #refusedBy = -1
  #failure: Failure = Failure.upstream_loop

  constructor(query: Query, sink: UpstreamSink, selection: Selection, turn: number) {
    super()
    this.#query = query
    this.#sink = sink
    this.#selection = selection
    this.#turn = turn
    this.#marks = selection.unmarked.slice()
  }

  start(now: number): void {
    this.#askNext(now)
    if (this.#settled || this.#first < 0) return
    const other = this.#selection.toExplore(this.#first, now)
    if (other >= 0 && this.isOpen(other)) this.#askBeside(other, now)
  }

  /** Whether the candidate may be asked. */
  isOpen(i: number): boolean {
    const mark = this.#marks[i] as number
    if ((mark & (UNREACHABLE | OUT)) !== 0 || (mark & SENDS) === MAX_SENDS) return false
    // a stream repeats by itself what is lost
    return (mark & OPEN) === 0 || (this.#selection.candidates[i] as Candidate).server.isLossy
  }

  override onDeadline(now: number): void {
    if (this.#retrying) {
      this.#retrying = false
      for (let i = 0; i < this.#marks.length; i++) this.#marks[i] = (this.#marks[i] as number) & ~UNREACHABLE
    } else if (this.#hedging) {
      this.#hedging = false
      if (!this.#selection.takeHedge()) {
        this.#wheel.set(this, this.#sentAt + attemptMs(this.#candidate(this.#at)))
        return
      }
    } else if (((this.#marks[this.#at] as number) & OPEN) !== 0) {
      this.#candidate(this.#at).watch.late(this.#sentAt, now)
    }
    this.#askNext(now)
  }

  answered(_query: Query, answer: Answer): void {
    this.onAnswered(this.#first, this.#firstSentAt, answer)
  }

  failed(_query: Query, failure: Failure): void {
    this.onFailed(this.#first, this.#firstSentAt, failure)
  }

  mayRepeat(): boolean {
    return this.mayRepeatTo(this.#first)
  }

  /** Whether the server may be asked once more; it then counts as asked. */
  mayRepeatTo(i: number): boolean {
    const mark = this.#marks[i] as number
    if (this.#settled || (mark & SENDS) === MAX_SENDS) return false
    this.#marks[i] = mark + 1
    return true
  }

  onAnswered(i: number, sentAt: number, answer: Answer): void {
    const now = this.#selection.clock()
    this.#ended(i)
    const { watch } = this.#candidate(i)
    watch.answered(sentAt, now)
    if (answer.rcode === Rcode.SERVFAIL) {
      if (this.#resolved) watch.failed(Failure.upstream_failed, sentAt, now)
      if (this.#settled) return
      this.#refusal ??= answer
      this.#refusedBy = i
      this.#mark(i, OUT)
      this.#askNext(now)
      return
    }
    if (this.#settled) return
    this.#resolved = true
    if (this.#refusedBy >= 0) this.#candidate(this.#refusedBy).watch.failed(Failure.upstream_failed, this.#firstSentAt, now)
    this.#settle()
    this.#sink.answered(this.#query, answer)
  }

  onFailed(i: number, sentAt: number, failure: Failure): void {
    const now = this.#selection.clock()
    this.#ended(i)
    this.#candidate(i).watch.failed(failure, sentAt, now)
    if (this.#settled) return
    this.#failure = failure
    if (failure === Failure.upstream_timeout) {
      // the deadline: no time is left to try anything
      if (this.#totalOpen === 0) this.#giveUp()
      return
    }
    // a server that restarts is back in a moment; one that answers nonsense is not asked this again
    this.#mark(i, failure === Failure.upstream_network ? UNREACHABLE : OUT)
    if (failure === Failure.upstream_certificate && this.#selection.isStrict) this.#stayAuthenticated()
    this.#askNext(now)
  }

  /** Asks the next server that may be asked; when there is none, waits for those that were, or gives up. */
  #askNext(now: number): void {
    this.#again = true
    // a server may fail within send(): the loop goes on, so that many dead servers do not nest
    if (this.#asking) return
    this.#asking = true
    while (this.#again && !this.#settled) {
      this.#again = false
      const next = this.#selection.best(this.#turn, now, this)
      if (next >= 0) this.#ask(next, now)
      else if (!this.#retryLater(now) && this.#totalOpen === 0) this.#giveUp()
    }
    this.#asking = false
  }

  /** Nothing waits for this one. */
  #askBeside(i: number, now: number): void {
    this.#markSent(i, now)
    this.#candidate(i).server.send(this.#query, new Send(this, i, now))
  }

  #ask(i: number, now: number): void {
    const candidate = this.#candidate(i)
    this.#markSent(i, now)
    this.#at = i
    this.#sentAt = now
    this.#retrying = false
    const hedgeAfter = this.#first < 0 ? this.#selection.hedgeAfter(candidate) : Number.NaN
    const patience = attemptMs(candidate)
    this.#hedging = hedgeAfter < patience
    this.#wheel.set(this, now + (this.#hedging ? hedgeAfter : patience))
    if (this.#first < 0) {
      this.#first = i
      this.#firstSentAt = now
      candidate.server.send(this.#query, this)
    } else {
      candidate.server.send(this.#query, new Send(this, i, now))
    }
  }

  #markSent(i: number, now: number): void {
    this.#marks[i] = (this.#marks[i] as number) + 1 + OPEN_ONE
    this.#totalOpen++
    this.#candidate(i).watch.sent(now)
  }

  get #wheel() {
    return this.#selection.wheel
  }

  #candidate(i: number): Candidate {
    return this.#selection.candidates[i] as Candidate
  }

  #mark(i: number, flag: number): void {
    this.#marks[i] = (this.#marks[i] as number) | flag
  }

  #ended(i: number): void {
    this.#marks[i] = (this.#marks[i] as number) - OPEN_ONE
    this.#totalOpen--
  }

  /** RFC 8310 §5: who cannot prove who he is gets no question, and nobody gets it in the clear instead. */
  #stayAuthenticated(): void {
    for (const [i, { isAuthenticated }] of this.#selection.candidates.entries()) if (!isAuthenticated) this.#mark(i, OUT)
  }

  /** Whether those that could not be reached will be asked again, while there is time. */
  #retryLater(now: number): boolean {
    // one has answered that it cannot resolve this: the client is not kept waiting for another that is away
    if (this.#refusal !== null) return false
    const at = now + RETRY_MS
    const hope = this.#marks.some((mark) => (mark & (UNREACHABLE | OUT)) === UNREACHABLE && (mark & SENDS) !== MAX_SENDS)
    if (!hope || at >= this.#query.deadline) return false
    this.#retrying = true
    this.#wheel.set(this, at)
    return true
  }

  #giveUp(): void {
    this.#settle()
    if (this.#refusal === null) this.#sink.failed(this.#query, this.#failure)
    else this.#sink.answered(this.#query, this.#refusal)
  }

  #settle(): void {
    this.#settled = true
    this.#wheel.clear(this)
  }
}

/** Another send than the first. */
class Send implements UpstreamSink {
  readonly #attempts: Attempts
  readonly #candidate: number
  readonly #sentAt: number

  constructor(attempts: Attempts, candidate: number, sentAt: number) {
    this.#attempts = attempts
    this.#candidate = candidate
    this.#sentAt = sentAt
  }

  answered(_query: Query, answer: Answer): void {
    this.#attempts.onAnswered(this.#candidate, this.#sentAt, answer)
  }

  failed(_query: Query, failure: Failure): void {
    this.#attempts.onFailed(this.#candidate, this.#sentAt, failure)
  }

  mayRepeat(): boolean {
    return this.#attempts.mayRepeatTo(this.#candidate)
  }
}

function attemptMs({ watch: { rttMs } }: Candidate): number {
  if (Number.isNaN(rttMs)) return ATTEMPT_UNKNOWN_MS
  return Math.min(Math.max(RTT_FACTOR * rttMs, ATTEMPT_MIN_MS), ATTEMPT_MAX_MS)
}
