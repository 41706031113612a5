import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { Answer } from '../dns/answer.ts'
import { type AnswerReader, isAnswerTo, isBareError } from '../dns/answer-reader.ts'
import { u16 } from '../dns/bytes.ts'
import type { UpstreamSink } from '../dns/contracts.ts'
import { Failure } from '../dns/failure.ts'
import { Flag, flagsOf, HEADER_LENGTH } from '../dns/header.ts'
import type { Query } from '../dns/query.ts'
import { Deframer } from '../net/framing.ts'
import type { LiveSet } from '../net/live-set.ts'
import { WheelEntry } from '../net/wheel.ts'
import type { EdnsSupport } from './edns-support.ts'
import { Inflight, type Pending, type PendingOwner, type Wording } from './inflight.ts'
import { Lifetime } from './lifetime.ts'
import { QuestionBuffer } from './question-buffer.ts'
import { type ConnectionTerms, mayRepeat, type UpstreamDependencies } from './server.ts'

/** Questions on one connection, however busy all are: far below the 65,536 ids, so that a free one is found at once. */
export const MOST_IN_FLIGHT = 10_000
/** Octets that wait because the server takes none, before it is left alone: some twenty thousand questions. */
const MAX_UNSENT = 1_048_576
/** Messages that answer nothing we asked, after which the other side is not trusted to keep the framing (conformance VAL-07). */
const MAX_STRAYS = 3
/** Answers that a server may owe to questions whose time has run out; one that owes more does not answer at all. */
const MAX_OVERDUE = 1000
/** How long what is left to send may take when a connection ends. */
const LINGER_MS = 2000

export interface StreamConnectionHandlers {
  /** The first answer has come. */
  onProved(): void
  onAnswer(pending: Pending, result: Answer | Failure, now: number): void
  /** The server does not know EDNS: it is to be asked once more without (conformance EDNS-16). */
  onRefused(pending: Pending): void
  onExpired(pending: Pending): void
  /** It is old or silent: another one is to take its place, and then to retire() it. */
  onReplace(connection: StreamConnection): void
  /** It brings no more answers. `isBarren`: it has broken without having brought any. */
  onBroken(unanswered: readonly Pending[], isBarren: boolean): void
  onClosed(connection: StreamConnection): void
}

export interface StreamConnectionOptions {
  /** RFC 8467 block length; 0: no padding. */
  readonly padding: number
  readonly terms: Pick<ConnectionTerms, 'maxAgeMs' | 'idleMs'>
  readonly reader: AnswerReader
  readonly edns: EdnsSupport
  readonly busy: LiveSet<Inflight>
  readonly handlers: StreamConnectionHandlers
}

/**
 * One established connection to a server (RFC 7766 §6.2.1): questions of all clients under ids of our own, answers in any order,
 * all questions of one turn in one write. Over TLS the last of several follows in a record of its own: some servers (nsd 4.6, dnsdist
 * 1.7) take one question each time the network has something to read, and do not see those that they have decrypted already. While
 * there is another record the network has something, and the last one has nothing behind the question that it ends.
 */
export class StreamConnection extends WheelEntry implements PendingOwner {
  readonly #socket: Socket
  readonly #hasRecords: boolean
  readonly #padding: number
  readonly #reader: AnswerReader
  readonly #edns: EdnsSupport
  readonly #handlers: StreamConnectionHandlers
  readonly #dependencies: Pick<UpstreamDependencies, 'clock' | 'wheel' | 'flusher' | 'meter'>
  readonly #inflight: Inflight
  readonly #deframer = new Deframer()
  readonly #output = new QuestionBuffer()
  #flushScheduled = false
  /** What was written is on its way out: what comes now waits here, where it is known which question is the last. */
  #writing = false
  /** No more questions: it is broken, too old, or the server asked us to go (RFC 7828 §3.4). */
  #retired = false
  /** Nothing is left but to close. */
  #ending = false
  #proved = false
  #strays = 0
  readonly #life: Lifetime

  /** `socket` is connected, and the server has proved who it is. */
  constructor(socket: Socket, options: StreamConnectionOptions, dependencies: UpstreamDependencies) {
    super()
    const { terms, handlers, busy } = options
    this.#socket = socket
    this.#hasRecords = socket instanceof TLSSocket
    this.#padding = options.padding
    this.#reader = options.reader
    this.#edns = options.edns
    this.#handlers = handlers
    this.#dependencies = dependencies
    this.#inflight = new Inflight(dependencies.wheel, { owner: this, limit: MOST_IN_FLIGHT, busy })
    const now = dependencies.clock()
    this.#life = new Lifetime(terms, now)
    socket.on('data', (chunk: Buffer) => this.#onData(chunk))
    // a server that has ended its side cannot answer any more; Node ends ours
    socket.on('end', () => this.#break())
    socket.on('close', () => this.#onClose())
    dependencies.meter.connectionOpened()
    dependencies.wheel.set(this, this.#life.next(now, false))
  }

  /** Questions on their way. */
  get load(): number {
    return this.#inflight.size
  }

  get isRetired(): boolean {
    return this.#retired
  }

  /** Whether it takes another question. */
  get isUsable(): boolean {
    const unsent = this.#output.length + (this.#writing ? this.#socket.writableLength : 0)
    return !this.#retired && !this.#inflight.isFull && unsent < MAX_UNSENT
  }

  /** Precondition: isUsable. */
  send(query: Query, sink: UpstreamSink, { resent, edns, cookie }: Wording): void {
    const now = this.#dependencies.clock()
    if (this.#inflight.size === 0) this.#start(now)
    const { id } = this.#inflight.add(query, sink, { now, resent, edns, cookie, letterCase: 0 })
    this.#output.add(query, { id, keepalive: true, padding: this.#padding, edns, cookie })
    this.#scheduleFlush()
  }

  flush(): void {
    this.#flushScheduled = false
    if (this.#output.length === 0 || this.#writing || this.#ending || this.#socket.destroyed) return
    this.#writing = true
    this.#socket.write(this.#output.take(this.#hasRecords), this.#onWritten)
  }

  /** Takes no more questions, and ends with the last answer. */
  retire(): void {
    this.#retired = true
    if (this.#inflight.size === 0) this.#finish()
  }

  destroy(): void {
    this.#retired = true
    this.#ending = true
    this.#socket.destroy()
  }

  expired(pending: Pending): void {
    this.#inflight.giveUp(pending)
    // nothing at all has come since this was asked: the path is dead, whatever TCP still hopes
    const isDead = this.#life.lastReceived < pending.sentAt
    if (isDead || this.#inflight.overdue > MAX_OVERDUE) this.#retired = true
    if (this.#retired && this.#inflight.size === 0) {
      if (isDead) this.#socket.destroy()
      else this.#finish()
    }
    this.#handlers.onExpired(pending)
  }

  override onDeadline(now: number): void {
    if (this.#ending) {
      this.#socket.destroy()
      return
    }
    const isEmpty = this.#inflight.size === 0
    if (isEmpty && (this.#retired || this.#life.isIdle(now))) {
      this.retire()
      return
    }
    // one that has never answered is not silent because of its path: another one would not help
    const isSilent = this.#proved && !isEmpty && this.#life.isSilent(now)
    if ((this.#life.isOld(now) || isSilent) && !this.#retired) this.#handlers.onReplace(this)
    this.#dependencies.wheel.set(this, this.#life.next(now, !isEmpty))
  }

  readonly #onWritten = (): void => {
    this.#writing = false
    if (this.#output.length > 0) this.#scheduleFlush()
  }

  #start(now: number): void {
    this.#life.started(now)
    this.#dependencies.wheel.set(this, this.#life.next(now, true))
  }

  #scheduleFlush(): void {
    if (!this.#flushScheduled) this.#dependencies.flusher.schedule(this)
    this.#flushScheduled = true
  }

  #onData(chunk: Buffer): void {
    // one look for all answers that came together
    const now = this.#dependencies.clock()
    this.#deframer.push(chunk)
    for (let message = this.#deframer.next(); message !== null; message = this.#deframer.next()) {
      if (!this.#onMessage(message, now)) {
        this.#retired = true
        this.#socket.destroy()
        return
      }
    }
    if (this.#retired && this.#inflight.size === 0) this.#finish()
  }

  /** False when the connection cannot be trusted any longer. */
  #onMessage(message: Uint8Array, now: number): boolean {
    if (message.length < HEADER_LENGTH) return false
    const id = u16(message, 0)
    const pending = this.#inflight.get(id)
    if (pending === undefined) {
      this.#dependencies.meter.ignored()
      if (!this.#inflight.settleOverdue(id)) return ++this.#strays < MAX_STRAYS
      this.#life.received(now)
      return true
    }
    this.#inflight.remove(pending)
    // only answers count: octets alone do not make a server one that works
    this.#life.received(now)
    const result = isAnswerTo(pending.query, message) ? this.#reader.read(pending.query, message, now) : Failure.upstream_malformed
    if (result instanceof Answer) this.#onAnswered()
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

  #onAnswered(): void {
    if (this.#reader.keepalive >= 0) this.#onKeepalive(this.#reader.keepalive)
    if (this.#proved) return
    this.#proved = true
    this.#handlers.onProved()
  }

  /** RFC 7828 §3.2.2: TIMEOUT in units of 100 ms; 0 asks us to leave. */
  #onKeepalive(timeout: number): void {
    if (timeout === 0) {
      this.#retired = true
      return
    }
    const { clock, wheel } = this.#dependencies
    if (this.#life.announce(timeout * 100)) wheel.set(this, this.#life.next(clock(), this.#inflight.size > 0))
  }

  /** RFC 7858 §3.4: what was written leaves, then TLS says so by close_notify, and TCP by its FIN. */
  #finish(): void {
    if (this.#ending) return
    this.#ending = true
    this.#socket.destroySoon()
    this.#dependencies.wheel.set(this, this.#dependencies.clock() + LINGER_MS)
  }

  /** Gives back what it will not answer. */
  #break(): void {
    const isBarren = !this.#proved && !this.#ending
    this.#retired = true
    this.#ending = true
    this.#dependencies.wheel.set(this, this.#dependencies.clock() + LINGER_MS)
    this.#handlers.onBroken(this.#inflight.takeAll(), isBarren)
  }

  #onClose(): void {
    this.#break()
    this.#dependencies.wheel.clear(this)
    this.#dependencies.meter.connectionClosed()
    this.#handlers.onClosed(this)
  }
}
