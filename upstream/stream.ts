import { Answer } from '../dns/answer.ts'
import { AnswerReader } from '../dns/answer-reader.ts'
import type { UpstreamSink } from '../dns/contracts.ts'
import { Failure } from '../dns/failure.ts'
import type { Query } from '../dns/query.ts'
import { LiveSet } from '../net/live-set.ts'
import type { Cookie } from './client-cookies.ts'
import type { Dialer } from './dialer.ts'
import { EdnsSupport } from './edns-support.ts'
import { Inflight, type Pending, type PendingOwner, type Wording } from './inflight.ts'
import { Opening, type OpeningHandlers } from './opening.ts'
import { DialPause } from './pause.ts'
import { type ConnectionTerms, smooth, type UpstreamDependencies, type UpstreamServer } from './server.ts'
import { MOST_IN_FLIGHT, StreamConnection, type StreamConnectionHandlers } from './stream-connection.ts'

/**
 * Connections in all, beside those that take questions: old ones whose last answers are awaited, and those that take their place.
 * A server that keeps asking us to leave, and owes answers, cannot have more.
 */
const MOST_CONNECTIONS_FACTOR = 2

interface Question extends Wording {
  readonly query: Query
  readonly sink: UpstreamSink
}

/**
 * DNS over byte streams to one server (RFC 7766): few connections, shared by all clients. Another one is opened when all have
 * their share of questions, and before an old one is retired. Until there is any, questions wait here: none for a certain dial.
 */
export class StreamUpstream implements UpstreamServer, PendingOwner {
  readonly name: string
  readonly isLossy = false
  readonly #dialer: Dialer
  readonly #terms: ConnectionTerms
  readonly #dependencies: UpstreamDependencies
  readonly #edns: EdnsSupport
  readonly #reader = new AnswerReader()
  /** All that are not closed; some of them take no more questions. */
  readonly #connections = new LiveSet<StreamConnection>()
  readonly #openings = new Set<Opening>()
  readonly #pause = new DialPause()
  readonly #busy = new LiveSet<Inflight>()
  /** For a connection that is being opened. Its ids mean nothing. */
  readonly #waiting: Inflight
  /** Takes the questions, as long as it has not its share of them. */
  #current: StreamConnection | null = null
  #rtt = Number.NaN
  #closed = false

  /** `edns`: what is known of the server, where it is asked over UDP too. */
  constructor(dialer: Dialer, options: { name: string; terms: ConnectionTerms; edns?: EdnsSupport }, dependencies: UpstreamDependencies) {
    this.name = options.name
    this.#dialer = dialer
    this.#terms = options.terms
    this.#edns = options.edns ?? new EdnsSupport(dependencies.clock)
    this.#dependencies = dependencies
    this.#waiting = new Inflight(dependencies.wheel, { owner: this, limit: MOST_IN_FLIGHT, busy: this.#busy })
  }

  get rtt(): number {
    return this.#rtt
  }

  /** Whether a question would leave at once, and not first open a connection. */
  get isReady(): boolean {
    return this.#current?.isUsable === true
  }

  /** `cookie`: to be sent along, to hear whether the server has cookies. */
  send(query: Query, sink: UpstreamSink, cookie: Cookie | null = null): void {
    this.#ask({ query, sink, resent: false, edns: this.#edns.isUsedFor(query), cookie })
  }

  async drain(deadlineMs: number): Promise<void> {
    const end = this.#dependencies.clock() + deadlineMs
    for (let rest = deadlineMs; this.#busy.size > 0 && rest > 0; rest = end - this.#dependencies.clock()) {
      // for a moment there is nothing to do also when all goes from one connection to another
      await this.#busy.emptied(rest)
    }
    await this.close()
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const opening of this.#openings) opening.abort()
    this.#openings.clear()
    this.#failWaiting(Failure.upstream_network)
    for (const connection of this.#connections) connection.destroy()
    await this.#connections.emptied()
  }

  /** It waited for a connection all its time. */
  expired(pending: Pending): void {
    this.#waiting.remove(pending)
    this.#fail(pending, Failure.upstream_timeout)
  }

  #ask(question: Question): void {
    const connection = this.#closed ? null : this.#pick()
    if (connection === null) this.#wait(question)
    else this.#sendOver(connection, question)
  }

  #sendOver(connection: StreamConnection, question: Question): void {
    this.#dependencies.meter.sent(question.query)
    connection.send(question.query, question.sink, question)
  }

  /**
   * The connection for the next question; null when there is none. Questions stay together as long as one connection is enough
   * for them, so that the others become idle (RFC 7766 §6.2.2), and so that nothing is compared for most of them.
   */
  #pick(): StreamConnection | null {
    const { pipelining, connections } = this.#terms
    if (this.#current?.isUsable && this.#current.load < pipelining) return this.#current
    let least: StreamConnection | null = null
    let open = 0
    for (const connection of this.#connections) {
      if (connection.isRetired) continue
      open++
      if (connection.isUsable && (least === null || connection.load < least.load)) least = connection
    }
    this.#current = least
    // RFC 7766 §6.2.1.1; one at a time, and nobody waits for it
    if (least !== null && least.load >= pipelining && this.#openings.size === 0 && open < connections) this.#open(null)
    return least
  }

  /** Until a connection has been opened. */
  #wait({ query, sink, resent, edns, cookie }: Question): void {
    const failure = this.#closed ? Failure.upstream_network : this.#openForWaiting()
    if (failure === null) this.#waiting.add(query, sink, { now: this.#dependencies.clock(), resent, edns, cookie, letterCase: 0 })
    else this.#fail({ query, sink }, failure)
  }

  /** Opens as many connections as there are questions for. Null when there is something to wait for. */
  #openForWaiting(): Failure | null {
    const { pipelining, connections } = this.#terms
    if (this.#waiting.isFull) return Failure.overloaded
    if (this.#waiting.size < this.#openings.size * pipelining) return null
    let open = this.#openings.size
    for (const connection of this.#connections) if (!connection.isRetired) open++
    const failure = open < connections ? this.#open(null) : Failure.overloaded
    return this.#openings.size > 0 ? null : failure
  }

  /** Null: a connection is being opened, in the place of an old one if there is one. */
  #open(replaces: StreamConnection | null): Failure | null {
    const { clock, wheel } = this.#dependencies
    const { connections, connectMs } = this.#terms
    if (this.#connections.size + this.#openings.size >= MOST_CONNECTIONS_FACTOR * connections) return Failure.overloaded
    if (this.#dialer.refusal !== null) return this.#dialer.refusal
    const now = clock()
    if (!this.#pause.isOver(now)) return Failure.upstream_network
    const opening = new Opening(replaces, { wheel, handlers: this.#openingHandlers })
    this.#openings.add(opening)
    opening.start(this.#dialer, now + connectMs)
    return null
  }

  readonly #openingHandlers: OpeningHandlers = {
    onReady: (opening, socket) => {
      this.#openings.delete(opening)
      const options = {
        padding: this.#dialer.padding,
        terms: this.#terms,
        reader: this.#reader,
        edns: this.#edns,
        busy: this.#busy,
        handlers: this.#connectionHandlers,
      }
      const connection = new StreamConnection(socket, options, this.#dependencies)
      this.#connections.add(connection)
      this.#current = connection
      // to this one, whatever others there are: a question that a broken connection left is not to meet another that is about to break
      for (const pending of this.#waiting.takeAll()) this.#sendOver(connection, pending)
      opening.replaces?.retire()
    },
    onFailed: (opening, failure) => {
      this.#openings.delete(opening)
      this.#pause.failed(this.#dependencies.clock())
      if (this.#openings.size === 0) this.#failWaiting(failure)
    },
  }

  readonly #connectionHandlers: StreamConnectionHandlers = {
    onProved: () => {
      this.#pause.succeeded()
      this.#dialer.answered()
    },
    onAnswer: (pending, result, now) => {
      const { meter } = this.#dependencies
      if (!(result instanceof Answer)) {
        this.#fail(pending, result)
        return
      }
      this.#rtt = smooth(this.#rtt, now - pending.sentAt)
      meter.answered(pending.query, result, now - pending.sentAt)
      pending.sink.answered(pending.query, result)
    },
    onRefused: ({ query, sink }) => this.#ask({ query, sink, resent: true, edns: false, cookie: null }),
    onExpired: (pending) => this.#fail(pending, Failure.upstream_timeout),
    onReplace: (connection) => {
      // the others wait for their turn: what takes the place of an old one counts beside it
      if (this.#openings.size === 0) this.#open(connection)
    },
    onBroken: (unanswered, isBarren) => {
      if (isBarren) this.#pause.broke(this.#dependencies.clock())
      for (const each of unanswered) {
        // RFC 7766 §6.2.4: a server may close at any time; what it left unanswered is asked once more on a new connection
        if (each.resent) this.#fail(each, this.#dialer.refusal ?? Failure.upstream_network)
        else this.#wait({ query: each.query, sink: each.sink, resent: true, edns: each.edns, cookie: each.cookie })
      }
    },
    onClosed: (connection) => {
      this.#connections.delete(connection)
      if (this.#current === connection) this.#current = null
    },
  }

  #failWaiting(failure: Failure): void {
    for (const pending of this.#waiting.takeAll()) this.#fail(pending, failure)
  }

  #fail({ query, sink }: Pick<Pending, 'query' | 'sink'>, failure: Failure): void {
    this.#dependencies.meter.failed(query, failure)
    sink.failed(query, failure)
  }
}
