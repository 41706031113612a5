import type { Answer } from '../../dns/answer.ts'
import { WITHHELD } from '../../dns/client-subnet.ts'
import { accountOf, type ReplySink, type Stage, Verdict } from '../../dns/contracts.ts'
import { Failure } from '../../dns/failure.ts'
import type { Query } from '../../dns/query.ts'
import { isSameQuestion } from '../../dns/question.ts'
import type { Clock } from '../../net/clock.ts'
import type { ConcurrencyLimit } from '../../net/concurrency-limit.ts'
import type { Wheel } from '../../net/wheel.ts'
import type { Cache } from '../cache/cache.ts'
import type { Settler } from '../pipeline.ts'
import type { Refresher } from './cache.ts'
import { Flight, type FlightContext } from './flight.ts'

/** Queries that may wait for upstreams at once: at about 1 kB each, and 4 s each when every upstream is dead. */
const MAX_WAITING = 20_000
/** Questions on their way; more than waiting queries only when those got expired answers, or nobody asked. */
const MAX_FLIGHTS = 20_000
/**
 * Networks for which one question may be on its way at once. Each gives a forger one more chance that an answer of his fits
 * (RFC 7871 §11.2, RFC 5452 §5); few names are asked from more networks within the moment that an answer takes.
 */
const MAX_NETWORKS = 16

export interface ForwardOptions {
  readonly cache: Cache
  readonly settler: Settler
  readonly clock: Clock
  readonly wheel: Wheel
  /** Of each client: queries that wait for upstreams. */
  readonly inFlight: ConcurrencyLimit
}

const NOBODY: ReplySink = { deliver() {}, refuse() {} }

/** Parks the query until the upstream has answered; the same question of several queries is asked once (RFC 5452 §5). */
export class ForwardStage implements Stage, Refresher, FlightContext {
  readonly name = 'forward'
  readonly cache: Cache
  readonly clock: Clock
  readonly wheel: Wheel
  readonly #settler: Settler
  readonly #inFlight: ConcurrencyLimit
  readonly #flights = new Map<number, Flight>()
  /** By question: for how many networks it is on its way. */
  readonly #networks = new Map<number, number>()
  #waiting = 0

  constructor(options: ForwardOptions) {
    this.cache = options.cache
    this.clock = options.clock
    this.wheel = options.wheel
    this.#settler = options.settler
    this.#inFlight = options.inFlight
  }

  onQuery(query: Query): Verdict {
    if (query.subnet.source > 0 && this.#isCrowded(query)) {
      this.#withhold(query)
      if (query.answer !== null) return Verdict.ANSWERED
    }
    const id = this.cache.idOf(query)
    const same = this.#flights.get(id)
    const isNew = same === undefined || !isSameQuestion(same.query, query) || same.query.route.space !== query.route.space
    if (this.#waiting >= MAX_WAITING || (isNew && this.#flights.size >= MAX_FLIGHTS)) {
      query.failure = Failure.overloaded
      return Verdict.FAILED
    }
    if (this.#inFlight.acquire(accountOf(query.client)) !== null) {
      query.failure = Failure.in_flight_limit
      return Verdict.FAILED
    }
    query.park()
    this.#waiting++
    if (!isNew) {
      this.cache.meter.coalesced()
      same.join(query)
      return Verdict.PARKED
    }
    const flight = this.#open(query, id)
    flight.join(query)
    flight.start()
    return Verdict.PARKED
  }

  refresh(query: Query): void {
    const id = this.cache.idOf(query)
    if (this.#flights.has(id) || this.#flights.size >= MAX_FLIGHTS) return
    // for the next network there may be nothing left to do once the first has its answer
    if (query.subnet.source > 0 && this.#networks.has(this.cache.idForAnyone(query))) return
    if (this.cache.hasFailed(query, query.receivedAt)) return
    const flight = new Flight(query.background(NOBODY), id, this)
    if (flight.isLeft) return
    this.cache.meter.prefetched()
    this.#flights.set(id, flight)
    this.#countNetwork(flight.query, 1)
    flight.startSoon()
  }

  ended(flight: Flight): void {
    this.#countNetwork(flight.query, -1)
    if (this.#flights.get(flight.id) === flight) this.#flights.delete(flight.id)
  }

  answer(query: Query, answer: Answer): void {
    this.#settled(query)
    this.#settler.answer(query, answer)
  }

  fail(query: Query, failure: Failure): void {
    this.#settled(query)
    this.#settler.fail(query, failure)
  }

  #settled({ client }: Query): void {
    this.#waiting--
    this.#inFlight.release(accountOf(client))
  }

  /** Two questions of the same number: the later flies without taking others along. */
  #open(query: Query, id: number): Flight {
    const flight = new Flight(query, id, this)
    if (!this.#flights.has(id)) this.#flights.set(id, flight)
    this.#countNetwork(query, 1)
    return flight
  }

  #isCrowded(query: Query): boolean {
    return (this.#networks.get(this.cache.idForAnyone(query)) ?? 0) >= MAX_NETWORKS && !this.#flights.has(this.cache.idOf(query))
  }

  /** Asks what others without an address ask, all of them once. */
  #withhold(query: Query): void {
    this.cache.meter.withheld()
    query.subnet = WITHHELD
    query.answer = this.cache.find(query, query.receivedAt)
    query.hasStale = this.cache.hasStale
  }

  #countNetwork(query: Query, change: number): void {
    if (query.subnet.source === 0) return
    const id = this.cache.idForAnyone(query)
    const count = (this.#networks.get(id) ?? 0) + change
    if (count === 0) this.#networks.delete(id)
    else this.#networks.set(id, count)
  }
}
