import { Failure } from '../dns/failure.ts'
import type { Clock } from '../net/clock.ts'
import type { QuicCloseReason } from '../net/quic.ts'
import { alertOf, certificateProblem } from '../net/quic-alerts.ts'
import type { TrustObserver } from './server.ts'

/** After a refused certificate: time in which questions fail at once, where each would cost both sides a handshake. */
const REFUSAL_MS = 1000
/** After a dial that failed, and after the next ones: a dial takes some 10 ms of this thread, so a dead server must not cost one a question. */
const FIRST_PAUSE_MS = 250
const MAX_PAUSE_MS = 1000
/** What a server may ask for. */
const MAX_BUSY_MS = 30_000
/** A session is resumed without its certificate being looked at: once a day it is, whatever tickets the server gives. */
const MAX_SESSION_MS = 86_400_000
/** Tickets carry the certificate chain of the server; a larger one is not worth keeping. */
const MAX_TICKET_LENGTH = 65_536

/** By what a server is known (RFC 8310 §6, strict profile). The library verifies names only, and shows no certificate. */
export interface QuicTrust {
  readonly serverName: string
  /** PEM of the roots to trust; null: the usual ones. */
  readonly roots: readonly string[] | null
}

/** Whether a server is dialled just now, and with which session: what is known of it from one connection to the next. */
export class QuicDialer {
  readonly #serverName: string
  readonly #clock: Clock
  readonly #observer: TrustObserver
  /** The newest ticket, offered once (RFC 8446 §C.4). */
  #ticket: Uint8Array | null = null
  /** Until when a session may be resumed: a day after the last handshake that surely showed a certificate. */
  #sessionEnd = Number.NEGATIVE_INFINITY
  #pausedUntil = Number.NEGATIVE_INFINITY
  #busyUntil = Number.NEGATIVE_INFINITY
  #failure: Failure = Failure.upstream_network
  #failures = 0
  #isRefused = false

  constructor(trust: QuicTrust, dependencies: { clock: Clock; trust: TrustObserver }) {
    this.#serverName = trust.serverName
    this.#clock = dependencies.clock
    this.#observer = dependencies.trust
  }

  /** What questions without a connection fail with at once, because of what happened a moment ago; null: dial. */
  get refusal(): Failure | null {
    return this.#clock() < this.#pausedUntil ? this.#failure : null
  }

  /** Whether the server wants to be left alone, on open connections too. */
  get isBusy(): boolean {
    return this.#clock() < this.#busyUntil
  }

  /** The ticket for the next handshake. */
  takeTicket(): Uint8Array | undefined {
    const ticket = this.#clock() < this.#sessionEnd ? this.#ticket : null
    this.#ticket = null
    return ticket ?? undefined
  }

  keepTicket(bytes: Uint8Array): void {
    if (bytes.length <= MAX_TICKET_LENGTH) this.#ticket = Uint8Array.from(bytes)
  }

  /** A handshake is complete. `offered`: with a ticket, so that perhaps no certificate was shown; the library does not say. */
  established(offered: boolean): void {
    if (!offered) this.#sessionEnd = this.#clock() + MAX_SESSION_MS
    if (this.#isRefused) this.#observer.accepted()
    this.#isRefused = false
  }

  /** The server works. */
  answered(): void {
    this.#failures = 0
  }

  /** No connection came about; null: not even a reason. Returns what its questions fail with. */
  failed(reason: QuicCloseReason | null): Failure {
    const problem = reason === null ? null : certificateProblem(alertOf(reason.code), this.#serverName)
    if (problem === null) return this.#pause(Math.min(FIRST_PAUSE_MS * 2 ** this.#failures++, MAX_PAUSE_MS), Failure.upstream_network)
    this.#ticket = null
    if (!this.#isRefused) this.#observer.refused(problem)
    this.#isRefused = true
    return this.#pause(REFUSAL_MS, Failure.upstream_certificate)
  }

  /** A connection ended before it had brought any answer: the first may have bad luck. */
  barren(): void {
    if (this.#failures++ > 0) this.#pause(Math.min(FIRST_PAUSE_MS * 2 ** (this.#failures - 2), MAX_PAUSE_MS), Failure.upstream_network)
  }

  /** The server has too much to do. */
  busy(ms: number): void {
    this.#busyUntil = this.#clock() + Math.min(ms, MAX_BUSY_MS)
  }

  #pause(ms: number, failure: Failure): Failure {
    this.#pausedUntil = this.#clock() + ms
    this.#failure = failure
    return failure
  }
}
