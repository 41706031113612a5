import type { Answer } from '../dns/answer.ts'
import type { Upstream, UpstreamSink } from '../dns/contracts.ts'
import { Failure } from '../dns/failure.ts'
import type { Query } from '../dns/query.ts'
import { Rcode } from '../dns/types.ts'
import type { Clock } from '../net/clock.ts'
import { type Wheel, WheelEntry } from '../net/wheel.ts'
import type { UpstreamServer } from './server.ts'

/** Design §6: what one attempt gets before the next server is asked too. */
const ATTEMPT_UNKNOWN_MS = 400
const ATTEMPT_MIN_MS = 150
const ATTEMPT_MAX_MS = 1000
const RTT_FACTOR = 4

/**
 * Asks the servers in their order. A server that is late is not given up: the next one is asked beside it, and the first
 * usable answer wins. A server that fails is passed over at once.
 */
export class OrderedUpstream implements Upstream<readonly UpstreamServer[]> {
  readonly name = 'ordered'
  readonly #clock: Clock
  readonly #wheel: Wheel
  #servers: readonly UpstreamServer[]

  constructor(servers: readonly UpstreamServer[], { clock, wheel }: { clock: Clock; wheel: Wheel }) {
    this.#servers = servers
    this.#clock = clock
    this.#wheel = wheel
  }

  send(query: Query, sink: UpstreamSink): void {
    if (this.#servers.length === 0) {
      sink.failed(query, Failure.upstream_none)
      return
    }
    new Attempts(query, sink, { servers: this.#servers, clock: this.#clock, wheel: this.#wheel }).askNext()
  }

  /** New queries go to `servers`; those that are no longer named answer what they were asked and end. */
  async reconfigure(servers: readonly UpstreamServer[]): Promise<void> {
    const gone = this.#servers.filter((server) => !servers.includes(server))
    this.#servers = servers
    await Promise.all(gone.map((server) => server.close()))
  }

  async drain(deadlineMs: number): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.drain(deadlineMs)))
  }

  async close(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.close()))
  }
}

/** The attempts to get one question answered. */
class Attempts extends WheelEntry {
  readonly #query: Query
  readonly #sink: UpstreamSink
  readonly #servers: readonly UpstreamServer[]
  readonly #clock: Clock
  readonly #wheel: Wheel
  /** How often each server may still be asked. */
  readonly #left: Uint8Array
  #at = -1
  /** Sends whose outcome is open. */
  #open = 0
  #settled = false
  #sending = false
  /** What to say when nobody has an answer: an upstream's own SERVFAIL with its explanation before our failure to reach it. */
  #refusal: Answer | null = null
  #failure: Failure = Failure.upstream_timeout

  constructor(query: Query, sink: UpstreamSink, context: { servers: readonly UpstreamServer[]; clock: Clock; wheel: Wheel }) {
    super()
    this.#query = query
    this.#sink = sink
    this.#servers = context.servers
    this.#clock = context.clock
    this.#wheel = context.wheel
    this.#left = Uint8Array.from(context.servers, (server) => server.maxSends)
  }

  /** Asks the next server that may be asked; when there is none, waits for those that were. */
  askNext(): void {
    // a server may fail within send(): the loop goes on, so that many dead servers do not nest
    if (this.#sending) return
    this.#sending = true
    for (let open = this.#open; !this.#settled && open === this.#open; ) {
      const server = this.#pick()
      if (server === null) break
      this.#open++
      server.send(this.#query, new Send(this, this.#at))
      if (this.#open > open) this.#wheel.set(this, this.#clock() + attemptMs(server.rtt))
    }
    this.#sending = false
    if (!this.#settled && this.#open === 0) this.#giveUp()
  }

  override onDeadline(): void {
    this.askNext()
  }

  answered(server: number, answer: Answer): void {
    this.#open--
    if (this.#settled) return
    if (answer.rcode === Rcode.SERVFAIL) {
      this.#refusal ??= answer
      this.#passOver(server)
      return
    }
    this.#settle()
    this.#sink.answered(this.#query, answer)
  }

  failed(server: number, failure: Failure): void {
    this.#open--
    if (this.#settled) return
    this.#failure = failure
    // silence until the deadline leaves no time to try anything
    if (failure !== Failure.upstream_timeout) this.#passOver(server)
    else if (this.#open === 0) this.#giveUp()
  }

  /** A server that failed is not asked this again. */
  #passOver(server: number): void {
    this.#left[server] = 0
    this.askNext()
  }

  #pick(): UpstreamServer | null {
    for (let step = 1; step <= this.#servers.length; step++) {
      const i = (this.#at + step) % this.#servers.length
      const left = this.#left[i] ?? 0
      if (left === 0) continue
      this.#left[i] = left - 1
      this.#at = i
      return this.#servers[i] ?? null
    }
    return null
  }

  #giveUp(): void {
    this.#settle()
    if (this.#refusal === null) this.#sink.failed(this.#query, this.#failure)
    else this.#sink.answered(this.#query, this.#refusal)
  }

  #settle(): void {
    this.#settled = true
    this.#wheel.clear(this)
  }
}

/** One send to one server. */
class Send implements UpstreamSink {
  readonly #attempts: Attempts
  readonly #server: number

  constructor(attempts: Attempts, server: number) {
    this.#attempts = attempts
    this.#server = server
  }

  answered(_query: Query, answer: Answer): void {
    this.#attempts.answered(this.#server, answer)
  }

  failed(_query: Query, failure: Failure): void {
    this.#attempts.failed(this.#server, failure)
  }
}

function attemptMs(rtt: number): number {
  if (Number.isNaN(rtt)) return ATTEMPT_UNKNOWN_MS
  return Math.min(Math.max(RTT_FACTOR * rtt, ATTEMPT_MIN_MS), ATTEMPT_MAX_MS)
}
