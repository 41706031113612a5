import { Answer } from '../dns/answer.ts'
import { AnswerReader, isAnswerTo } from '../dns/answer-reader.ts'
import { Failure } from '../dns/failure.ts'
import type { QuicClientConnection, QuicClientHandler, QuicCloseReason } from '../net/quic.ts'
import { WheelEntry } from '../net/wheel.ts'
import type { DialectEvents, QuicDialect } from './quic-dialect.ts'
import type { LinkFacts } from './quic-link-owner.ts'
import { QuicPulse } from './quic-pulse.ts'
import type { QuicQuestion } from './quic-question.ts'

/** A connection with open questions is looked at this often; one whose questions wait for credit, with every tick of the wheel. */
const CHECK_MS = 250
const CREDIT_MS = 10
/** Connections opened together are not renewed together. */
const AGE_JITTER = 0.1
/** When no connection to take its place could be opened, the next attempt. */
const RENEWAL_MS = 10_000
/** Of the streams that a server lets be open, so many are used: credit comes back later than answers. */
const CREDIT_SHARE = 0.75
/** Octets of answers that are not complete, all streams together: some sixty of the largest. */
const MAX_HELD = 4_194_304

/** One connection to a server, from its first packet on. */
export class QuicLink extends WheelEntry implements QuicClientHandler, DialectEvents {
  readonly startedAt: number
  readonly resumes: boolean
  readonly over = Promise.withResolvers<void>()
  readonly #facts: LinkFacts
  /** By stream. */
  readonly #questions = new Map<number, QuicQuestion>()
  /** Waiting for the handshake, or for the server to allow another stream. */
  #unsent: QuicQuestion[] = []
  readonly #reader = new AnswerReader()
  #connection: QuicClientConnection | null = null
  #dialect: QuicDialect | null = null
  #load = 0
  #room: number
  /** Streams that are over. */
  #over = 0
  #isRetired = false
  #isGone = false
  #wasAsked = false
  #hasAnswered = false
  #renewAt = Number.POSITIVE_INFINITY
  #lastHeard: number
  #lastActive: number
  readonly #pulse = new QuicPulse()

  constructor(facts: LinkFacts) {
    super()
    this.#facts = facts
    this.resumes = facts.resumes
    this.#room = facts.terms.pipelining
    this.startedAt = this.#lastHeard = this.#lastActive = facts.dependencies.clock()
    facts.dependencies.wheel.set(this, this.startedAt + facts.terms.connectMs)
  }

  /** Questions that it has, sent or not. */
  get load(): number {
    return this.#load
  }

  get hasRoom(): boolean {
    return this.#load < this.#room
  }

  /** The handshake is complete. */
  get isEstablished(): boolean {
    return this.#dialect !== null
  }

  /** Takes no more questions. */
  get isRetired(): boolean {
    return this.#isRetired
  }

  /** Whether it was asked, and brought nothing. */
  get isBarren(): boolean {
    return this.#wasAsked && !this.#hasAnswered
  }

  attach(connection: QuicClientConnection): this {
    this.#connection = connection
    return this
  }

  ask(question: QuicQuestion): void {
    question.link = this
    this.#wasAsked = true
    this.#load++
    this.#unsent.push(question)
    if (this.#dialect !== null) this.#pump()
  }

  /** Nobody waits for the question any longer. */
  forget(question: QuicQuestion): void {
    question.link = null
    this.#load--
    if (question.stream < 0) return
    this.#close(question)
    this.#connection?.reset(question.stream, this.#facts.protocol.codes.cancelled)
    // nothing at all has come since this was asked: whatever QUIC says, nobody answers there
    if (this.#lastHeard < question.sentAt) this.#isRetired = true
    this.#endIfDone()
  }

  /** Takes back what waits here for credit: another connection has room. */
  takeUnsent(): readonly QuicQuestion[] {
    const unsent = this.#unsent.filter(({ settled }) => !settled)
    this.#unsent = []
    this.#load -= unsent.length
    return unsent
  }

  /** No more questions; ends with its last answer. */
  retire(): void {
    this.#isRetired = true
    this.#endIfDone()
  }

  /** Closes with an application error code; what was open is handed back. */
  end(code: number): void {
    if (this.#isGone) return
    this.#connection?.close(code)
    this.#finish(null)
  }

  established(): void {
    if (this.#isGone || this.#connection === null) return
    const { protocol, terms, owner, dependencies } = this.#facts
    this.#lastHeard = this.#lastActive = dependencies.clock()
    this.#renewAt = this.#lastHeard + terms.maxAgeMs * (1 + AGE_JITTER * (2 * Math.random() - 1))
    this.#dialect = protocol.open(this.#connection, this)
    owner.established(this)
    this.#pump()
    this.#watch(this.#lastHeard)
  }

  received(stream: number, bytes: Uint8Array, fin: boolean): void {
    if (this.#isGone || this.#dialect === null) return
    this.#hear()
    this.#dialect.received(stream, bytes, fin)
    if (this.#dialect.held > MAX_HELD) this.end(this.#facts.protocol.codes.excessiveLoad)
  }

  reset(stream: number): void {
    if (this.#isGone || this.#dialect === null) return
    this.#hear()
    this.#dialect.reset(stream)
  }

  unopened(stream: number): void {
    const question = this.#questions.get(stream)
    if (question === undefined) return
    this.#questions.delete(stream)
    this.#dialect?.forget(stream)
    question.stream = -1
    this.#load--
    // the first one refused tells how many may be open
    if (this.#room === this.#facts.terms.pipelining) this.#room = this.#share(stream / 4 - this.#over)
    this.#facts.owner.unasked(question, false)
  }

  /** A server that takes no octets of a question takes none of the others. */
  stalled(): void {
    this.end(this.#facts.protocol.codes.noError)
  }

  ticket(bytes: Uint8Array): void {
    this.#facts.owner.ticket(bytes)
  }

  closed(reason: QuicCloseReason): void {
    this.#finish(reason)
  }

  isWaiting(stream: number): boolean {
    return this.#questions.has(stream)
  }

  answered(stream: number, message: Uint8Array, ageSeconds: number): void {
    const question = this.#take(stream)
    if (question === null) return
    const { query } = question
    const { owner, protocol, dependencies } = this.#facts
    // RFC 8484 §5.1: what a cache on the way has used up of the TTLs is gone
    const at = dependencies.clock() - ageSeconds * 1000
    const result = isAnswerTo(query, message) ? this.#reader.read(query, message, at) : Failure.upstream_malformed
    const { keepalive } = protocol.codes
    if (keepalive !== null && result instanceof Answer && this.#reader.keepalive >= 0) {
      owner.answered(question, Failure.upstream_malformed)
      this.end(keepalive)
      return
    }
    this.#hasAnswered = true
    owner.answered(question, result)
    this.#goOn()
  }

  failed(stream: number, failure: Failure): void {
    const question = this.#take(stream)
    if (question === null) return
    this.#facts.owner.answered(question, failure)
    this.#goOn()
  }

  refused(stream: number): void {
    const question = this.#take(stream)
    if (question === null) return
    this.#facts.owner.unasked(question, true)
    this.#goOn()
  }

  violated(code: number, stream: number): void {
    const question = this.#take(stream)
    if (question !== null) this.#facts.owner.answered(question, Failure.upstream_malformed)
    this.end(code)
  }

  leaving(from: number): void {
    this.#isRetired = true
    for (const [stream, question] of this.#questions) {
      if (stream < from) continue
      this.#take(stream)
      this.#facts.owner.unasked(question, true)
    }
    for (const question of this.takeUnsent()) this.#facts.owner.unasked(question, false)
    this.#endIfDone()
  }

  busy(ms: number): void {
    this.#facts.owner.busy(ms)
  }

  override onDeadline(now: number): void {
    const { terms, owner, protocol } = this.#facts
    if (this.#dialect === null) {
      this.end(protocol.codes.noError)
      return
    }
    this.#pump()
    if (this.#isDead(now)) {
      this.end(protocol.codes.noError)
      return
    }
    if (this.#load === 0 && now - this.#lastActive >= terms.idleMs) {
      this.end(protocol.codes.noError)
      return
    }
    if (now >= this.#renewAt && !this.#isRetired) {
      this.#renewAt = now + RENEWAL_MS
      owner.aged(this)
    }
    if (!this.#isGone) this.#watch(now)
  }

  #isDead(now: number): boolean {
    const [oldest] = this.#questions.values()
    if (oldest === undefined || this.#connection === null) return false
    return this.#pulse.isGone(now, Math.max(oldest.sentAt, this.#lastHeard), this.#connection)
  }

  #pump(): void {
    const { clock } = this.#facts.dependencies
    let sent = 0
    for (const question of this.#unsent) {
      if (!question.settled && !this.#send(question, clock())) break
      // it may end as it sends, and has handed everything back then
      if (this.#isGone) return
      sent++
    }
    this.#unsent.splice(0, sent)
  }

  #send(question: QuicQuestion, now: number): boolean {
    const stream = this.#connection?.nextStream() ?? -1
    if (stream < 0) {
      this.#facts.dependencies.wheel.set(this, now + CREDIT_MS)
      return false
    }
    question.stream = stream
    question.sentAt = now
    if (this.#questions.size === 0) this.#facts.dependencies.wheel.set(this, Math.min(now + CHECK_MS, this.deadline))
    this.#questions.set(stream, question)
    this.#dialect?.ask(stream, question.query)
    return true
  }

  #take(stream: number): QuicQuestion | null {
    const question = this.#questions.get(stream)
    if (question === undefined) return null
    this.#load--
    this.#close(question)
    question.link = null
    question.stream = -1
    return question
  }

  #close({ stream }: QuicQuestion): void {
    this.#questions.delete(stream)
    this.#dialect?.forget(stream)
    this.#over++
    this.#lastActive = this.#facts.dependencies.clock()
  }

  /** A stream is over: there may be credit for another. */
  #goOn(): void {
    if (this.#isGone) return
    if (this.#unsent.length > 0) this.#pump()
    this.#endIfDone()
  }

  #endIfDone(): void {
    if (this.#isRetired && this.#load === 0) this.end(this.#facts.protocol.codes.noError)
  }

  #share(streams: number): number {
    return Math.max(1, Math.floor(CREDIT_SHARE * streams))
  }

  #hear(): void {
    this.#lastHeard = this.#facts.dependencies.clock()
  }

  #watch(now: number): void {
    const { terms, dependencies } = this.#facts
    const next = this.#load === 0 ? this.#lastActive + terms.idleMs : now + (this.#unsent.length > 0 ? CREDIT_MS : CHECK_MS)
    dependencies.wheel.set(this, Math.min(next, Math.max(this.#renewAt, now)))
  }

  #finish(reason: QuicCloseReason | null): void {
    if (this.#isGone) return
    this.#isGone = this.#isRetired = true
    this.#facts.dependencies.wheel.clear(this)
    const questions = [...this.#questions.values(), ...this.#unsent.filter(({ settled }) => !settled)]
    this.#questions.clear()
    this.#unsent = []
    this.#load = 0
    for (const question of questions) {
      question.link = null
      question.stream = -1
    }
    this.over.resolve()
    this.#facts.owner.ended(this, { questions, reason })
  }
}
