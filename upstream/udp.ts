import { Answer } from '../dns/answer.ts'
import { AnswerReader, isAnswerTo, isBareError } from '../dns/answer-reader.ts'
import { u16 } from '../dns/bytes.ts'
import type { UpstreamSink } from '../dns/contracts.ts'
import { Failure } from '../dns/failure.ts'
import { HEADER_LENGTH } from '../dns/header.ts'
import { hasLetterCase } from '../dns/letter-case.ts'
import type { Query } from '../dns/query.ts'
import { Rcode } from '../dns/types.ts'
import type { Endpoint } from '../net/address.ts'
import { LiveSet } from '../net/live-set.ts'
import { BusyStream, type DatagramAsker } from './busy-stream.ts'
import { ClientCookies, CookieCheck, CookieVerdict } from './client-cookies.ts'
import type { EdnsSupport } from './edns-support.ts'
import type { Inflight, Pending } from './inflight.ts'
import { random16 } from './random.ts'
import { mayRepeat, smooth, type UpstreamDependencies, type UpstreamServer } from './server.ts'
import type { StreamUpstream } from './stream.ts'
import { UdpSocket, type UdpSocketHandlers, type UdpSocketOptions } from './udp-socket.ts'

/** Sockets, so source ports, that a question may leave by (RFC 5452 §9.2); a power of two, so that each has the same share of 16 bits. */
const SOCKETS = 32

export interface UdpOptions {
  readonly name: string
  readonly endpoint: Endpoint
  /** The address to ask from; null: as the system chooses. */
  readonly source: string | null
  /** 0x20 (conformance VAL-03). */
  readonly randomizeCase: boolean
  /** RFC 7873. */
  readonly cookies: boolean
  /** The same server over TCP, for what UDP cannot tell or cannot be believed. */
  readonly stream: StreamUpstream
  /** The one of `stream`. */
  readonly edns: EdnsSupport
}

/**
 * DNS over UDP to one server: random id, random source port out of a changing set, connected sockets, the question compared, where it is
 * wanted also its letter case and a cookie. What is wrong is ignored, and the wait goes on; what is only doubtful is asked for again over
 * TCP, and so is what is truncated (RFC 2181 §9). Under load most questions leave over TCP.
 */
export class UdpUpstream implements UpstreamServer, DatagramAsker {
  readonly name: string
  readonly isLossy = true
  readonly #stream: StreamUpstream
  readonly #busyStream: BusyStream
  readonly #edns: EdnsSupport
  readonly #dependencies: UpstreamDependencies
  readonly #socketOptions: UdpSocketOptions
  readonly #reader = new AnswerReader()
  readonly #sockets: (UdpSocket | undefined)[] = Array.from({ length: SOCKETS }, () => undefined)
  /** Sockets that take no more questions but still wait for answers. */
  readonly #retired = new Set<UdpSocket>()
  readonly #busy = new LiveSet<Inflight>()
  #rtt = Number.NaN
  #closed = false

  constructor(options: UdpOptions, dependencies: UpstreamDependencies) {
    const { endpoint, source, randomizeCase } = options
    const cookies = options.cookies ? new ClientCookies(dependencies.clock) : null
    this.name = options.name
    this.#stream = options.stream
    this.#busyStream = new BusyStream(options.stream, this, dependencies.clock)
    this.#edns = options.edns
    this.#dependencies = dependencies
    this.#socketOptions = { endpoint, source, cookies, randomizeCase, wheel: dependencies.wheel, busy: this.#busy }
  }

  get rtt(): number {
    return this.#rtt
  }

  send(query: Query, sink: UpstreamSink): void {
    if (this.#closed || !this.#busyStream.take(query, sink, this.#dependencies.clock())) this.askOverUdp(query, sink)
  }

  askOverUdp(query: Query, sink: UpstreamSink): void {
    this.#ask(query, sink, { edns: this.#edns.isUsedFor(query), resent: false })
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

  #ask(query: Query, sink: UpstreamSink, { edns, resent }: { edns: boolean; resent: boolean }): void {
    const { clock, meter } = this.#dependencies
    const now = clock()
    const socket = this.#closed ? null : this.#pick(now)
    if (socket === null || socket.inflight.isFull) {
      this.#fail({ query, sink }, socket === null ? Failure.upstream_network : Failure.overloaded)
      return
    }
    meter.sent(query)
    socket.send(query, sink, { now, edns, resent })
  }

  /** A socket of the set; null when none can be had, for want of a descriptor or a route. */
  #pick(now: number): UdpSocket | null {
    const i = random16() & (SOCKETS - 1)
    const present = this.#sockets[i]
    if (present !== undefined && !present.isSpent(now)) return present
    if (present !== undefined) {
      this.#retired.add(present)
      present.retire()
    }
    const fresh = new UdpSocket(this.#socketOptions, this.#handlers, now)
    // what fails while it is made is closed already, and must not take the place of one that works
    this.#sockets[i] = fresh.isClosed ? undefined : fresh
    return fresh.isClosed ? null : fresh
  }

  readonly #handlers: UdpSocketHandlers = {
    onMessage: (socket, message) => this.#onMessage(socket, message),
    onExpired: (pending) => this.#fail(pending, Failure.upstream_timeout),
    onClosed: (socket) => {
      this.#retired.delete(socket)
      const i = this.#sockets.indexOf(socket)
      if (i >= 0) this.#sockets[i] = undefined
    },
    onFailed: (pending, failure) => this.#fail(pending, failure),
  }

  #onMessage(socket: UdpSocket, message: Uint8Array): void {
    const pending = message.length < HEADER_LENGTH ? undefined : socket.inflight.get(u16(message, 0))
    // RFC 5452 §9.1: what does not match is not our answer; the wait goes on
    if (pending === undefined) this.#ignore(socket)
    else if (isAnswerTo(pending.query, message)) this.#onAnswer(socket, pending, message)
    // an id is guessed too easily for this to be believed: TCP will tell
    else if (pending.edns && isBareError(message)) this.#askStream(socket, pending)
    else this.#ignore(socket)
  }

  #onAnswer(socket: UdpSocket, pending: Pending, message: Uint8Array): void {
    const { query, cookie } = pending
    if (this.#socketOptions.randomizeCase && !hasLetterCase(query, message, pending.letterCase)) {
      // conformance VAL-03: forged, or changed on the way; never compared without case instead
      this.#askStream(socket, pending)
      return
    }
    const now = this.#dependencies.clock()
    const result = this.#reader.read(query, message, now)
    const verdict = cookie === null ? CookieVerdict.ACCEPTED : cookie.judge(message, this.#reader)
    if (verdict === CookieVerdict.FOREIGN) {
      this.#ignore(socket)
      return
    }
    // RFC 7873 §5.3 has it discarded; a server that has lost its cookies would then never be heard again
    if (cookie !== null && verdict === CookieVerdict.MISSING) {
      socket.settle(pending)
      this.#stream.send(query, new CookieCheck(cookie, pending.sink), cookie)
      return
    }
    if (result === Failure.upstream_truncated) {
      this.#askStream(socket, pending)
      return
    }
    // RFC 7871 §11.2: nor is what answers for another network
    if (result === Failure.upstream_subnet_mismatch) {
      this.#ignore(socket)
      return
    }
    socket.settle(pending)
    if (!this.#repeat(pending, result)) this.#answer(pending, result, now)
  }

  /** Asks once more, in other words, where the server wants that. */
  #repeat(pending: Pending, result: Answer | Failure): boolean {
    const { query, sink, cookie, resent } = pending
    if (cookie !== null && this.#reader.rcode === Rcode.BADCOOKIE) {
      // RFC 7873 §5.3: with the cookie that came along; over TCP, where none is needed, when that is not good either
      if (!resent && mayRepeat(query, sink)) this.#ask(query, sink, { edns: true, resent: true })
      else this.#stream.send(query, sink)
      return true
    }
    if (!(result instanceof Answer) || !this.#edns.heard(pending, this.#reader) || !mayRepeat(query, sink)) return false
    this.#ask(query, sink, { edns: false, resent: true })
    return true
  }

  #answer({ query, sink, sentAt }: Pending, result: Answer | Failure, now: number): void {
    const { meter } = this.#dependencies
    if (!(result instanceof Answer)) {
      meter.failed(query, result)
      sink.failed(query, result)
      return
    }
    this.#rtt = smooth(this.#rtt, now - sentAt)
    meter.answered(query, result, now - sentAt)
    sink.answered(query, result)
  }

  #askStream(socket: UdpSocket, pending: Pending): void {
    socket.settle(pending)
    this.#stream.send(pending.query, pending.sink, pending.cookie)
  }

  #ignore(socket: UdpSocket): void {
    this.#dependencies.meter.ignored()
    if (!socket.countStray()) return
    // conformance VAL-04: somebody is guessing, and may guess right
    for (const { query, sink, cookie } of socket.abandon()) this.#stream.send(query, sink, cookie)
  }

  #fail({ query, sink }: Pick<Pending, 'query' | 'sink'>, failure: Failure): void {
    this.#dependencies.meter.failed(query, failure)
    sink.failed(query, failure)
  }
}
