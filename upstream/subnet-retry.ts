import type { Answer } from '../dns/answer.ts'
import { WITHHELD } from '../dns/client-subnet.ts'
import type { UpstreamSink } from '../dns/contracts.ts'
import { Failure } from '../dns/failure.ts'
import type { Query } from '../dns/query.ts'
import { Rcode } from '../dns/types.ts'
import { mayRepeat, type UpstreamServer } from './server.ts'

/** Asks a server that refuses a question with a client's network once more, without an address (RFC 7871 §7.1.3), over any transport. */
export class SubnetRetry implements UpstreamServer {
  readonly name: string
  readonly isLossy: boolean
  readonly #server: UpstreamServer

  constructor(server: UpstreamServer) {
    this.name = server.name
    this.isLossy = server.isLossy
    this.#server = server
  }

  get rtt(): number {
    return this.#server.rtt
  }

  send(query: Query, sink: UpstreamSink): void {
    this.#server.send(query, query.subnet.source === 0 ? sink : new Attempt(this.#server, query, sink))
  }

  drain(deadlineMs: number): Promise<void> {
    return this.#server.drain(deadlineMs)
  }

  close(): Promise<void> {
    return this.#server.close()
  }
}

/** One question with a network, and its second attempt without. */
class Attempt implements UpstreamSink {
  readonly #server: UpstreamServer
  readonly #query: Query
  readonly #sink: UpstreamSink

  constructor(server: UpstreamServer, query: Query, sink: UpstreamSink) {
    this.#server = server
    this.#query = query
    this.#sink = sink
  }

  answered(query: Query, answer: Answer): void {
    // whoever asks from this network would be refused and answered the same, so it is for this network, and for nobody else
    const isAsAsked = query === this.#query || answer.rcode === Rcode.SERVFAIL
    this.#sink.answered(this.#query, isAsAsked ? answer : answer.scopedTo(this.#query.subnet.source))
  }

  failed(_query: Query, failure: Failure): void {
    if (failure !== Failure.upstream_subnet_refused) {
      this.#sink.failed(this.#query, failure)
      return
    }
    // RFC 9520 §3.1 counts it
    if (!mayRepeat(this.#query, this.#sink)) {
      this.#sink.failed(this.#query, failure)
      return
    }
    const query = this.#query.background(this.#query.reply)
    query.subnet = WITHHELD
    this.#server.send(query, this)
  }

  mayRepeat(): boolean {
    return mayRepeat(this.#query, this.#sink)
  }
}
