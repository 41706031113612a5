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
/** RFC 9520 §3.1: how often one question is sent to one server. */
const MAX_SENDS = 3
/** When a server that could not be reached is tried again: time enough for a process to restart. */
const RETRY_MS = 400

/**
 * Asks the servers in their order. A server that is late is not given up: the next one is asked beside it, and the first
 * usable answer wins. A server that fails is passed over at once.
 */
export class OrderedUpstream implements Upstream {
  readonly name = 'ordered'
  readonly #clock: Clock
  readonly #wheel: Wheel
  readonly #servers: readonly UpstreamServer[]

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
}

/** The attempts to get one question answered. */
class Attempts extends WheelEntry {
  readonly #query: Query
  readonly #sink: UpstreamSink
  readonly #servers: readonly UpstreamServer[]
  readonly #clock: Clock
  readonly #wheel: Wheel
  /** By server: how often it may still be asked, how many sends are open, whether it could not be reached just now. */
  readonly #left: Uint8Array
  readonly #open: Uint8Array
  readonly #unreachable: Uint8Array
  #at = -1
  #totalOpen = 0
  #settled = false
  #asking = false
  #again = false
  /** Whether the timer runs that asks those again who could not be reached. */
  #retrying = false
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
    this.#left = new Uint8Array(context.servers.length).fill(MAX_SENDS)
    this.#open = new Uint8Array(context.servers.length)
    this.#unreachable = new Uint8Array(context.servers.length)
  }

  /** Asks the next server that may be asked; when there is none, waits for those that were, or gives up. */
  askNext(): void {
    this.#again = true
    // a server may fail within send(): the loop goes on, so that many dead servers do not nest
    if (this.#asking) return
    this.#asking = true
    while (this.#again && !this.#settled) {
      this.#again = false
      const server = this.#pick()
      if (server !== null) this.#ask(server)
      else if (!this.#retryLater() && this.#totalOpen === 0) this.#giveUp()
    }
    this.#asking = false
  }

  override onDeadline(): void {
    if (this.#retrying) this.#unreachable.fill(0)
    this.#retrying = false
    this.askNext()
  }

  answered(server: number, answer: Answer): void {
    this.#ended(server)
    if (this.#settled) return
    if (answer.rcode === Rcode.SERVFAIL) {
      this.#refusal ??= answer
      this.#left[server] = 0
      this.askNext()
      return
    }
    this.#settle()
    this.#sink.answered(this.#query, answer)
  }

  failed(server: number, failure: Failure): void {
    this.#ended(server)
    if (this.#settled) return
    this.#failure = failure
    if (failure === Failure.upstream_timeout) {
      // the deadline: no time is left to try anything
      if (this.#totalOpen === 0) this.#giveUp()
      return
    }
    // a server that restarts is back in a moment; one that answers nonsense is not asked this again
    if (failure === Failure.upstream_network) this.#unreachable[server] = 1
    else this.#left[server] = 0
    this.askNext()
  }

  /** Whether the server that was asked may be so once more; it has then been. */
  mayRepeat(server: number): boolean {
    const left = this.#left[server] as number
    if (this.#settled || left === 0) return false
    this.#left[server] = left - 1
    return true
  }

  #ask(server: UpstreamServer): void {
    const at = this.#at
    this.#left[at] = (this.#left[at] as number) - 1
    this.#open[at] = (this.#open[at] as number) + 1
    this.#totalOpen++
    this.#wheel.set(this, this.#clock() + attemptMs(server.rtt))
    server.send(this.#query, new Send(this, at))
  }

  #ended(server: number): void {
    this.#open[server] = (this.#open[server] as number) - 1
    this.#totalOpen--
  }

  #pick(): UpstreamServer | null {
    for (let step = 1; step <= this.#servers.length; step++) {
      const i = (this.#at + step) % this.#servers.length
      const server = this.#servers[i]
      if (server === undefined || this.#left[i] === 0 || this.#unreachable[i] === 1) continue
      if (!server.isLossy && this.#open[i] !== 0) continue
      this.#at = i
      return server
    }
    return null
  }

  /** Whether those that could not be reached will be asked again, while there is time. */
  #retryLater(): boolean {
    // one has answered that it cannot resolve this: the client is not kept waiting for another that is away
    if (this.#refusal !== null) return false
    const at = this.#clock() + RETRY_MS
    const hope = this.#unreachable.some((value, i) => value === 1 && this.#left[i] !== 0)
    if (!hope || at >= this.#query.deadline) return false
    this.#retrying = true
    this.#wheel.set(this, at)
    return true
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

  mayRepeat(): boolean {
    return this.#attempts.mayRepeat(this.#server)
  }
}

function attemptMs(rtt: number): number {
  if (Number.isNaN(rtt)) return ATTEMPT_UNKNOWN_MS
  return Math.min(Math.max(RTT_FACTOR * rtt, ATTEMPT_MIN_MS), ATTEMPT_MAX_MS)
}
