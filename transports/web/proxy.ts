import type { Dispatcher, Pool } from 'undici'
import type { Clock } from '../../net/clock.ts'
import { isMethod, isTarget } from '../../net/fields.ts'
import { date } from '../../net/http-date.ts'
import { LiveSet } from '../../net/live-set.ts'
import type { Wheel } from '../../net/wheel.ts'
import { ContentRelay } from './content-relay.ts'
import type { WebExchange, WebRequest } from './exchange.ts'
import { type ProxyFailure, refuse } from './failures.ts'
import {
  MAX_CONTENT_LENGTH,
  MAX_IN_FLIGHT,
  MAX_IN_FLIGHT_PER_CLIENT,
  MAX_TIMES_SEEN,
  MAX_TUNNELS,
  MAX_TUNNELS_PER_CLIENT,
} from './limits.ts'
import { openOrigin } from './origin.ts'
import { Places } from './places.ts'
import { type OriginObserver, Reachability } from './reachability.ts'
import type { ProxyHost, Relay } from './relay.ts'
import { declaredLength, forwardsLeft, hasPlainCoding, joined, originFields, timesSeen } from './request-fields.ts'
import { UpgradeRelay } from './upgrade-relay.ts'
import { freshKey, isKey } from './websocket.ts'

export interface ProxyOptions {
  /** http: or https:, host and port. */
  readonly origin: URL
  readonly clock: Clock
  readonly wheel: Wheel
  readonly observer: OriginObserver
  /** Counts what the client was told instead of a page. */
  count(failure: ProxyFailure): void
}

/** The relays have deadlines of their own, on the clock of all others. And undici would give a TLS connection up when Host changes: see openOrigin(). */
const DISPATCH = { headersTimeout: 0, bodyTimeout: 0, servername: 'origin' }

/** Brings requests for pages to the origin behind this gateway, and its responses back (ADR 20). */
export class ReverseProxy {
  readonly #origin: Pool
  readonly #host: ProxyHost
  readonly #requests = new Places(MAX_IN_FLIGHT, MAX_IN_FLIGHT_PER_CLIENT)
  readonly #tunnels = new Places(MAX_TUNNELS, MAX_TUNNELS_PER_CLIENT)
  readonly #relays = new LiveSet<Relay>()
  #isClosed = false
  #isDraining = false

  private constructor(origin: Pool, { clock, wheel, count }: ProxyOptions) {
    this.#origin = origin
    this.#host = { clock, wheel, count, released: (relay) => this.#released(relay) }
  }

  /** undici is loaded only by who has an origin: a start without is faster. */
  static async open(options: ProxyOptions): Promise<ReverseProxy> {
    const { origin } = options
    return new ReverseProxy(await openOrigin(origin, new Reachability(origin.origin, options)), options)
  }

  /** Requests and tunnels that are on their way. */
  get size(): number {
    return this.#relays.size
  }

  serve(exchange: WebExchange): void {
    const { request } = exchange
    const failure = this.#isClosed ? 'proxy_busy' : flawOf(request)
    if (failure !== null) this.#refuse(exchange, failure)
    else if (request.target === '*' || forwardsLeft(request) === 0) answerOptions(exchange)
    else if (request.protocol === null) this.#forward(exchange)
    else if (this.#isDraining) this.#refuse(exchange, 'proxy_busy')
    else this.#upgrade(exchange)
  }

  /** Ends when the last response has ended, at the latest after `deadlineMs`. */
  async drain(deadlineMs: number): Promise<void> {
    this.#isDraining = true
    // nobody can be asked to leave a tunnel
    for (const relay of this.#relays) if (relay instanceof UpgradeRelay) relay.stop()
    await this.#relays.emptied(deadlineMs)
    await this.close()
  }

  /** Ends everything at once. */
  async close(): Promise<void> {
    this.#isClosed = true
    for (const relay of this.#relays) relay.stop()
    await this.#origin.destroy()
  }

  #forward(exchange: WebExchange): void {
    const { request } = exchange
    const declared = declaredLength(request.fields)
    if (declared === null) this.#refuse(exchange, 'proxy_bad_request')
    else if (declared > MAX_CONTENT_LENGTH) this.#refuse(exchange, 'proxy_too_large')
    else if (!this.#requests.take(request.client)) this.#refuse(exchange, 'proxy_busy')
    else {
      const relay = new ContentRelay(exchange, this.#host, declared)
      const headers = originFields(request)
      if (request.hasContent && declared >= 0) headers.push('content-length', String(declared))
      this.#dispatch(relay, { path: request.target, method: request.method as Dispatcher.HttpMethod, headers, body: relay.content })
      // RFC 9110 §10.1.1: the origin is not asked, its answer would be too late for many a client
      if (request.hasContent && !relay.isOver && joined(request.fields, 'expect', ',') !== null) exchange.inform(100, [])
    }
  }

  #upgrade(exchange: WebExchange): void {
    const { request } = exchange
    const key = request.version === '2' ? freshKey() : (joined(request.fields, 'sec-websocket-key', ',') ?? '')
    if (!isKey(key)) this.#refuse(exchange, 'proxy_bad_request')
    else if (!this.#tunnels.take(request.client)) this.#refuse(exchange, 'proxy_busy')
    else {
      const lines = originFields(request)
      const headers: string[] = []
      for (let i = 0; i < lines.length; i += 2) {
        if (lines[i] !== 'sec-websocket-key') headers.push(...lines.slice(i, i + 2))
      }
      headers.push('sec-websocket-key', key)
      this.#dispatch(new UpgradeRelay(exchange, this.#host, key), { path: request.target, method: 'GET', headers, upgrade: 'websocket' })
    }
  }

  #dispatch(relay: Relay, options: Dispatcher.DispatchOptions): void {
    this.#relays.add(relay)
    relay.progress()
    relay.exchange.receive(relay)
    this.#origin.dispatch({ ...options, ...DISPATCH }, relay)
  }

  #refuse(exchange: WebExchange, failure: ProxyFailure): void {
    this.#host.count(failure)
    refuse(exchange, failure)
  }

  #released(relay: Relay): void {
    this.#relays.delete(relay)
    const places = relay instanceof UpgradeRelay ? this.#tunnels : this.#requests
    places.giveBack(relay.exchange.request.client)
  }
}

/** Why a request is not for the origin; null: it is. */
function flawOf(request: WebRequest): ProxyFailure | null {
  const { method, target, fields, protocol, version } = request
  if (!isMethod(method) || !isTarget(target, method)) return 'proxy_bad_request'
  // RFC 8441 §4; RFC 9110 §9.3.6: this is no forward proxy; §9.3.8: TRACE would show what we have added
  const mayBe = version === '2' && protocol !== null ? method === 'CONNECT' : method !== 'CONNECT' && method !== 'TRACE'
  if (!mayBe || (protocol !== null && (protocol !== 'websocket' || (version === '1.1' && method !== 'GET')))) return 'proxy_not_implemented'
  if (!hasPlainCoding(fields)) return 'proxy_not_implemented'
  const expectation = joined(fields, 'expect', ',')
  // RFC 9110 §10.1.1
  if (expectation !== null && expectation.toLowerCase() !== '100-continue') return 'proxy_expectation'
  return timesSeen(fields) >= MAX_TIMES_SEEN ? 'proxy_loop' : null
}

/** RFC 9110 §7.6.2, §9.3.7: it is meant for us. */
function answerOptions(exchange: WebExchange): void {
  exchange.respond(204, [['date', date()]], true)
}
