import { Failure } from '../dns/failure.ts'
import { Grade, type Watch } from './candidate.ts'
import { type HealthRow, HealthState } from './health-table.ts'
import type { UpstreamServer } from './server.ts'

/** Questions without an answer, one after the other, after which a server seems to have stalled, and for how long at least: much sooner than the first of them is late. */
const STALLED_QUESTIONS = 4
const STALLED_MIN_MS = 25
const STALLED_RTTS = 8
/** Share of lost questions above which a server is second choice. */
const POOR_LOSS = 0.1
/** How long a server that was down gets less than its share, growing from nothing: its cache is cold, and it may not stay. */
const SLOW_START_MS = 10_000

/** Asks servers by itself whose health is in doubt. */
export interface Prober {
  /** From now on, until it is healthy. */
  admit(health: Health): void
}

/**
 * The health of one way to a server as one thread sees it; what all threads know is in the row. Only answers make it healthy. What is
 * suspicious has it probed, while the questions of clients go elsewhere.
 */
export class Health implements Watch {
  readonly server: UpstreamServer
  readonly row: HealthRow
  readonly #prober: Prober
  /** Questions sent since the last answer to this thread, and when the first of them was. */
  #unanswered = 0
  #unansweredSince = 0
  #answeredAt = Number.NEGATIVE_INFINITY

  constructor(server: UpstreamServer, row: HealthRow, prober: Prober) {
    this.server = server
    this.row = row
    this.#prober = prober
  }

  get rttMs(): number {
    return this.row.rttMs
  }

  get p95Ms(): number {
    return this.row.p95Ms
  }

  get isRefused(): boolean {
    return this.row.state !== HealthState.UP && this.row.reason === Failure.upstream_certificate
  }

  grade(now: number): Grade {
    const { state } = this.row
    if (state === HealthState.UP) return this.#gradeOfUp(now)
    this.#prober.admit(this)
    return GRADES[state]
  }

  sent(now: number): void {
    if (this.#unanswered++ === 0) this.#unansweredSince = now
  }

  answered(sentAt: number, now: number): void {
    this.#unanswered = 0
    this.#answeredAt = now
    this.row.answered(now - sentAt)
    if (this.row.state !== HealthState.UP) this.recover(now)
  }

  failed(failure: Failure, sentAt: number, now: number): void {
    // our own bound says nothing of the server
    if (failure === Failure.overloaded) return
    this.row.lost()
    const isCertain = failure === Failure.upstream_network || failure === Failure.upstream_certificate
    // what was answered badly was answered
    const isSilent = failure === Failure.upstream_timeout && this.#isSilentSince(sentAt)
    if (isCertain || isSilent) this.#suspect(failure, now)
  }

  late(sentAt: number, now: number): void {
    if (this.#isSilentSince(sentAt)) this.#suspect(Failure.upstream_timeout, now)
  }

  /** Has it probed before any client waits for it. */
  introduce(): void {
    if (this.row.state !== HealthState.UP) this.#prober.admit(this)
  }

  /** It has answered, a client's question or a probe. */
  recover(now: number): void {
    const { row } = this
    const before = row.state
    // who leads back to us answers, too: with what we have asked others
    if (before === HealthState.UP || before === HealthState.LOOP || !row.change(before, HealthState.UP, now)) return
    row.forgetMisses()
    if (before === HealthState.DOWN) row.recovered(now)
  }

  #gradeOfUp(now: number): Grade {
    if (this.#hasStalled(now)) {
      this.#suspect(Failure.upstream_timeout, now)
      return Grade.DOUBTFUL
    }
    const { loss, recoveredAt } = this.row
    if (loss > POOR_LOSS) return Grade.POOR
    if (recoveredAt === 0 || now - recoveredAt >= SLOW_START_MS) return Grade.GOOD
    return Math.random() * SLOW_START_MS < now - recoveredAt ? Grade.GOOD : Grade.POOR
  }

  #hasStalled(now: number): boolean {
    if (this.#unanswered < STALLED_QUESTIONS) return false
    // asked before another thread found that it answers again
    if (this.#unansweredSince < this.row.since + SINCE_SPARE_MS) {
      this.#unanswered = 0
      return false
    }
    return now - this.#unansweredSince > Math.max(STALLED_MIN_MS, STALLED_RTTS * this.row.rttMs)
  }

  /** Whether nothing at all has come from the server since, nor to other threads what made it healthy again. */
  #isSilentSince(sentAt: number): boolean {
    return this.#answeredAt <= sentAt && sentAt >= this.row.since
  }

  #suspect(failure: Failure, now: number): void {
    const { row } = this
    const { state } = row
    if (state !== HealthState.UP && state !== HealthState.UNKNOWN) return
    if (!row.change(state, HealthState.SUSPECT, now)) return
    row.blame(failure)
    this.#prober.admit(this)
  }
}

/** The row keeps tenths of a second. */
const SINCE_SPARE_MS = 100

const GRADES: Readonly<Record<Exclude<HealthState, typeof HealthState.UP>, Grade>> = {
  [HealthState.UNKNOWN]: Grade.POOR,
  [HealthState.SUSPECT]: Grade.DOUBTFUL,
  [HealthState.DOWN]: Grade.DOWN,
  [HealthState.LOOP]: Grade.LOOP,
}
