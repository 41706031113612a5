import type { UpstreamSink } from '../dns/contracts.ts'
import type { Query } from '../dns/query.ts'
import type { Clock } from '../net/clock.ts'
import type { Wheel } from '../net/wheel.ts'
import { type Candidate, Grade, type Watch } from './candidate.ts'
import { Selection } from './selection.ts'
import type { UpstreamServer } from './server.ts'
import { ordered } from './strategies.ts'

/**
 * One server and the ways to it, best first: a selection in their order, so what works is remembered as the health of each way is, and a better
 * one is taken again when a probe has found that it works. The ways are not its own: who made them closes them.
 */
export class Ladder implements UpstreamServer, Watch {
  readonly name: string
  /** Each way repeats what has to be repeated. */
  readonly isLossy = false
  readonly #selection: Selection
  readonly #ways: readonly Candidate[]

  constructor(name: string, ways: readonly Candidate[], { clock, wheel }: { clock: Clock; wheel: Wheel }) {
    this.name = name
    this.#ways = ways
    this.#selection = new Selection(name, ways, { clock, wheel, strategy: ordered(), isStrict: true })
  }

  get rttMs(): number {
    return this.#best().rttMs
  }

  get p95Ms(): number {
    return this.#best().p95Ms
  }

  get isRefused(): boolean {
    return this.#ways.every(({ watch }) => watch.isRefused)
  }

  get rtt(): number {
    return this.rttMs
  }

  send(query: Query, sink: UpstreamSink): void {
    this.#selection.send(query, sink)
  }

  grade(now: number): Grade {
    let best: Grade = Grade.LOOP
    for (const { watch } of this.#ways) best = Math.min(best, watch.grade(now)) as Grade
    return best
  }

  // the ways are watched themselves
  sent(): void {}
  answered(): void {}
  failed(): void {}
  late(): void {}

  async drain(): Promise<void> {}
  async close(): Promise<void> {}

  /** The way that is taken now. */
  #best(): Watch {
    const now = this.#selection.clock()
    let [best, bestGrade] = [(this.#ways[0] as Candidate).watch, Grade.LOOP as number]
    for (const { watch } of this.#ways) {
      const grade = watch.grade(now)
      if (grade >= bestGrade) continue
      best = watch
      bestGrade = grade
    }
    return best
  }
}
