import { type Stage, Verdict } from '../../dns/contracts.ts'
import type { Query } from '../../dns/query.ts'
import type { Cache } from '../cache/cache.ts'

/** Asks upstreams on nobody's behalf. */
export interface Refresher {
  /** Asks the question of `query`, which is being answered, soon. */
  refresh(query: Query): void
}

/** Answers from memory what was answered before, and what failed just now. */
export class CacheStage implements Stage {
  readonly name = 'cache'
  readonly #cache: Cache
  readonly #refresher: Refresher

  constructor(cache: Cache, refresher: Refresher) {
    this.#cache = cache
    this.#refresher = refresher
  }

  onQuery(query: Query): Verdict {
    const cache = this.#cache
    query.answer = cache.find(query, query.receivedAt)
    query.hasStale = cache.hasStale
    if (query.answer === null) return Verdict.NEXT
    if (cache.isDue) this.#refresher.refresh(query)
    return Verdict.ANSWERED
  }
}
