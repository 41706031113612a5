import { Failure } from '../dns/failure.ts'
import type { AddressBytes } from '../net/address.ts'
import type { Clock } from '../net/clock.ts'
import type { ConcurrencyLimit } from '../net/concurrency-limit.ts'
import type { Rate, RateLimit } from '../net/rate-limit.ts'
import type { AccessList } from './access.ts'

export interface HandshakeTerms {
  /** TLS handshakes of one client; null for any number. */
  readonly rate: Rate | null
  /** Who may begin any number. */
  readonly exempt: AccessList
}

export interface GovernorOptions {
  readonly connections: ConcurrencyLimit
  readonly handshakes: RateLimit
  readonly terms: HandshakeTerms
  readonly clock: Clock
}

/** Lets connections in or not: one for all transports of a thread, which counts together with those of the other threads. */
export class Governor {
  /** Of those that come from now on. */
  terms: HandshakeTerms
  /** Memory or time is short: those that are here come first. */
  isOverloaded = false
  readonly #connections: ConcurrencyLimit
  readonly #handshakes: RateLimit
  readonly #clock: Clock

  constructor({ connections, handshakes, terms, clock }: GovernorOptions) {
    this.#connections = connections
    this.#handshakes = handshakes
    this.terms = terms
    this.#clock = clock
  }

  /** Null: it is in, and counted until leave(). `hasHandshake`: it is going to cost one. */
  enter(account: AddressBytes, { hasHandshake }: { hasHandshake: boolean }): Failure | null {
    if (this.isOverloaded) return Failure.overload_refused
    const { rate, exempt } = this.terms
    const isLimited = hasHandshake && rate !== null && !exempt.has(account)
    if (isLimited && !this.#handshakes.take(account, rate, this.#clock())) return Failure.handshake_limit
    const obstacle = this.#connections.acquire(account)
    if (obstacle === null) return null
    return obstacle === 'total' ? Failure.connection_ceiling : Failure.connection_limit
  }

  leave(account: AddressBytes): void {
    this.#connections.release(account)
  }
}
