import { randomInt } from 'node:crypto'
import { createSocket, type Socket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import { Answer } from '../dns/answer.ts'
import { AnswerReader, isAnswerTo } from '../dns/answer-reader.ts'
import { u16 } from '../dns/bytes.ts'
import type { UpstreamSink } from '../dns/contracts.ts'
import { Failure } from '../dns/failure.ts'
import { HEADER_LENGTH } from '../dns/header.ts'
import type { Query } from '../dns/query.ts'
import { writeQuestion } from '../dns/question.ts'
import { Rcode } from '../dns/types.ts'
import type { Endpoint } from '../net/address.ts'
import { LiveSet } from '../net/live-set.ts'
import { literalLookup } from '../net/lookup.ts'
import { scratch } from '../net/scratch.ts'
import { Inflight, type Pending, type PendingOwner } from './inflight.ts'
import { smooth, type UpstreamDependencies, type UpstreamServer } from './server.ts'
import type { StreamUpstream } from './stream.ts'

/** Sockets, so source ports, that a question may leave by (RFC 5452 §9.2). */
const SOCKETS = 32
/** Questions after which a socket is exchanged for one with another port. */
const QUESTIONS_PER_SOCKET = 500
/** Questions that may wait on one socket; all sockets together hold more than the gateway has in flight. */
const IN_FLIGHT_PER_SOCKET = 4096

/**
 * DNS over UDP to one server: random id, random source port out of a changing set, connected sockets (so the kernel drops what
 * comes from elsewhere), the question compared. A truncated answer is asked for again over TCP (RFC 2181 §9).
 */
export class UdpUpstream implements UpstreamServer {
  readonly name: string
  readonly isLossy = true
  readonly #endpoint: Endpoint
  readonly #stream: StreamUpstream
  readonly #dependencies: UpstreamDependencies
  readonly #reader = new AnswerReader()
  readonly #sockets: (UdpSocket | undefined)[] = Array.from({ length: SOCKETS }, () => undefined)
  /** Sockets that take no more questions but still wait for answers. */
  readonly #retired = new Set<UdpSocket>()
  readonly #busy = new LiveSet<Inflight>()
  #rtt = Number.NaN
  #closed = false

  /** `stream` reaches the same server over TCP. */
  constructor(endpoint: Endpoint, options: { name: string; stream: StreamUpstream }, dependencies: UpstreamDependencies) {
    this.name = options.name
    this.#endpoint = endpoint
    this.#stream = options.stream
    this.#dependencies = dependencies
  }

  get rtt(): number {
    return this.#rtt
  }

  send(query: Query, sink: UpstreamSink): void {
    const socket = this.#closed ? null : this.#pick()
    if (socket === null || socket.inflight.isFull) {
      sink.failed(query, socket === null ? Failure.upstream_network : Failure.overloaded)
      return
    }
    this.#dependencies.meter.sent()
    socket.send(query, sink, this.#dependencies.clock())
  }

  async drain(deadlineMs: number): Promise<void> {
    await this.#busy.emptied(deadlineMs)
    await this.#stream.drain(deadlineMs)
    await this.close()
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const socket of [...this.#retired, ...this.#sockets]) socket?.fail(Failure.upstream_network)
    this.#sockets.fill(undefined)
    this.#retired.clear()
    await this.#stream.close()
  }

  /** A socket of the set; null when none can be had, for want of a descriptor or a route. */
  #pick(): UdpSocket | null {
    const i = randomInt(SOCKETS)
    const present = this.#sockets[i]
    if (present !== undefined && !present.isSpent) return present
    if (present !== undefined) {
      this.#retired.add(present)
      present.retire()
    }
    const fresh = new UdpSocket(this.#endpoint, { ...this.#dependencies, busy: this.#busy }, this.#handlers)
    // what fails while it is made is closed already, and must not take the place of one that works
    this.#sockets[i] = fresh.isClosed ? undefined : fresh
    return fresh.isClosed ? null : fresh
  }

  readonly #handlers: UdpSocketHandlers = {
    onMessage: (socket, message) => this.#onMessage(socket, message),
    onExpired: (pending) => {
      this.#dependencies.meter.failed(Failure.upstream_timeout)
      pending.sink.failed(pending.query, Failure.upstream_timeout)
    },
    onClosed: (socket) => {
      this.#retired.delete(socket)
      const i = this.#sockets.indexOf(socket)
      if (i >= 0) this.#sockets[i] = undefined
    },
    onFailed: (pending, failure) => {
      this.#dependencies.meter.failed(failure)
      pending.sink.failed(pending.query, failure)
    },
  }

  #onMessage(socket: UdpSocket, message: Uint8Array): void {
    const { clock, meter } = this.#dependencies
    const pending = message.length < HEADER_LENGTH ? undefined : socket.inflight.get(u16(message, 0))
    // RFC 5452 §9.1: what does not match is not our answer; the wait goes on
    if (pending === undefined || !isAnswerTo(pending.query, message)) {
      meter.ignored()
      return
    }
    const now = clock()
    const { query, sink } = pending
    const result = this.#reader.read(query, message, now)
    // RFC 7871 §11.2: nor is what answers for another network
    if (result === Failure.upstream_subnet_mismatch) {
      meter.ignored()
      return
    }
    socket.settle(pending)
    if (result === Failure.upstream_truncated) {
      this.#stream.send(query, sink)
      return
    }
    if (result instanceof Answer) {
      this.#rtt = smooth(this.#rtt, now - pending.sentAt)
      meter.answered(now - pending.sentAt)
      if (result.rcode === Rcode.SERVFAIL) meter.failed(Failure.upstream_failed)
      sink.answered(query, result)
      return
    }
    meter.failed(result)
    sink.failed(query, result)
  }
}

interface UdpSocketHandlers {
  onMessage(socket: UdpSocket, message: Uint8Array): void
  onExpired(pending: Pending): void
  onFailed(pending: Pending, failure: Failure): void
  onClosed(socket: UdpSocket): void
}

/** One connected socket, that is one source port, and what waits on it. */
class UdpSocket implements PendingOwner {
  readonly inflight: Inflight
  readonly #socket: Socket
  readonly #handlers: UdpSocketHandlers
  #sent = 0
  #retired = false
  #closed = false

  constructor(endpoint: Endpoint, { wheel, busy }: UpstreamDependencies & { busy: LiveSet<Inflight> }, handlers: UdpSocketHandlers) {
    this.#handlers = handlers
    this.inflight = new Inflight(wheel, { owner: this, limit: IN_FLIGHT_PER_SOCKET, busy })
    const type = isIPv6(endpoint.host.split('%')[0] ?? '') ? 'udp6' : 'udp4'
    this.#socket = createSocket({ type, lookup: literalLookup })
    this.#socket.on('message', (message) => handlers.onMessage(this, message))
    // ECONNREFUSED: nobody listens at the other end, whichever of the questions brought the news
    this.#socket.on('error', () => this.fail(Failure.upstream_network))
    // with an address and such a lookup this binds and connects at once
    this.#socket.connect(endpoint.port, endpoint.host)
  }

  get isClosed(): boolean {
    return this.#closed
  }

  get isSpent(): boolean {
    return this.#sent >= QUESTIONS_PER_SOCKET
  }

  send(query: Query, sink: UpstreamSink, now: number): void {
    this.#sent++
    const pending = this.inflight.add(query, sink, { now, resent: false })
    const length = writeQuestion(query, scratch, 0, { id: pending.id, keepalive: false, padding: 0 })
    try {
      this.#socket.send(Buffer.from(scratch.subarray(0, length)))
    } catch {
      // not connected: there is no route to the server, or no descriptor
      this.fail(Failure.upstream_network)
    }
  }

  settle(pending: Pending): void {
    this.inflight.remove(pending)
    if (this.#retired && this.inflight.size === 0) this.#close()
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

  fail(failure: Failure): void {
    const all = this.inflight.takeAll()
    this.#close()
    for (const pending of all) this.#handlers.onFailed(pending, failure)
  }

  #close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#socket.close()
    this.#handlers.onClosed(this)
  }
}
