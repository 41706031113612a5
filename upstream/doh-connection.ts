import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { Client } from 'undici'
import { Answer } from '../dns/answer.ts'
import { AnswerReader } from '../dns/answer-reader.ts'
import type { UpstreamSink } from '../dns/contracts.ts'
import { Failure } from '../dns/failure.ts'
import type { Query } from '../dns/query.ts'
import type { Flushable } from '../net/flusher.ts'
import { WheelEntry } from '../net/wheel.ts'
import type { Dial, Dialer } from './dialer.ts'
import { readAnswer } from './doh-answer.ts'
import { type ClientEvents, get, H2_PROTOCOL, openClient, pathBefore } from './doh-client.ts'
import { Exchange, type ExchangeOwner } from './doh-exchange.ts'
import type { ConnectionTerms, UpstreamDependencies } from './server.ts'

/** Questions on one connection, of which the server takes as many at a time as it says: four of them hold all that wait in a worker. */
const MAX_EXCHANGES = 5000
/** How far connections differ in age, so that those opened together do not all end together. */
const AGE_JITTER = 0.1
/** After an attempt to replace an old connection that came to nothing. */
const REPLACE_AGAIN_MS = 10_000
const noop = (): void => {}

/** Whose connection it is. */
export interface ConnectionHost {
  /** How many streams the server had for us when it last had no more; Infinity: that has not happened. */
  streams: number
  established(connection: HttpsConnection): void
  /** It is old enough to be replaced. */
  aged(connection: HttpsConnection): void
  closed(connection: HttpsConnection): void
  leaveAlone(ms: number): void
  answered(exchange: Exchange, answer: Answer, now: number): void
  failed(exchange: Exchange, failure: Failure): void
  lost(exchange: Exchange, connection: HttpsConnection): void
}

export interface ConnectionOptions {
  /** Where questions are sent: the origin is the authority of requests. */
  readonly url: URL
  readonly dialer: Dialer
  readonly terms: ConnectionTerms
  readonly dependencies: UpstreamDependencies
}

/**
 * One HTTP/2 connection, with a client of undici that has this one only: undici would open others, and ask again over them, by
 * rules of its own. Questions wait here and not there until the server has a stream for them, where they can be taken back.
 */
export class HttpsConnection extends WheelEntry implements ExchangeOwner, Flushable {
  /** The one that ends when this one is established. */
  replaces: HttpsConnection | null = null
  readonly #host: ConnectionHost
  readonly #options: ConnectionOptions
  readonly #pathBefore: string
  readonly #reader = new AnswerReader()
  /** In the order in which they came. */
  readonly #waiting = new Set<Exchange>()
  /** What undici has, in the order in which it got them. */
  readonly #given = new Set<Exchange>()
  readonly #cancelled: Exchange[] = []
  #dialling: Dial | null = null
  #socket: Socket | null = null
  #client: Client | null = null
  #isRetired = false
  /** The server has said that it leaves, or has left. */
  #isBroken = false
  #isClosed = false
  /** The server has no more streams for us. */
  #isSaturated = false
  #hasAnswered = false
  /** Of waiting and given, those that have had no outcome. */
  #open = 0
  #lastHeard: number
  #ageEnd = Number.POSITIVE_INFINITY

  constructor(host: ConnectionHost, options: ConnectionOptions) {
    super()
    this.#host = host
    this.#options = options
    this.#pathBefore = pathBefore(options.url)
    const { clock, wheel } = options.dependencies
    this.#lastHeard = clock()
    wheel.set(this, this.#lastHeard + options.terms.connectMs)
    // loaded by now, but for the first connection
    import('undici').then(
      (undici) => this.#dial(undici.Client),
      () => this.destroy(),
    )
  }

  get isBroken(): boolean {
    return this.#isBroken || this.#socket?.destroyed === true
  }

  get wasEstablished(): boolean {
    return this.#client !== null
  }

  get isRetired(): boolean {
    return this.#isRetired
  }

  get load(): number {
    return this.#waiting.size + this.#given.size
  }

  get isFull(): boolean {
    return this.load >= MAX_EXCHANGES
  }

  /** Whether another connection would do no better. How many streams it has is known once it has answered (RFC 9113 §3.4). */
  get hasRoom(): boolean {
    const { load } = this
    if (load >= this.#options.terms.pipelining) return false
    return this.#hasAnswered ? !this.#isSaturated : load < this.#host.streams
  }

  /** Precondition: neither retired nor full. */
  ask(query: Query, sink: UpstreamSink, resent: boolean): void {
    const { clock, wheel } = this.#options.dependencies
    const exchange = new Exchange(query, sink, { now: clock(), resent, owner: this })
    this.#open++
    wheel.set(exchange, query.deadline)
    if (this.#client === null || this.#isSaturated) this.#waiting.add(exchange)
    else this.#give(this.#client, exchange)
  }

  /** No more questions; what waits for a stream is asked elsewhere, and the connection ends with its last answer. */
  retire(): void {
    if (this.#isRetired) return
    this.#isRetired = true
    for (const exchange of this.#given) if (!exchange.isStarted) this.#lose(exchange)
    for (const exchange of this.#takeWaiting()) this.#lose(exchange)
    this.#endWhenDone()
  }

  destroy(): void {
    this.#isRetired = true
    this.#dialling?.abort()
    if (this.#socket === null) this.#onClose()
    else this.#socket.destroy()
  }

  flush(): void {
    for (const exchange of this.#cancelled) exchange.cancel()
    this.#cancelled.length = 0
  }

  /** Not connected in time, idle, or old. */
  override onDeadline(now: number): void {
    const { terms, dependencies } = this.#options
    if (this.#client === null) {
      this.destroy()
      return
    }
    const idleEnd = this.#lastHeard + terms.idleMs
    if (this.#open === 0 && now >= idleEnd) {
      this.retire()
      return
    }
    if (now >= this.#ageEnd && !this.#isRetired) {
      this.#ageEnd = now + REPLACE_AGAIN_MS
      this.#host.aged(this)
    }
    const next = Math.max(idleEnd, now + 1000)
    dependencies.wheel.set(this, this.#isRetired ? next : Math.min(next, this.#ageEnd))
  }

  // ---- what exchanges say ----

  broke(): void {
    this.#isBroken = true
    this.destroy()
  }

  heard(retryAfterMs: number): void {
    if (!this.#hasAnswered) this.#options.dialer.answered()
    this.#hasAnswered = true
    this.#lastHeard = this.#options.dependencies.clock()
    if (retryAfterMs > 0) this.#host.leaveAlone(retryAfterMs)
  }

  answered(exchange: Exchange, message: Buffer, ageMs: number): void {
    const { clock } = this.#options.dependencies
    const now = clock()
    const result = readAnswer(this.#reader, exchange.query, message, { now, ageMs })
    this.#settled(exchange)
    if (result instanceof Answer) this.#host.answered(exchange, result, now)
    else this.#host.failed(exchange, result)
  }

  failed(exchange: Exchange, failure: Failure): void {
    this.#settled(exchange)
    this.#host.failed(exchange, failure)
  }

  lost(exchange: Exchange): void {
    this.#settled(exchange)
    this.#host.lost(exchange, this)
  }

  expired(exchange: Exchange): void {
    this.#waiting.delete(exchange)
    exchange.cancel()
    this.#settled(exchange)
    // no response at all has come since this was asked: the path is dead, whatever TCP still hopes
    if (this.wasEstablished && this.#lastHeard < exchange.sentAt) this.retire()
    this.#host.failed(exchange, Failure.upstream_timeout)
  }

  cancelLater(exchange: Exchange): void {
    if (this.#cancelled.push(exchange) === 1) this.#options.dependencies.flusher.schedule(this)
  }

  released(exchange: Exchange): void {
    this.#given.delete(exchange)
  }

  // ---- the connection ----

  #dial(Constructor: typeof Client): void {
    if (this.#isClosed) return
    this.#dialling = this.#options.dialer.dial({
      ready: (socket) => this.#onReady(Constructor, socket),
      failed: () => this.#onClose(),
    })
  }

  #onReady(Constructor: typeof Client, socket: Socket): void {
    this.#socket = socket
    socket.on('close', () => this.#onClose())
    // RFC 9113 §3.2, RFC 8484 §5.2: over HTTP/1.1 each question would need a connection, so it is not offered
    if (!(socket instanceof TLSSocket) || socket.alpnProtocol !== H2_PROTOCOL) {
      this.destroy()
      return
    }
    const { url, terms, dependencies } = this.#options
    this.#client = openClient(Constructor, { url, socket, streams: MAX_EXCHANGES }, this.#events)
    this.#lastHeard = dependencies.clock()
    this.#ageEnd = this.#lastHeard + terms.maxAgeMs * (1 + AGE_JITTER * (2 * Math.random() - 1))
    dependencies.wheel.set(this, Math.min(this.#lastHeard + terms.idleMs, this.#ageEnd))
    dependencies.meter.connectionOpened()
    this.#host.established(this)
    this.#giveWaiting()
  }

  readonly #events: ClientEvents = {
    onDrain: () => {
      this.#isSaturated = false
      this.#giveWaiting()
    },
    onDisconnect: () => {
      this.#isBroken = true
      this.retire()
    },
    onOrphaned: (count) => {
      const orphans = [...this.#given].slice(Math.max(0, this.#given.size - count))
      // then undici tells each of them that it is over, as on a connection that is broken
      for (const exchange of orphans) this.cancelLater(exchange)
      return orphans.every(({ isStarted }) => isStarted)
    },
  }

  #giveWaiting(): void {
    if (this.#client === null || this.#isRetired) return
    for (const exchange of this.#waiting) {
      if (this.#isSaturated) return
      this.#waiting.delete(exchange)
      this.#give(this.#client, exchange)
    }
  }

  #give(client: Client, exchange: Exchange): void {
    const { dependencies } = this.#options
    exchange.sentAt = dependencies.clock()
    dependencies.meter.sent(exchange.query)
    this.#given.add(exchange)
    this.#isSaturated = !get(client, this.#pathBefore, exchange)
    if (this.#isSaturated && this.#hasAnswered) this.#host.streams = this.#given.size
  }

  #takeWaiting(): readonly Exchange[] {
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    return waiting
  }

  #lose(exchange: Exchange): void {
    if (exchange.settle()) this.lost(exchange)
  }

  #settled(exchange: Exchange): void {
    this.#options.dependencies.wheel.clear(exchange)
    this.#open--
    this.#endWhenDone()
  }

  #endWhenDone(): void {
    // not end(): a write of the socket's own, below HTTP/2, is an assertion that fails in Node
    if (this.#isRetired && this.#open === 0) this.#socket?.destroy()
  }

  #onClose(): void {
    if (this.#isClosed) return
    this.#isClosed = this.#isRetired = this.#isBroken = true
    const { meter, wheel } = this.#options.dependencies
    wheel.clear(this)
    if (this.#client !== null) meter.connectionClosed()
    const left = [...this.#given, ...this.#takeWaiting()]
    // aborted before undici knows: it would take up again what it thinks is unsent
    for (const exchange of this.#given) exchange.cancel()
    this.#client?.destroy(null, noop)
    this.#host.closed(this)
    for (const exchange of left) this.#lose(exchange)
  }
}
