import type { UpstreamSink } from '../dns/contracts.ts'
import { Failure } from '../dns/failure.ts'
import type { Query } from '../dns/query.ts'
import { LiveCount } from '../net/live-count.ts'
import { LiveSet } from '../net/live-set.ts'
import type { Dialer } from './dialer.ts'
import { type ConnectionHost, type ConnectionOptions, HttpsConnection } from './doh-connection.ts'
import { DialPause } from './pause.ts'
import { type ConnectionTerms, smooth, type UpstreamDependencies, type UpstreamServer } from './server.ts'

/** Connections that end with their last answer, besides those in use: each ends within the budget of a query. */
const MAX_RETIRED = 64

/**
 * DNS over HTTPS to one server (RFC 8484): GET over HTTP/2, by undici. A few connections are shared by all clients, each question
 * has a stream of its own; what a server did not process, or left unanswered as a connection broke, is asked once more.
 *
 * Not POST: undici gives up a request by taking its stream from Node, and where the server has not let the content go yet, Node
 * sends empty frames in its place without end as soon as the server does. Without content there is nothing that a server can hold up.
 */
export class HttpsUpstream implements UpstreamServer {
  readonly name: string
  readonly isLossy = false
  readonly #options: ConnectionOptions
  readonly #connections = new LiveSet<HttpsConnection>()
  readonly #open = new LiveCount()
  readonly #pause = new DialPause()
  #rtt = Number.NaN
  #aloneUntil = Number.NEGATIVE_INFINITY
  #isClosed = false

  constructor(dialer: Dialer, options: { name: string; url: URL; terms: ConnectionTerms }, dependencies: UpstreamDependencies) {
    this.name = options.name
    this.#options = { dialer, url: options.url, terms: options.terms, dependencies }
    // it takes 100 ms to load: not when the first question waits. What is wrong with it the first connection finds
    import('undici').catch(() => {})
  }

  get rtt(): number {
    return this.#rtt
  }

  send(query: Query, sink: UpstreamSink): void {
    this.#open.increase()
    this.#send(query, sink, null)
  }

  async drain(deadlineMs: number): Promise<void> {
    await this.#open.emptied(deadlineMs)
    await this.close()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    for (const connection of this.#connections) connection.destroy()
    await this.#connections.emptied()
  }

  /** `before`: the connection on which it was lost; null: it is sent for the first time. */
  #send(query: Query, sink: UpstreamSink, before: HttpsConnection | null): void {
    const connection = this.#isClosed ? Failure.upstream_network : this.#pick(before)
    if (connection instanceof HttpsConnection) connection.ask(query, sink, before !== null)
    else this.#fail(query, sink, connection)
  }

  #pick(before: HttpsConnection | null): HttpsConnection | Failure {
    const { terms, dependencies, dialer } = this.#options
    if (dependencies.clock() < this.#aloneUntil) return Failure.upstream_failed
    let inUse = 0
    let least: HttpsConnection | null = null
    for (const connection of this.#connections) {
      if (connection.isRetired) continue
      inUse++
      // the one that has refused it is asked again only where there can be no other
      if (connection === before || connection.isFull) continue
      if (connection.hasRoom) return connection
      if (least === null || connection.load < least.load) least = connection
    }
    const mayOpen = inUse < terms.connections && this.#connections.size < terms.connections + MAX_RETIRED
    const mayDial = dialer.refusal === null && this.#pause.isOver(dependencies.clock())
    if (mayOpen && mayDial) return this.#connect(null)
    if (least !== null) return least
    if (before !== null && !before.isRetired && !before.isFull) return before
    return dialer.refusal ?? (mayDial ? Failure.overloaded : Failure.upstream_network)
  }

  #connect(replaces: HttpsConnection | null): HttpsConnection {
    const connection = new HttpsConnection(this.#host, this.#options)
    connection.replaces = replaces
    this.#connections.add(connection)
    return connection
  }

  readonly #host: ConnectionHost = {
    streams: Number.POSITIVE_INFINITY,
    established: (connection) => {
      this.#pause.succeeded()
      connection.replaces?.retire()
      connection.replaces = null
    },
    aged: (connection) => {
      if (!this.#isClosed && this.#options.dialer.refusal === null) this.#connect(connection)
    },
    closed: (connection) => {
      this.#connections.delete(connection)
      if (!connection.wasEstablished) this.#pause.failed(this.#options.dependencies.clock())
    },
    leaveAlone: (ms) => {
      this.#aloneUntil = this.#options.dependencies.clock() + ms
    },
    answered: ({ query, sink, sentAt }, answer, now) => {
      const { meter } = this.#options.dependencies
      this.#rtt = smooth(this.#rtt, now - sentAt)
      meter.answered(query, answer, now - sentAt)
      this.#open.decrease()
      sink.answered(query, answer)
    },
    failed: ({ query, sink }, failure) => this.#fail(query, sink, failure),
    lost: ({ query, sink, resent }, connection) => {
      // RFC 9113 §8.7, conformance TCP-13: once
      if (connection.wasEstablished && !resent && !this.#isClosed) this.#send(query, sink, connection)
      else this.#fail(query, sink, this.#options.dialer.refusal ?? Failure.upstream_network)
    },
  }

  #fail(query: Query, sink: UpstreamSink, failure: Failure): void {
    this.#options.dependencies.meter.failed(query, failure)
    this.#open.decrease()
    sink.failed(query, failure)
  }
}
