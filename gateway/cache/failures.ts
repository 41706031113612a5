import { Answer } from '../../dns/answer.ts'
import { Failure } from '../../dns/failure.ts'
import { Ede, Rcode } from '../../dns/types.ts'
import type { CacheKey } from './key.ts'
import { Table, type TableMemory, type TableOptions } from './table.ts'

/** RFC 9520 §3.2: how long a failure is remembered, seconds: at first, doubled each time it fails again, at most. */
interface Backoff {
  readonly first: number
  readonly last: number
}

/** A server that says it cannot resolve this, or answers nonsense, will do so again. */
const REFUSED: Backoff = { first: 5, last: 300 }
/** Servers that cannot be reached may be back in a moment, and then every name is to be answered again. */
const UNREACHABLE: Backoff = { first: 1, last: 30 }
/** RFC 8767 §5: while there is an expired answer to give, the servers are left alone for longer. */
const RECHECK_STALE_SECONDS = 30

const UNREACHABLE_FAILURES: ReadonlySet<Failure> = new Set([
  Failure.upstream_timeout,
  Failure.upstream_network,
  Failure.upstream_certificate,
])
/** Of our own making: they say nothing of the question. */
const LOCAL_FAILURES: ReadonlySet<Failure> = new Set([Failure.upstream_none, Failure.overloaded])

/** A failure that ended longer ago than this says nothing of the next one. */
const FORGOTTEN_MS = 300_000
/** RFC 8914 §4.14. */
const CACHED_ERROR = new Answer({ rcode: Rcode.SERVFAIL, ede: Ede.CACHED_ERROR, source: 'cache' })

/** What could not be answered lately: such questions are not asked again for a while (RFC 9520). In a table of its own, so that failing names push out no answers. */
export class FailureMemory {
  readonly #table: Table

  constructor(memory: TableMemory, options: Omit<TableOptions, 'keepMs'>) {
    this.#table = new Table(memory, { ...options, keepMs: FORGOTTEN_MS })
  }

  /** The answer to a question that failed lately; null when it may be asked. */
  find(key: CacheKey, now: number): Answer | null {
    return this.#table.find(key) && now < this.#table.found.end ? CACHED_ERROR : null
  }

  /** `failure`: why, upstream_failed when a server said so itself. `hasStale`: whether there is an expired answer. */
  remember(key: CacheKey, failure: Failure, { now, hasStale }: { now: number; hasStale: boolean }): void {
    if (LOCAL_FAILURES.has(failure)) return
    const { first, last } = UNREACHABLE_FAILURES.has(failure) ? UNREACHABLE : REFUSED
    const again = this.#table.find(key) && this.#table.found.lifetime > 0 && now < this.#table.found.end + FORGOTTEN_MS
    const seconds = again ? Math.min(2 * this.#table.found.lifetime, last) : first
    const lifetime = hasStale ? Math.max(seconds, RECHECK_STALE_SECONDS) : seconds
    this.#table.store(key, { rcode: Rcode.SERVFAIL, reason: failure.ede, scope: 0, at: now, lifetime, body: null }, now)
  }

  /** The question has been answered. */
  forget(key: CacheKey, now: number): void {
    if (!this.#table.find(key) || this.#table.found.lifetime === 0) return
    this.#table.store(key, { rcode: Rcode.NOERROR, reason: 0, scope: 0, at: now, lifetime: 0, body: null }, now)
  }
}
