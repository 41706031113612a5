import type { Answer } from '../../dns/answer.ts'
import { type Stage, type Upstream, type UpstreamSink, Verdict } from '../../dns/contracts.ts'
import { Failure } from '../../dns/failure.ts'
import type { Query } from '../../dns/query.ts'
import type { Settler } from '../pipeline.ts'

/** Queries that may wait for upstreams at once: at about 1 kB each, and 4 s each when every upstream is dead. */
const MAX_FORWARDED = 20_000

/** Parks the query and asks the upstream. */
export class ForwardStage implements Stage, UpstreamSink {
  readonly name = 'forward'
  readonly #upstream: Upstream
  readonly #settler: Settler
  #waiting = 0

  constructor(upstream: Upstream, settler: Settler) {
    this.#upstream = upstream
    this.#settler = settler
  }

  onQuery(query: Query): Verdict {
    if (this.#waiting >= MAX_FORWARDED) {
      query.failure = Failure.overloaded
      return Verdict.FAILED
    }
    query.park()
    this.#waiting++
    this.#upstream.send(query, this)
    return Verdict.PARKED
  }

  answered(query: Query, answer: Answer): void {
    this.#waiting--
    this.#settler.answer(query, answer)
  }

  failed(query: Query, failure: Failure): void {
    this.#waiting--
    this.#settler.fail(query, failure)
  }
}
