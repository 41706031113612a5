import type { Upstream, UpstreamSink } from '../dns/contracts.ts'
import { Failure } from '../dns/failure.ts'
import type { Query } from '../dns/query.ts'
import type { Clock } from '../net/clock.ts'
import type { Wheel } from '../net/wheel.ts'
import { Attempts } from './attempts.ts'
import { type Candidate, Grade } from './candidate.ts'
import type { Strategy } from './strategies.ts'

/** How often it is looked who is much slower than the best. */
const SLOW_LOOK_MS = 100
/** From here on a server is slow where another one is not: a person begins to notice, and it is no difference of mere distance. */
const SLOW_MIN_MS = 100
const SLOW_FACTOR = 4
/** One question of so many is also sent to a server that has too few to be known by: 1.6 % more work for that server's sake, and nobody waits for it. */
const EXPLORE_EVERY = 64
/** Second questions of hedging: one for ten, saved up to a burst that covers a server's short pause. */
const HEDGE_SHARE = 0.1
const HEDGE_BURST = 50

export interface SelectionOptions {
  readonly clock: Clock
  readonly wheel: Wheel
  readonly strategy: Strategy
  /** Whether a server is passed over that would be asked in the clear once another's certificate was refused (RFC 8310 §5). */
  readonly isStrict: boolean
}

/**
 * Asks one of several servers, and others when that is late or fails. Whoever is healthier comes first; among equals the strategy decides. A server
 * that is late is not given up: the next one is asked beside it, and the first usable answer wins.
 */
export class Selection implements Upstream {
  readonly name: string
  readonly clock: Clock
  readonly wheel: Wheel
  readonly candidates: readonly Candidate[]
  readonly isStrict: boolean
  /** A zero for each candidate, to be copied. */
  readonly unmarked: readonly number[]
  readonly #strategy: Strategy
  /** Positions of those that are much slower than the best. */
  readonly #slow: boolean[]
  #slowLookAt = Number.NEGATIVE_INFINITY
  #untilExploring = EXPLORE_EVERY
  #explored = 0
  #hedges = HEDGE_BURST

  constructor(name: string, candidates: readonly Candidate[], { clock, wheel, strategy, isStrict }: SelectionOptions) {
    this.name = name
    this.candidates = candidates
    this.clock = clock
    this.wheel = wheel
    this.isStrict = isStrict
    this.unmarked = candidates.map(() => 0)
    this.#strategy = strategy
    this.#slow = candidates.map(() => false)
  }

  send(query: Query, sink: UpstreamSink): void {
    if (this.candidates.length === 0) {
      sink.failed(query, Failure.upstream_none)
      return
    }
    const now = this.clock()
    if (this.#hedges < HEDGE_BURST) this.#hedges += HEDGE_SHARE
    if (now >= this.#slowLookAt) this.#lookForSlow(now)
    new Attempts(query, sink, this, this.#strategy.turn(query)).start(now)
  }

  /** Of those that may be asked, the best; -1: none. */
  best(turn: number, now: number, asked: { isOpen(position: number): boolean }): number {
    const staysAuthenticated = this.isStrict && this.#isRefused()
    let best = -1
    let [bestGrade, bestRank] = [Grade.LOOP as number, Number.POSITIVE_INFINITY]
    for (let i = 0; i < this.candidates.length; i++) {
      if (!asked.isOpen(i)) continue
      const candidate = this.candidates[i] as Candidate
      if (staysAuthenticated && !candidate.isAuthenticated) continue
      const grade = this.#gradeOf(candidate, i, now)
      if (grade > bestGrade || grade === Grade.LOOP) continue
      const rank = this.#strategy.rank(candidate, i, turn)
      if (grade === bestGrade && rank >= bestRank) continue
      best = i
      bestGrade = grade
      bestRank = rank
    }
    return best
  }

  /** One that is to be asked beside `chosen` to know it better; -1: none. */
  toExplore(chosen: number, now: number): number {
    if (--this.#untilExploring > 0) return -1
    this.#untilExploring = EXPLORE_EVERY
    for (let step = 0; step < this.candidates.length; step++) {
      this.#explored = (this.#explored + 1) % this.candidates.length
      const candidate = this.candidates[this.#explored] as Candidate
      const grade = this.#gradeOf(candidate, this.#explored, now)
      const isWorthIt = grade === Grade.POOR || (grade === Grade.GOOD && this.#strategy.explores)
      // one that has never answered is being probed
      if (isWorthIt && this.#explored !== chosen && !Number.isNaN(candidate.watch.rttMs)) return this.#explored
    }
    return -1
  }

  /** When a second server is to be asked though the first is not late yet, milliseconds; NaN: not at all. */
  hedgeAfter({ watch }: Candidate): number {
    return this.#strategy.hedges ? watch.p95Ms : Number.NaN
  }

  /** Whether the budget allows a second question. */
  takeHedge(): boolean {
    if (this.#hedges < 1) return false
    this.#hedges--
    return true
  }

  /** Whether a certificate was refused lately: to ask in the clear now is what somebody in between may wait for. */
  #isRefused(): boolean {
    for (const { watch, isAuthenticated } of this.candidates) if (isAuthenticated && watch.isRefused) return true
    return false
  }

  #gradeOf({ watch }: Candidate, i: number, now: number): Grade {
    const grade = watch.grade(now)
    return grade === Grade.GOOD && this.#slow[i] === true ? Grade.POOR : grade
  }

  #lookForSlow(now: number): void {
    this.#slowLookAt = now + SLOW_LOOK_MS
    if (!this.#strategy.avoidsSlow) return
    let best = Number.POSITIVE_INFINITY
    for (const { watch } of this.candidates) if (watch.rttMs < best && watch.grade(now) === Grade.GOOD) best = watch.rttMs
    const limit = Math.max(SLOW_MIN_MS, SLOW_FACTOR * best)
    for (const [i, { watch }] of this.candidates.entries()) this.#slow[i] = watch.rttMs > limit
  }
}
