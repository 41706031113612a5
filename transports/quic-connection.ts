import { type Client, NO_KEEPALIVE, type TransportMeter, type TransportTraits } from '../dns/contracts.ts'
import { Failure } from '../dns/failure.ts'
import type { Clock } from '../net/clock.ts'
import type { QuicCloseReason, QuicConnection, QuicHandler } from '../net/quic.ts'
import { type Wheel, WheelEntry } from '../net/wheel.ts'
import type { AccessTerms } from './access.ts'
import type { ServedConnection } from './listener.ts'
import type { ServedPeer } from './served-peer.ts'
import { noWork, type Workload } from './workload.ts'

/** Streams that a client may reset within a second (conformance DOQ-15, H3-17). */
const MAX_CANCELS_PER_SECOND = 200
/** Octets of requests that are not complete, all streams of a connection together: four of the largest messages. */
const MAX_UNFINISHED_INPUT = 262_144
/** How often a connection with open queries is looked at again. */
const CHECK_MS = 1000
/** Time for the last answers to be acknowledged: CONNECTION_CLOSE discards what is still under way (RFC 9000 §10.2). */
const LINGER_MS = 200
/** After this long without a question or an answer nobody is likely to wait. */
const CALM_MS = 20

export interface QuicConnectionSettings {
  readonly handshakeMs: number
  readonly idleMs: number
  /** Questions without an answer, those that the client has cancelled included. */
  readonly inFlight: number
}

export interface QuicConnectionDependencies {
  readonly clock: Clock
  readonly wheel: Wheel
  readonly meter: TransportMeter
}

/** The application error codes of a protocol on QUIC. */
interface QuicCodes {
  readonly noError: number
  readonly excessiveLoad: number
}

/** What DoQ and HTTP/3 have in common: the life of one client's connection and its limits. */
export abstract class QuicServerConnection extends WheelEntry implements QuicHandler, ServedConnection {
  readonly client: Client
  readonly workload: Workload = noWork()
  protected readonly quic: QuicConnection
  protected readonly dependencies: QuicConnectionDependencies
  protected readonly settings: QuicConnectionSettings
  readonly #codes: QuicCodes
  readonly #arrival: Arrival
  #established = false
  #draining = false
  #announcedLast = false
  #closing = false
  #unfinishedInput = 0
  #cancels = 0
  #cancelsSince = 0
  #lastActive: number

  constructor(facts: QuicConnectionFacts) {
    super()
    const { quic, arrival, traits, codes, settings, dependencies } = facts
    this.client = { ...arrival.peer, traits, keepalive: NO_KEEPALIVE }
    this.quic = quic
    this.settings = settings
    this.dependencies = dependencies
    this.#codes = codes
    this.#arrival = arrival
    this.#lastActive = dependencies.clock()
    dependencies.wheel.set(this, this.#lastActive + settings.handshakeMs)
  }

  abstract received(stream: number, bytes: Uint8Array, fin: boolean): void
  /** The client has given up on a stream, or nothing can be sent on it any more. */
  protected abstract cancelled(stream: number): void
  /** The connection is about to end. `last`: what comes from now on is not answered any more. */
  protected abstract announceDrain(last: boolean): void
  /** About once a second while there is something to look after. True: look again. */
  protected abstract housekeep(now: number): boolean

  /** Whether a request is on its way that was begun before it was too late. */
  protected get isReceiving(): boolean {
    return this.#unfinishedInput > 0
  }

  get held(): number {
    return this.#unfinishedInput
  }

  /** Whether the client waits for an answer, or is likely to: what it has just been given is still on its way. */
  get isBusy(): boolean {
    return !this.#established || this.workload.questions > 0 || this.isReceiving || this.dependencies.clock() - this.#lastActive < CALM_MS
  }

  get isClosing(): boolean {
    return this.#closing
  }

  established(): void {
    this.#established = true
    this.#lastActive = this.dependencies.clock()
    // the library does not tell whether a ticket was used
    this.dependencies.meter.handshake('ok', 'TLSv1.3', false)
    // only now: before its address is validated, anybody could use up the connections of anybody (RFC 9000 §21.1.1.1)
    const failure = this.#arrival.enter()
    if (failure !== null) {
      this.fail(failure, this.#codes.excessiveLoad)
      return
    }
    if (this.#draining) this.announceDrain(false)
    this.dependencies.wheel.set(this, this.#lastActive + (this.#draining ? LINGER_MS : this.settings.idleMs))
  }

  reset(stream: number): void {
    const now = this.dependencies.clock()
    if (now - this.#cancelsSince >= 1000) {
      this.#cancelsSince = now
      this.#cancels = 0
    }
    this.cancelled(stream)
    if (++this.#cancels > MAX_CANCELS_PER_SECOND) this.fail(Failure.cancel_flood, this.#codes.excessiveLoad)
  }

  stalled(stream: number): void {
    this.dependencies.meter.dropped(Failure.slow_reader)
    this.quic.reset(stream, this.#codes.excessiveLoad)
    this.cancelled(stream)
  }

  closed(_reason: QuicCloseReason): void {
    this.#closing = true
    if (!this.#established) {
      this.dependencies.meter.handshake('failed', 'none', false)
      this.dependencies.meter.dropped(Failure.handshake_failed)
    }
    this.dependencies.wheel.clear(this)
    this.#arrival.onClosed()
  }

  /** Answers what is open, then closes. */
  drain(): void {
    if (this.#draining || this.#closing) return
    this.#draining = true
    if (this.#established) this.announceDrain(false)
    this.dependencies.wheel.set(this, this.dependencies.clock() + LINGER_MS)
  }

  close(): void {
    if (!this.#closing) this.end(this.#codes.noError)
  }

  /** Counts, and ends the connection with `code`. */
  fail(failure: Failure, code: number): void {
    if (this.#closing) return
    this.dependencies.meter.dropped(failure)
    this.end(code)
  }

  override onDeadline(now: number): void {
    const { wheel } = this.dependencies
    if (!this.#established) {
      this.end(this.#codes.noError)
      return
    }
    if (this.#draining && !this.#announcedLast) {
      this.#announcedLast = true
      this.announceDrain(true)
      wheel.set(this, now + LINGER_MS)
      return
    }
    const busy = this.workload.questions > 0 || (this.#draining && this.isReceiving)
    const idle = now - this.#lastActive
    // PINGs keep a connection open in QUIC, but not here: there are few of them
    const patience = this.#draining ? LINGER_MS : this.settings.idleMs
    if (!busy && idle >= patience) {
      this.end(this.#codes.noError)
      return
    }
    const wanted = this.housekeep(now)
    if (this.#closing) return
    const wait = this.#draining ? LINGER_MS : CHECK_MS
    wheel.set(this, busy || wanted || this.#draining ? now + wait : this.#lastActive + this.settings.idleMs)
  }

  /** A question may go to the pipeline; false when the connection has too many there, and ends. */
  protected admit(): boolean {
    this.touch()
    if (this.workload.questions < this.settings.inFlight) return true
    this.fail(Failure.cancel_flood, this.#codes.excessiveLoad)
    return false
  }

  /** Something was asked or answered. */
  protected touch(): void {
    this.#lastActive = this.dependencies.clock()
  }

  /** Counts octets of incomplete requests; false when there are too many, and the connection ends. */
  protected hold(octets: number): boolean {
    this.#unfinishedInput += octets
    if (this.#unfinishedInput <= MAX_UNFINISHED_INPUT) return true
    this.fail(Failure.input_flood, this.#codes.excessiveLoad)
    return false
  }

  protected release(octets: number): void {
    this.#unfinishedInput -= octets
  }

  /** housekeep() is wanted within a second. */
  protected watch(): void {
    if (!this.#draining) this.dependencies.wheel.set(this, this.dependencies.clock() + CHECK_MS)
  }

  /** Closes with an application error code. */
  protected end(code: number): void {
    this.#closing = true
    this.dependencies.wheel.clear(this)
    this.quic.close(code)
  }
}

export interface QuicConnectionFacts {
  readonly quic: QuicConnection
  readonly arrival: Arrival
  readonly traits: TransportTraits
  readonly codes: QuicCodes
  readonly settings: QuicConnectionSettings
  readonly dependencies: QuicConnectionDependencies
}

/** One connection as its listener sees it. */
export interface Arrival {
  readonly peer: ServedPeer
  /** Who may ask there, as it is at any moment. */
  readonly terms: AccessTerms
  /** Takes a place among the connections of the client; null: it has one. Called once the handshake is complete. */
  readonly enter: () => Failure | null
  readonly onClosed: () => void
}
