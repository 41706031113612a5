import type { Answer } from '../../dns/answer.ts'
import { NO_SUBNET } from '../../dns/client-subnet.ts'
import type { Failure } from '../../dns/failure.ts'
import type { Query } from '../../dns/query.ts'
import { Ede, Rcode, Type } from '../../dns/types.ts'
import { Audience, AudienceMap, AudienceWalk, audienceOf } from './audience.ts'
import { FailureMemory } from './failures.ts'
import { CacheKey, EVERY_TYPE } from './key.ts'
import { Leases, UNLEASED } from './leases.ts'
import { type CacheMemory, checksumSeed } from './memory.ts'
import type { CacheMeter } from './meter.ts'
import { Table } from './table.ts'

/** RFC 8767 §4: the TTL of what is served beyond its own, seconds. */
const STALE_TTL_SECONDS = 30
/** Refreshed ahead of its end: what has less than a tenth of its lifetime left and was asked for more than once. */
const DUE_SHARE = 1 / 10
const DUE_POPULARITY = 2

export interface CacheOptions {
  /** Of this thread's locks: above 0, never given twice in the life of the memory. */
  readonly owner: number
  readonly serveStaleMs: number
  readonly prefetch: boolean
  readonly meter: CacheMeter
}

/** What may change while it is used. */
export type CacheSettings = Pick<CacheOptions, 'serveStaleMs' | 'prefetch'>

/**
 * What one thread does with the shared cache: answers of upstreams and their failures, by question. Times are milliseconds of
 * the thread's clock. An answer that is found borrows memory of this object: it is used before the next call.
 */
export class Cache {
  readonly meter: CacheMeter
  /** Whether what find() found should be asked for again, ahead of its end. */
  isDue = false
  /** Whether find() saw an answer that is past its end and may be served if need be. */
  hasStale = false
  readonly #leases: Leases
  readonly #key: CacheKey
  readonly #audiences: AudienceMap
  readonly #walk: AudienceWalk
  readonly #table: Table
  readonly #failures: FailureMemory
  readonly #offset: number
  #serveStaleMs: number
  #prefetch: boolean

  constructor(memory: CacheMemory, { owner, serveStaleMs, prefetch, meter }: CacheOptions) {
    const seed = checksumSeed(memory)
    this.#leases = new Leases(memory.leases)
    this.#key = new CacheKey(memory.secret)
    this.#audiences = new AudienceMap(memory.audiences)
    this.#walk = new AudienceWalk(this.#audiences)
    this.#table = new Table(memory.answers, { owner, seed, keepMs: serveStaleMs })
    this.#failures = new FailureMemory(memory.failures, { owner, seed })
    this.#offset = memory.clockOffset
    this.#serveStaleMs = serveStaleMs
    this.#prefetch = prefetch
    this.meter = meter
  }

  reconfigure({ serveStaleMs, prefetch }: CacheSettings): void {
    this.#serveStaleMs = serveStaleMs
    this.#prefetch = prefetch
    this.#table.keepMs = serveStaleMs
  }

  /** A number for the question, the same in all threads; different questions have different ones but for one in 2^53. */
  idOf(query: Query): number {
    this.#key.read(query, query.route.space)
    return this.#key.id
  }

  /** The same number for the question of all networks. */
  idForAnyone(query: Query): number {
    this.#key.readQuestion(query, query.route.space)
    this.#key.ofAudience(Audience.EVERYBODY, 0, NO_SUBNET)
    this.#key.ofType(query.qtype, query.qclass)
    return this.#key.id
  }

  /** The lease on the question of number `id`, until `end`: HELD where another thread asks it, whose answer will be found here. */
  acquire(id: number, now: number, end: number): number {
    return this.#table.pages === 0 ? UNLEASED : this.#leases.acquire(id, now, end)
  }

  release(id: number, lease: number): void {
    this.#leases.release(id, lease)
  }

  /**
   * What `query` is answered without asking: the answer, its TTLs aged; or where the question failed a moment ago, an answer past
   * its end (RFC 8767 §5), else the failure. Null when it is to be asked.
   */
  find(query: Query, now: number): Answer | null {
    const fresh = this.#findTrue(query, now)
    if (fresh !== null) return fresh
    this.#key.ofAsker(query)
    const failure = this.#failures.find(this.#key, now + this.#offset)
    return failure !== null && this.hasStale ? (this.findStale(query, now) ?? failure) : failure
  }

  /** The answer to `query` past its end, with what explains that (RFC 8767); null when there is none, or it is too old. */
  findStale(query: Query, now: number): Answer | null {
    // another thread may have learned something since
    const fresh = this.#findTrue(query, now)
    if (fresh !== null) return fresh
    const time = now + this.#offset
    const { subnet } = query
    for (this.#walk.start(subnet); this.#walk.next(); ) {
      this.#key.ofAudience(this.#walk.audience, this.#walk.length, subnet)
      if (!this.#findEnded(query, time - this.#serveStaleMs)) continue
      const ede = this.#table.found.rcode === Rcode.NXDOMAIN ? Ede.STALE_NXDOMAIN : Ede.STALE_ANSWER
      return this.#table.found.answer({ now: time, source: 'stale', ede, ttl: STALE_TTL_SECONDS })
    }
    return null
  }

  /** The later one of an answer of the key's audience and of a denial of the name, where one ended after `since`. */
  #findEnded(query: Query, since: number): boolean {
    this.#key.ofType(query.qtype, query.qclass)
    const own = this.#table.find(this.#key) && this.#table.found.end > since ? this.#table.found.at : Number.NEGATIVE_INFINITY
    this.#key.ofType(EVERY_TYPE, query.qclass)
    const isDenied = query.qtype !== Type.ANY && this.#table.find(this.#key) && this.#table.found.end > since && this.#table.found.at > own
    if (isDenied) return true
    this.#key.ofType(query.qtype, query.qclass)
    return own !== Number.NEGATIVE_INFINITY && this.#table.find(this.#key)
  }

  /** Whether the question failed lately and is to be left alone. */
  hasFailed(query: Query, now: number): boolean {
    this.#key.read(query, query.route.space)
    return this.#failures.find(this.#key, now + this.#offset) !== null
  }

  /** Keeps an upstream's answer to `query` where it may be kept (docs/cache.md). */
  remember(query: Query, answer: Answer, now: number): void {
    this.#key.read(query, query.route.space)
    this.#failures.forget(this.#key, now + this.#offset)
    const { rcode, body } = answer
    const isDenial = rcode === Rcode.NXDOMAIN
    // RFC 8767 §4: what lives for no time at all is used once
    if ((rcode !== Rcode.NOERROR && !isDenial) || body.freshness <= 0) return
    this.#toAudience(query, answer)
    // RFC 2308 §5: it denies the name for every type; behind an alias it denies another name (§2.1), and ANY is for ANY only (RFC 8482 §5)
    if (isDenial && body.answers === 0 && query.qtype !== Type.ANY) this.#key.ofType(EVERY_TYPE, query.qclass)
    else this.#key.ofType(query.qtype, query.qclass)
    const at = body.at + this.#offset
    const { evictions } = this.#table
    this.meter.stored(
      this.#table.store(this.#key, { rcode, reason: 0, scope: answer.scope, at, lifetime: body.freshness, body }, now + this.#offset),
    )
    if (this.#table.evictions > evictions) this.meter.evicted(this.#table.evictions - evictions)
  }

  rememberFailure(query: Query, failure: Failure, { now, hasStale }: { now: number; hasStale: boolean }): void {
    this.#key.read(query, query.route.space)
    this.#failures.remember(this.#key, failure, { now: now + this.#offset, hasStale })
  }

  #findTrue(query: Query, now: number): Answer | null {
    this.isDue = this.hasStale = false
    const time = now + this.#offset
    this.#key.readQuestion(query, query.route.space)
    return this.#findFreshFor(query, time) ? this.#table.found.answer({ now: time, source: 'cache' }) : null
  }

  /** For the narrowest audience that has one. The key has the question, for nobody's network yet. */
  #findFreshFor(query: Query, time: number): boolean {
    const { subnet } = query
    // nearly always: no answer depends on a network
    if (subnet.family === 0 && !this.#audiences.has(Audience.EVERYBODY, 0)) return this.#findFreshOrDenial(query, time)
    for (this.#walk.start(subnet); this.#walk.next(); ) {
      this.#key.ofAudience(this.#walk.audience, this.#walk.length, subnet)
      if (this.#findFreshOrDenial(query, time)) return true
    }
    return false
  }

  #findFreshOrDenial(query: Query, time: number): boolean {
    this.#key.ofType(query.qtype, query.qclass)
    return this.#findFresh(time) || this.#findFreshDenial(query, time)
  }

  /** RFC 7871 §7.3.1: as many bits of the network as the answer is for, no more than it was asked with. */
  #toAudience({ subnet }: Query, { scope }: Answer): void {
    const audience = audienceOf(subnet, scope)
    const length = Math.min(scope, subnet.source)
    this.#key.ofAudience(audience, length, subnet)
    this.#audiences.add(audience, length)
  }

  #findFreshDenial(query: Query, time: number): boolean {
    if (query.qtype === Type.ANY) return false
    this.#key.ofType(EVERY_TYPE, query.qclass)
    return this.#findFresh(time)
  }

  #findFresh(time: number): boolean {
    if (!this.#table.find(this.#key)) return false
    const { end, lifetime } = this.#table.found
    if (time >= end) {
      if (time < end + this.#serveStaleMs) this.hasStale = true
      return false
    }
    this.isDue = this.#prefetch && end - time < lifetime * 1000 * DUE_SHARE && this.#table.popularity >= DUE_POPULARITY
    return true
  }
}
