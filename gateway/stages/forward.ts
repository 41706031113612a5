import type { Answer } from '../../dns/answer.ts'
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
  #waiting = 0

  constructor(options: ForwardOptions) {
    this.cache = options.cache
    this.clock = options.clock
    this.wheel = options.wheel
    this.#settler = options.settler
    this.#inFlight = options.inFlight
  }

  onQuery(query: Query): Verdict {
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
    if (this.cache.hasFailed(query, query.receivedAt)) return
    const flight = new Flight(query.background(NOBODY), id, this)
    if (flight.isLeft) return
    this.cache.meter.prefetched()
    this.#flights.set(id, flight)
    flight.startSoon()
  }

  ended(flight: Flight): void {
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
    return flight
  }
}
