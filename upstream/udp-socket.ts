import { createSocket, type Socket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import type { UpstreamSink } from '../dns/contracts.ts'
import { Failure } from '../dns/failure.ts'
import { HEADER_LENGTH } from '../dns/header.ts'
import { putLetterCase } from '../dns/letter-case.ts'
import type { Query } from '../dns/query.ts'
import { writeQuestion } from '../dns/question.ts'
import type { Endpoint } from '../net/address.ts'
import type { LiveSet } from '../net/live-set.ts'
import { literalLookup } from '../net/lookup.ts'
import { scratch } from '../net/scratch.ts'
import type { Wheel } from '../net/wheel.ts'
import type { ClientCookies, Cookie } from './client-cookies.ts'
import { Inflight, type Pending, type PendingOwner } from './inflight.ts'
import { random16 } from './random.ts'

/** Questions after which a socket is exchanged for one with another port. */
const MAX_QUESTIONS = 500
/** So is one that has few: whoever looks for open ports has to find the one, and then guess ids, before it is another (RFC 5452 §9.2). */
const MAX_AGE_MS = 60_000
/** Questions that may wait on one socket; all sockets together hold more than the gateway has in flight. */
const MAX_IN_FLIGHT = 4096
/**
 * Datagrams that answer nothing that waits, after which somebody is taken to guess (RFC 5452 §9.3): each has a chance of 1 in 65,536 by
 * its id. Answers that come twice, or after their deadline, are fewer.
 */
const MAX_STRAYS = 20

export interface UdpSocketHandlers {
  onMessage(socket: UdpSocket, message: Uint8Array): void
  onExpired(pending: Pending): void
  onFailed(pending: Pending, failure: Failure): void
  onClosed(socket: UdpSocket): void
}

export interface UdpSocketOptions {
  readonly endpoint: Endpoint
  /** The address to bind to; null: as the system chooses. */
  readonly source: string | null
  /** Null: none are sent. */
  readonly cookies: ClientCookies | null
  /** 0x20: the letters of the name that is asked for have a case drawn at random, which the answer has to repeat. */
  readonly randomizeCase: boolean
  readonly wheel: Wheel
  readonly busy: LiveSet<Inflight>
}

export interface SendFacts {
  readonly now: number
  readonly edns: boolean
  readonly resent: boolean
}

/** One connected socket, that is one source port, and what waits on it. The kernel drops what comes from elsewhere. */
export class UdpSocket implements PendingOwner {
  readonly inflight: Inflight
  readonly #socket: Socket
  readonly #handlers: UdpSocketHandlers
  readonly #randomizeCase: boolean
  readonly #cookie: Cookie | null
  readonly #until: number
  #sent = 0
  #strays = 0
  #retired = false
  #closed = false

  constructor(options: UdpSocketOptions, handlers: UdpSocketHandlers, now: number) {
    const { endpoint, source, cookies, wheel, busy } = options
    this.#handlers = handlers
    this.#randomizeCase = options.randomizeCase
    this.#until = now + MAX_AGE_MS
    this.inflight = new Inflight(wheel, { owner: this, limit: MAX_IN_FLIGHT, busy })
    const type = isIPv6(endpoint.host.split('%')[0] ?? '') ? 'udp6' : 'udp4'
    this.#socket = createSocket({ type, lookup: literalLookup })
    this.#socket.on('message', (message) => handlers.onMessage(this, message))
    // ECONNREFUSED: nobody listens at the other end, whichever of the questions brought the news
    this.#socket.on('error', () => this.fail(Failure.upstream_network))
    // with addresses and such a lookup both happen at once, or fail at once
    if (source !== null) this.#socket.bind({ address: source })
    if (!this.#closed) this.#socket.connect(endpoint.port, endpoint.host)
    this.#cookie = cookies === null || this.#closed ? null : cookies.ofAddress(this.#socket.address().address)
  }

  get isClosed(): boolean {
    return this.#closed
  }

  isSpent(now: number): boolean {
    return this.#sent >= MAX_QUESTIONS || now >= this.#until
  }

  send(query: Query, sink: UpstreamSink, { now, edns, resent }: SendFacts): void {
    this.#sent++
    const letterCase = this.#randomizeCase ? (random16() << 16) | random16() : 0
    const cookie = edns ? this.#cookie : null
    const { id } = this.inflight.add(query, sink, { now, resent, edns, cookie, letterCase })
    const length = writeQuestion(query, scratch, 0, { id, keepalive: false, padding: 0, edns, cookie })
    if (this.#randomizeCase) putLetterCase(scratch, HEADER_LENGTH, query.questionEnd - 4, letterCase)
    const message = Buffer.allocUnsafe(length)
    scratch.copy(message, 0, 0, length)
    try {
      this.#socket.send(message)
    } catch {
      // not connected: there is no route to the server, or no descriptor
      this.fail(Failure.upstream_network)
    }
  }

  settle(pending: Pending): void {
    this.inflight.remove(pending)
    if (this.#retired && this.inflight.size === 0) this.#close()
  }

  /** Counts a datagram that answers nothing; true: too many have come while something waits here. */
  countStray(): boolean {
    return this.inflight.size > 0 && ++this.#strays >= MAX_STRAYS
  }

  expired(pending: Pending): void {
    this.settle(pending)
    this.#handlers.onExpired(pending)
  }

  /** No more questions; the socket closes with its last answer. */
  retire(): void {
    this.#retired = true
    if (this.inflight.size === 0) this.#close()
  }

  /** Closes at once; returns what waited. */
  abandon(): readonly Pending[] {
    const all = this.inflight.takeAll()
    this.#close()
    return all
  }

  fail(failure: Failure): void {
    for (const pending of this.abandon()) this.#handlers.onFailed(pending, failure)
  }

  #close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#socket.close()
    this.#handlers.onClosed(this)
  }
}
