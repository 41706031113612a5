import type { Socket } from 'node:net'
import { Answer } from '../dns/answer.ts'
import { AnswerReader, isAnswerTo, isBareError } from '../dns/answer-reader.ts'
import { putU16, u16 } from '../dns/bytes.ts'
import type { UpstreamSink } from '../dns/contracts.ts'
import { Failure } from '../dns/failure.ts'
import { Flag, flagsOf, HEADER_LENGTH } from '../dns/header.ts'
import type { Query } from '../dns/query.ts'
import { writeQuestion } from '../dns/question.ts'
import { Rcode } from '../dns/types.ts'
import { Deframer, PREFIX_LENGTH } from '../net/framing.ts'
import { LiveSet } from '../net/live-set.ts'
import { scratch } from '../net/scratch.ts'
import { WheelEntry } from '../net/wheel.ts'
import type { Cookie } from './client-cookies.ts'
import { EdnsSupport } from './edns-support.ts'
import { Inflight, type Pending, type PendingOwner, type Wording } from './inflight.ts'
import { type ConnectionTerms, mayRepeat, smooth, type UpstreamDependencies, type UpstreamServer } from './server.ts'

/** Questions on one connection; beyond it a second one is opened (RFC 7766 §6.2.1.1). */
const IN_FLIGHT_PER_CONNECTION = 10_000
/** Connections to one server; more would mean that it does not answer. */
const MAX_CONNECTIONS = 4
/** RFC 7766 §6.2.3: an idle connection is closed; what the server announces by RFC 7828 counts instead. */
const IDLE_MS = 30_000
/** Octets that a server does not take before it is left alone: some twenty thousand questions. */
const MAX_UNSENT = 1_048_576
/** Messages that answer nothing we asked, after which the other side is not trusted to keep the framing (conformance VAL-07). */
const MAX_STRAYS = 3

/** Opens the connections to one server. */
export interface Dialer {
  /** RFC 8467 block length of what is sent; 0: no padding. */
  readonly padding: number
  /** What questions fail with at once, because a connection was refused a moment ago; null: dial. */
  readonly refusal: Failure | null
  /** Opens a connection. `onReady` says that it may be written to; it is not called for one that is refused, which just closes. */
  dial(onReady: () => void): Socket
}

/**
 * DNS over a byte stream to one server (RFC 7766 §6.2.1): one connection shared by all clients, questions pipelined under ids
 * of our own, answers in any order, all questions of one turn in one write.
 */
export class StreamUpstream implements UpstreamServer {
  readonly name: string
  readonly isLossy = false
  readonly #dialer: Dialer
  readonly #connectMs: number
  readonly #edns: EdnsSupport
  readonly #dependencies: UpstreamDependencies
  readonly #connections = new Set<UpstreamConnection>()
  readonly #busy = new LiveSet<Inflight>()
  #rtt = Number.NaN
  #closed = false

  /** `edns`: what is known of the server, where it is asked over UDP too. */
  constructor(dialer: Dialer, options: { name: string; terms: ConnectionTerms; edns?: EdnsSupport }, dependencies: UpstreamDependencies) {
    this.name = options.name
    this.#dialer = dialer
    this.#connectMs = options.terms.connectMs
    this.#edns = options.edns ?? new EdnsSupport(dependencies.clock)
    this.#dependencies = dependencies
  }

  get rtt(): number {
    return this.#rtt
  }

  /** `cookie`: to be sent along, to hear whether the server has cookies. */
  send(query: Query, sink: UpstreamSink, cookie: Cookie | null = null): void {
    this.#send(query, sink, { resent: false, edns: this.#edns.isUsedFor(query), cookie })
  }

  async drain(deadlineMs: number): Promise<void> {
    await this.#busy.emptied(deadlineMs)
    await this.close()
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const connection of this.#connections) connection.destroy()
  }

  #send(query: Query, sink: UpstreamSink, wording: Wording): void {
    const connection = this.#closed ? Failure.upstream_network : this.#pick()
    if (!(connection instanceof UpstreamConnection)) {
      this.#dependencies.meter.failed(connection)
      sink.failed(query, connection)
      return
    }
    this.#dependencies.meter.sent()
    connection.send(query, sink, wording)
  }

  #pick(): UpstreamConnection | Failure {
    for (const connection of this.#connections) if (connection.isUsable) return connection
    if (this.#connections.size >= MAX_CONNECTIONS) return Failure.overloaded
    if (this.#dialer.refusal !== null) return this.#dialer.refusal
    const connection = new UpstreamConnection(this.#dialer, this.#handlers, {
      ...this.#dependencies,
      connectMs: this.#connectMs,
      edns: this.#edns,
      busy: this.#busy,
    })
    this.#connections.add(connection)
    return connection
  }

  readonly #handlers: ConnectionHandlers = {
    onAnswer: (pending, result, now) => {
      const { meter } = this.#dependencies
      if (!(result instanceof Answer)) {
        this.#fail(pending, result)
        return
      }
      this.#rtt = smooth(this.#rtt, now - pending.sentAt)
      meter.answered(now - pending.sentAt)
      if (result.rcode === Rcode.SERVFAIL) meter.failed(Failure.upstream_failed)
      pending.sink.answered(pending.query, result)
    },
    onRefused: ({ query, sink }) => this.#send(query, sink, { resent: true, edns: false, cookie: null }),
    onFailed: (pending, failure) => this.#fail(pending, failure),
    onClosed: (connection, { pending, stale }) => {
      this.#connections.delete(connection)
      for (const each of pending) {
        // RFC 7766 §6.2.4: a server may close at any time; what it left unanswered is asked once more on a new connection
        const { query, sink, edns, cookie } = each
        if (stale && !each.resent && !this.#closed) this.#send(query, sink, { resent: true, edns, cookie })
        else this.#fail(each, this.#dialer.refusal ?? Failure.upstream_network)
      }
    },
  }

  #fail(pending: Pending, failure: Failure): void {
    this.#dependencies.meter.failed(failure)
    pending.sink.failed(pending.query, failure)
  }
}

interface ConnectionHandlers {
  onAnswer(pending: Pending, result: Answer | Failure, now: number): void
  /** The server does not know EDNS: it is to be asked once more without (conformance EDNS-16). */
  onRefused(pending: Pending): void
  onFailed(pending: Pending, failure: Failure): void
  /** `stale`: the connection had been established, so that another attempt may succeed. */
  onClosed(connection: UpstreamConnection, rest: { pending: readonly Pending[]; stale: boolean }): void
}

class UpstreamConnection extends WheelEntry implements PendingOwner {
  readonly #socket: Socket
  readonly #padding: number
  readonly #handlers: ConnectionHandlers
  readonly #edns: EdnsSupport
  readonly #dependencies: UpstreamDependencies
  readonly #inflight: Inflight
  readonly #deframer = new Deframer()
  readonly #reader = new AnswerReader()
  readonly #output: Uint8Array[] = []
  #flushScheduled = false
  #established = false
  /** No more questions: it is broken, or the server asked us to go (RFC 7828 §3.4). */
  #retired = false
  #idleMs = IDLE_MS
  #strays = 0
  #lastReceived: number

  constructor(
    dialer: Dialer,
    handlers: ConnectionHandlers,
    dependencies: UpstreamDependencies & { connectMs: number; edns: EdnsSupport; busy: LiveSet<Inflight> },
  ) {
    super()
    this.#handlers = handlers
    this.#edns = dependencies.edns
    this.#dependencies = dependencies
    this.#lastReceived = dependencies.clock()
    this.#inflight = new Inflight(dependencies.wheel, { owner: this, limit: IN_FLIGHT_PER_CONNECTION, busy: dependencies.busy })
    dependencies.wheel.set(this, this.#lastReceived + dependencies.connectMs)
    this.#padding = dialer.padding
    this.#socket = dialer.dial(() => this.#onReady())
    this.#socket.setNoDelay(true)
    this.#socket.on('data', (chunk: Buffer) => this.#onData(chunk))
    // reset, refused, unreachable: 'close' follows
    this.#socket.on('error', () => {})
    this.#socket.on('close', () => this.#onClose())
  }

  get isUsable(): boolean {
    return !this.#retired && !this.#inflight.isFull && this.#socket.writableLength < MAX_UNSENT
  }

  send(query: Query, sink: UpstreamSink, { resent, edns, cookie }: Wording): void {
    const now = this.#dependencies.clock()
    const pending = this.#inflight.add(query, sink, { now, resent, edns, cookie, letterCase: 0 })
    const options = { id: pending.id, keepalive: true, padding: this.#padding, edns, cookie }
    const length = writeQuestion(query, scratch, PREFIX_LENGTH, options)
    putU16(scratch, 0, length)
    this.#output.push(Buffer.from(scratch.subarray(0, PREFIX_LENGTH + length)))
    if (this.#flushScheduled) return
    this.#flushScheduled = true
    this.#dependencies.flusher.schedule(this)
  }

  flush(): void {
    this.#flushScheduled = false
    const [first] = this.#output
    // RFC 8310 §5: not an octet before the server has proved who it is
    if (first === undefined || !this.#established || this.#socket.destroyed) return
    this.#socket.write(this.#output.length === 1 ? first : Buffer.concat(this.#output))
    this.#output.length = 0
  }

  destroy(): void {
    this.#retired = true
    this.#socket.destroy()
  }

  expired(pending: Pending): void {
    this.#inflight.remove(pending)
    // nothing at all has come since this was asked: the path is dead, whatever TCP still hopes
    if (this.#lastReceived < pending.sentAt) this.#retired = true
    if (this.#retired && this.#inflight.size === 0) this.destroy()
    this.#handlers.onFailed(pending, Failure.upstream_timeout)
  }

  /** Not connected in time, or idle. */
  override onDeadline(now: number): void {
    if (!this.#established) {
      this.destroy()
      return
    }
    const idleUntil = this.#lastReceived + this.#idleMs
    if (this.#inflight.size > 0 || now < idleUntil) {
      this.#dependencies.wheel.set(this, Math.max(idleUntil, now + 1000))
      return
    }
    this.#retired = true
    this.#socket.end()
    this.#socket.destroySoon()
  }

  #onReady(): void {
    this.#established = true
    this.#lastReceived = this.#dependencies.clock()
    this.#dependencies.wheel.set(this, this.#lastReceived + this.#idleMs)
    this.flush()
  }

  #onData(chunk: Buffer): void {
    this.#deframer.push(chunk)
    for (let message = this.#deframer.next(); message !== null; message = this.#deframer.next()) {
      if (!this.#onMessage(message)) {
        this.destroy()
        return
      }
    }
    if (this.#retired && this.#inflight.size === 0) this.destroy()
  }

  /** False when the connection cannot be trusted any longer. */
  #onMessage(message: Uint8Array): boolean {
    const { clock, meter } = this.#dependencies
    if (message.length < HEADER_LENGTH) return false
    const pending = this.#inflight.get(u16(message, 0))
    if (pending === undefined) {
      meter.ignored()
      return ++this.#strays < MAX_STRAYS
    }
    this.#inflight.remove(pending)
    const now = clock()
    // only answers count: octets alone do not make a server one that works
    this.#lastReceived = now
    const result = isAnswerTo(pending.query, message) ? this.#reader.read(pending.query, message, now) : Failure.upstream_malformed
    if (result instanceof Answer && this.#reader.keepalive >= 0) this.#onKeepalive(this.#reader.keepalive)
    if (this.#isRefused(pending, message, result) && mayRepeat(pending.query, pending.sink)) this.#handlers.onRefused(pending)
    else this.#handlers.onAnswer(pending, result, now)
    return true
  }

  /** Whether it is to be asked once more without EDNS. */
  #isRefused(pending: Pending, message: Uint8Array, result: Answer | Failure): boolean {
    if (!(result instanceof Answer)) {
      return isBareError(message) && this.#edns.heard(pending, { rcode: flagsOf(message) & Flag.RCODE, hasOpt: false })
    }
    pending.cookie?.judgeReliable(message, this.#reader)
    return this.#edns.heard(pending, this.#reader)
  }

  /** RFC 7828 §3.2.2: TIMEOUT in units of 100 ms; 0 asks us to leave. */
  #onKeepalive(timeout: number): void {
    if (timeout === 0) this.#retired = true
    else this.#idleMs = timeout * 100
  }

  #onClose(): void {
    this.#retired = true
    this.#dependencies.wheel.clear(this)
    this.#handlers.onClosed(this, { pending: this.#inflight.takeAll(), stale: this.#established })
  }
}
