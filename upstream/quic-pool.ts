import { getCACertificates } from 'node:tls'
import { Answer } from '../dns/answer.ts'
import type { UpstreamSink } from '../dns/contracts.ts'
import { Failure } from '../dns/failure.ts'
import type { Query } from '../dns/query.ts'
import type { Endpoint } from '../net/address.ts'
import { LiveCount } from '../net/live-count.ts'
import type { QuicCloseReason, QuicLimits } from '../net/quic.ts'
import type { QuicProtocol } from './quic-dialect.ts'
import { QuicDialer, type QuicTrust } from './quic-dialer.ts'
import { QuicLink } from './quic-link.ts'
import type { LinkOwner } from './quic-link-owner.ts'
import { type QuestionOwner, QuicQuestion } from './quic-question.ts'
import { type ConnectionTerms, smooth, type UpstreamDependencies, type UpstreamServer } from './server.ts'

/** Questions that one connection has, sent or not: with the longest names they still are less than the port keeps for one that cannot send. */
const MAX_LOAD = 2000
/** Octets of all streams together that the server may be ahead of us: sixteen of the largest answers. */
const WINDOW = 1_048_576
/** QUIC's own idle timeout is longer than ours, by more than a question may wait: ours ends a connection with a word. */
const IDLE_MARGIN_MS = 30_000
/** A server that has too much to do is left alone for so long. */
const BUSY_MS = 1000

export interface QuicUpstreamOptions {
  readonly name: string
  readonly endpoint: Endpoint
  readonly terms: ConnectionTerms
  readonly trust: QuicTrust
}

/**
 * DNS on QUIC to one server: few connections shared by all clients, one stream a question (RFC 9250 §4.2, RFC 9114 §4.1), answers
 * in any order. What is asked waits for a handshake only where no connection is established.
 */
export class QuicUpstream implements UpstreamServer, LinkOwner, QuestionOwner {
  readonly name: string
  readonly isLossy = false
  readonly #protocol: QuicProtocol
  readonly #options: QuicUpstreamOptions
  readonly #dependencies: UpstreamDependencies
  readonly #dialer: QuicDialer
  readonly #limits: QuicLimits
  /** PEM; made when it is first needed. */
  #roots: string | null = null
  /** Those that take questions, the oldest first. */
  readonly #links = new Set<QuicLink>()
  /** All that have not ended, and those that end. */
  readonly #all = new Set<QuicLink>()
  readonly #lives = new Set<Promise<void>>()
  /** Being dialled, and whom it is to replace. */
  readonly #successors = new Map<QuicLink, QuicLink>()
  readonly #open = new LiveCount()
  #rtt = Number.NaN
  #closed = false

  constructor(protocol: QuicProtocol, options: QuicUpstreamOptions, dependencies: UpstreamDependencies) {
    this.name = options.name
    this.#protocol = protocol
    this.#options = options
    this.#dependencies = dependencies
    this.#dialer = new QuicDialer(options.trust, dependencies)
    // neither protocol has a use for bidirectional streams of a server (RFC 9250 §4.2, RFC 9114 §6.1)
    this.#limits = { idleMs: options.terms.idleMs + IDLE_MARGIN_MS, streams: 0, window: WINDOW }
  }

  get rtt(): number {
    return this.#rtt
  }

  send(query: Query, sink: UpstreamSink): void {
    const question = new QuicQuestion(query, sink, this)
    this.#open.increase()
    this.#dependencies.wheel.set(question, query.deadline)
    if (this.#place(question)) this.#dependencies.meter.sent(question.query)
  }

  async drain(deadlineMs: number): Promise<void> {
    await this.#open.emptied(deadlineMs)
    await this.close()
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const link of this.#all) link.end(this.#protocol.codes.noError)
    await Promise.all(this.#lives)
  }

  expired(question: QuicQuestion): void {
    const { link } = question
    question.settled = true
    link?.forget(question)
    this.#fail(question, Failure.upstream_timeout)
  }

  established(link: QuicLink): void {
    this.#dependencies.meter.connectionOpened()
    this.#dialer.established(link.resumes)
    this.#successors.get(link)?.retire()
    this.#successors.delete(link)
    // what waits elsewhere for credit has a place here
    for (const other of this.#links) {
      if (other === link || !other.isEstablished) continue
      for (const question of other.takeUnsent()) this.#place(question)
    }
  }

  answered(question: QuicQuestion, result: Answer | Failure): void {
    if (!(result instanceof Answer)) {
      this.#fail(question, result)
      return
    }
    const { clock, meter } = this.#dependencies
    const rtt = clock() - question.sentAt
    this.#rtt = smooth(this.#rtt, rtt)
    this.#dialer.answered()
    meter.answered(question.query, result, rtt)
    this.#settle(question)
    question.sink.answered(question.query, result)
  }

  unasked(question: QuicQuestion, counts: boolean): void {
    if (counts) this.#again(question)
    else this.#place(question)
  }

  aged(link: QuicLink): void {
    if (this.#closed || this.#dialer.refusal !== null || this.#isReplaced(link)) return
    const successor = this.#dial()
    if (successor !== null) this.#successors.set(successor, link)
  }

  ended(link: QuicLink, { questions, reason }: { questions: readonly QuicQuestion[]; reason: QuicCloseReason | null }): void {
    this.#links.delete(link)
    this.#all.delete(link)
    this.#successors.delete(link)
    if (this.#closed) {
      for (const question of questions) this.#fail(question, Failure.upstream_network)
      if (link.isEstablished) this.#dependencies.meter.connectionClosed()
      return
    }
    if (!link.isEstablished) {
      const failure = this.#dialer.failed(reason)
      for (const question of questions) this.#fail(question, failure)
      return
    }
    this.#dependencies.meter.connectionClosed()
    if (reason?.code === this.#protocol.codes.excessiveLoad) this.#dialer.busy(BUSY_MS)
    else if (link.isBarren) this.#dialer.barren()
    // RFC 7766 §6.2.4: a server may close at any time; what it left unanswered is asked once more on a new connection
    for (const question of questions) this.#again(question)
  }

  ticket(bytes: Uint8Array): void {
    this.#dialer.keepTicket(bytes)
  }

  busy(ms: number): void {
    this.#dialer.busy(ms)
  }

  #again(question: QuicQuestion): void {
    if (question.resent) {
      this.#fail(question, this.#dialer.refusal ?? Failure.upstream_network)
      return
    }
    question.resent = true
    question.notBefore = this.#dependencies.clock()
    if (this.#place(question)) this.#dependencies.meter.sent(question.query)
  }

  /** False: there is nowhere to ask it, and it has failed. */
  #place(question: QuicQuestion): boolean {
    const link = this.#closed || this.#dialer.isBusy ? Failure.upstream_network : this.#pick(question)
    if (!(link instanceof QuicLink)) {
      this.#fail(question, link)
      return false
    }
    link.ask(question)
    return true
  }

  #pick({ notBefore }: QuicQuestion): QuicLink | Failure {
    let link = this.#choose(notBefore)
    // an established connection takes more than its share while another is being opened; a handshake is waited for only without any
    if (link === null || !link.hasRoom) {
      const another = this.#dialAnother()
      if (link === null || !link.isEstablished) link = another ?? link
    }
    link ??= this.#choose(Number.NEGATIVE_INFINITY)
    if (link === null) return this.#dialer.refusal ?? Failure.upstream_network
    return link.load < MAX_LOAD ? link : Failure.overloaded
  }

  /** The first connection with room, else the least busy one; of those that were opened since, or are being. */
  #choose(since: number): QuicLink | null {
    let best: QuicLink | null = null
    for (const link of this.#links) {
      if (link.isRetired || link.startedAt < since) continue
      if (link.isEstablished && link.hasRoom) return link
      if (best === null || isBetter(link, best)) best = link
    }
    return best
  }

  /** Null where there are enough, or one with room is on its way, or the server is left alone for a moment. */
  #dialAnother(): QuicLink | null {
    let usable = 0
    for (const link of this.#links) {
      if (link.isRetired) continue
      if (!link.isEstablished && link.hasRoom) return null
      usable++
    }
    return usable < this.#options.terms.connections && this.#dialer.refusal === null ? this.#dial() : null
  }

  #dial(): QuicLink | null {
    const engine = this.#dependencies.quic()
    if (engine === null || (this.#protocol.needsUnidirectional && !engine.opensUnidirectional)) return null
    const { endpoint, terms, trust } = this.#options
    const ticket = this.#dialer.takeTicket()
    this.#roots ??= (trust.roots ?? getCACertificates('default')).join('\n')
    const { protocol, serverName, roots, limits } = {
      protocol: this.#protocol.token,
      serverName: trust.serverName,
      roots: this.#roots,
      limits: this.#limits,
    }
    const link = new QuicLink({
      protocol: this.#protocol,
      terms,
      owner: this,
      dependencies: this.#dependencies,
      resumes: ticket !== undefined,
    })
    const dialled = engine.dial({ endpoint, protocol, serverName, roots, limits, ticket }, (connection) => link.attach(connection))
    this.#links.add(link)
    this.#all.add(link)
    const life = this.#live(link, dialled).finally(() => this.#lives.delete(life))
    this.#lives.add(life)
    return link
  }

  /** Gives everything back once the connection has ended. */
  async #live(link: QuicLink, dialled: Promise<{ close(code: number): void; destroy(): Promise<void> }>): Promise<void> {
    const { noError } = this.#protocol.codes
    try {
      const connection = await dialled
      await link.over.promise
      // given up before there was anything to close
      connection.close(noError)
      await connection.destroy()
    } catch {
      link.end(noError)
    }
  }

  #isReplaced(link: QuicLink): boolean {
    for (const old of this.#successors.values()) if (old === link) return true
    return false
  }

  #fail(question: QuicQuestion, failure: Failure): void {
    this.#settle(question)
    this.#dependencies.meter.failed(question.query, failure)
    question.sink.failed(question.query, failure)
  }

  #settle(question: QuicQuestion): void {
    question.settled = true
    this.#dependencies.wheel.clear(question)
    this.#open.decrease()
  }
}

function isBetter(link: QuicLink, than: QuicLink): boolean {
  return link.isEstablished === than.isEstablished ? link.load < than.load : link.isEstablished
}
