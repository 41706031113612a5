import type { Answer } from '../../dns/answer.ts'
import type { UpstreamSink } from '../../dns/contracts.ts'
import { Failure } from '../../dns/failure.ts'
import type { Query } from '../../dns/query.ts'
import { Rcode } from '../../dns/types.ts'
import type { Clock } from '../../net/clock.ts'
import { type Wheel, WheelEntry } from '../../net/wheel.ts'
import type { Cache } from '../cache/cache.ts'
import { HELD } from '../cache/leases.ts'

/** RFC 8767 §5: how long a client waits before it gets an expired answer. */
const STALE_AFTER_MS = 1800
/** How often it is looked whether another thread has the answer: soon at first, for most upstreams are quick. */
const FIRST_LOOK_MS = 10
const LAST_LOOK_MS = 160
/** A lease outlives its work by this, no more: clocks of threads agree, their turns do not. */
const LEASE_SPARE_MS = 200

/** What a flight needs, and who hears of its end. */
export interface FlightContext {
  readonly cache: Cache
  readonly clock: Clock
  readonly wheel: Wheel
  /** The flight takes no more queries. */
  ended(flight: Flight): void
  answer(query: Query, answer: Answer): void
  fail(query: Query, failure: Failure): void
}

/**
 * One question on its way, for all queries of this thread that ask it. Where another thread is asking it, the flight waits for
 * what that learns. It goes on when all its queries have got an expired answer, for those to come.
 */
export class Flight extends WheelEntry implements UpstreamSink {
  readonly id: number
  /** The one that is asked with; it may have been answered already. */
  readonly query: Query
  readonly #context: FlightContext
  #lease: number
  #first: Query | null = null
  #last: Query | null = null
  #isSent = false
  #isLate = false
  #isEnded = false
  #lookMs = FIRST_LOOK_MS
  #lookAt = Number.POSITIVE_INFINITY
  #staleAt = Number.POSITIVE_INFINITY

  constructor(query: Query, id: number, context: FlightContext) {
    super()
    this.id = id
    this.query = query
    this.#context = context
    this.#lease = context.cache.acquire(id, context.clock(), query.deadline + LEASE_SPARE_MS)
  }

  /** Whether another thread asks this question. */
  get isLeft(): boolean {
    return this.#lease === HELD
  }

  /** Asks, or waits for the thread that does. */
  start(): void {
    if (this.#lease === HELD) this.#lookLater(this.#context.clock())
    else this.#send()
    this.#schedule()
  }

  /** Asks when this turn is over, so that who is being answered is not kept waiting. */
  startSoon(): void {
    this.#lookAt = this.#context.clock()
    this.#schedule()
  }

  /** Adds a parked query, which gets the answer. */
  join(query: Query): void {
    if (this.#last === null) this.#first = query
    else this.#last.next = query
    this.#last = query
    if (!query.hasStale) return
    // the servers are known to be slow today: whoever comes now need not wait
    if (this.#isLate) {
      this.#serveStale()
      return
    }
    this.#staleAt = Math.min(this.#staleAt, query.receivedAt + STALE_AFTER_MS)
    this.#schedule()
  }

  answered(_query: Query, answer: Answer): void {
    if (answer.rcode === Rcode.SERVFAIL) {
      this.#settleFailed(Failure.upstream_failed, answer)
      return
    }
    const { cache, clock } = this.#context
    cache.remember(this.query, answer, clock())
    this.#end()
    for (let query = this.#take(); query !== null; query = query.leave()) this.#context.answer(query, answer)
  }

  failed(_query: Query, failure: Failure): void {
    this.#settleFailed(failure, null)
  }

  override onDeadline(now: number): void {
    if (!this.#isSent && now >= this.#lookAt) this.#look(now)
    if (now >= this.#staleAt) {
      this.#isLate = true
      this.#serveStale()
    }
    this.#schedule()
  }

  #send(): void {
    this.#isSent = true
    this.query.route.upstream.send(this.query, this)
  }

  /** Whether the other thread has learned something, or has given up. */
  #look(now: number): void {
    const { cache } = this.#context
    const deadline = this.query.deadline
    if (this.#lease === HELD) {
      if (cache.find(this.query, now) !== null) {
        this.#settleFromCache(now)
        return
      }
      if (now >= deadline) {
        this.#settleFailed(Failure.upstream_timeout, null)
        return
      }
      this.#lease = cache.acquire(this.id, now, deadline + LEASE_SPARE_MS)
    }
    if (this.#lease === HELD) this.#lookLater(now)
    else this.#send()
  }

  #lookLater(now: number): void {
    this.#lookAt = now + this.#lookMs
    this.#lookMs = Math.min(2 * this.#lookMs, LAST_LOOK_MS)
  }

  #settleFromCache(now: number): void {
    const { cache } = this.#context
    this.#end()
    for (let query = this.#take(); query !== null; query = query.leave()) {
      const answer = cache.find(query, now)
      if (answer === null) this.#context.fail(query, Failure.upstream_timeout)
      else this.#context.answer(query, answer)
    }
  }

  /** `answer`: what the server said of its failure. */
  #settleFailed(failure: Failure, answer: Answer | null): void {
    const { cache, clock } = this.#context
    const now = clock()
    cache.rememberFailure(this.query, failure, { now, hasStale: this.query.hasStale })
    this.#end()
    for (let query = this.#take(); query !== null; query = query.leave()) {
      const best = (query.hasStale ? cache.findStale(query, now) : null) ?? answer
      if (best === null) this.#context.fail(query, failure)
      else this.#context.answer(query, best)
    }
  }

  /** Answers those for whom there is something; the others wait on. */
  #serveStale(): void {
    const { cache, clock } = this.#context
    this.#staleAt = Number.POSITIVE_INFINITY
    for (let query = this.#take(); query !== null; ) {
      const next = query.leave()
      const stale = query.hasStale ? cache.findStale(query, clock()) : null
      query.hasStale = stale !== null
      if (stale === null) this.join(query)
      else this.#context.answer(query, stale)
      query = next
    }
  }

  #take(): Query | null {
    const first = this.#first
    this.#first = this.#last = null
    return first
  }

  #schedule(): void {
    const at = this.#isSent ? this.#staleAt : Math.min(this.#lookAt, this.#staleAt)
    if (!this.#isEnded && at !== Number.POSITIVE_INFINITY) this.#context.wheel.set(this, at)
  }

  #end(): void {
    const { cache, wheel } = this.#context
    this.#isEnded = true
    wheel.clear(this)
    if (this.#lease !== HELD) cache.release(this.id, this.#lease)
    this.#context.ended(this)
  }
}
