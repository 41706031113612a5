import { Answer } from '../dns/answer.ts'
import { type QueryAcceptor, type Stage, Verdict } from '../dns/contracts.ts'
import { FAILURES, Failure, NO_ANSWER } from '../dns/failure.ts'
import type { Query } from '../dns/query.ts'
import type { Clock } from '../net/clock.ts'

/** How a stage that parked a query hands it back. */
export interface Settler {
  answer(query: Query, answer: Answer): void
  fail(query: Query, failure: Failure): void
}

/** Sees every query and its end. Called on the data path: it counts and returns. */
export interface PipelineObserver {
  onQuery(query: Query): void
  onAnswer(query: Query, answer: Answer, now: number): void
  onRefusal(query: Query, failure: Failure): void
}

/** What may change while it works; it holds for queries that come from then on. */
export interface PipelineSettings {
  readonly observer: PipelineObserver
  readonly queryTimeoutMs: number
}

/** The answers of the failures that have one, made once. */
const FAILURE_ANSWERS: readonly (Answer | null)[] = FAILURES.map((failure) =>
  failure.rcode === NO_ANSWER ? null : Answer.ofFailure(failure),
)

/**
 * Carries each query through the stages by its own cursor, and its answer back through the stages it passed. Only the
 * pipeline delivers, so a query is answered or refused exactly once.
 */
export class Pipeline implements QueryAcceptor, Settler {
  readonly #stages: readonly Stage[]
  /** For each position: the stages before it that look at answers, nearest first. */
  readonly #onTheWayBack: readonly (readonly Stage[])[]
  readonly #clock: Clock
  #settings: PipelineSettings
  #open = 0

  /** `stages` receives the settler for those that park. The order is execution order; an answer meets them in reverse. */
  constructor(stages: (settler: Settler) => readonly Stage[], { clock, ...settings }: PipelineSettings & { clock: Clock }) {
    this.#stages = stages(this)
    this.#onTheWayBack = Array.from({ length: this.#stages.length + 1 }, (_, position) =>
      this.#stages
        .slice(0, position)
        .filter((stage) => stage.onAnswer !== undefined)
        .toReversed(),
    )
    this.#clock = clock
    this.#settings = settings
  }

  reconfigure(settings: PipelineSettings): void {
    this.#settings = settings
  }

  /** Queries that have been accepted and not been answered yet. */
  get open(): number {
    return this.#open
  }

  accept(query: Query): void {
    this.#open++
    query.receivedAt = this.#clock()
    query.deadline = query.receivedAt + this.#settings.queryTimeoutMs
    this.#settings.observer.onQuery(query)
    for (; query.stage < this.#stages.length; query.stage++) {
      const verdict = this.#stages[query.stage]?.onQuery?.(query) ?? Verdict.NEXT
      if (verdict === Verdict.NEXT) continue
      if (verdict === Verdict.ANSWERED && query.answer !== null) this.answer(query, query.answer)
      if (verdict === Verdict.FAILED) this.fail(query, query.failure ?? Failure.upstream_none)
      return
    }
    this.fail(query, Failure.upstream_none)
  }

  fail(query: Query, failure: Failure): void {
    query.failure = failure
    const answer = FAILURE_ANSWERS[failure.index]
    if (answer) {
      this.answer(query, answer)
      return
    }
    this.#open--
    this.#settings.observer.onRefusal(query, failure)
    query.reply.refuse(query, failure)
  }

  answer(query: Query, answer: Answer): void {
    this.#open--
    for (const stage of this.#onTheWayBack[query.stage] ?? []) stage.onAnswer?.(query, answer)
    query.answeredAt = this.#clock()
    this.#settings.observer.onAnswer(query, answer, query.answeredAt)
    query.reply.deliver(query, answer)
  }
}
