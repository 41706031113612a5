import { LRUCache } from 'lru-cache'
import type { Answer } from '../../dns/answer.ts'
import { putU16, putU32, u32 } from '../../dns/bytes.ts'
import { Verdict } from '../../dns/contracts.ts'
import { OPT_LENGTH, putOpt } from '../../dns/edns.ts'
import { Flag, HEADER_LENGTH } from '../../dns/header.ts'
import { lower } from '../../dns/name.ts'
import type { Query } from '../../dns/query.ts'
import { Cache } from '../../gateway/cache/cache.ts'
import type { CacheMemory } from '../../gateway/cache/memory.ts'
import { CacheStage } from '../../gateway/stages/cache.ts'

/** A cache in a race: takes upstreams' answers, and writes messages for clients. */
export interface Contender {
  /** Keeps what an upstream answered at `now`, milliseconds. */
  store(query: Query, answer: Answer, now: number): void
  /** Writes the answer to `query` as it is at query.receivedAt; its length, or 0 when there is none. */
  reply(query: Query, out: Buffer): number
}

export const CONTENDERS = ['ours', 'Map', 'lru-cache'] as const
export type ContenderName = (typeof CONTENDERS)[number]

/** The same in every run, so that runs can be compared. */
export const SECRET = Uint32Array.of(0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a)

/** The cache and its stage, as the gateway has them. */
export class Ours implements Contender {
  readonly cache: Cache
  readonly #stage: CacheStage

  constructor(memory: CacheMemory) {
    const meter = { hit() {}, stale() {}, failure() {}, stored() {}, evicted() {}, coalesced() {}, withheld() {}, prefetched() {} }
    this.cache = new Cache(memory, { owner: 1, serveStaleMs: 86_400_000, prefetch: true, meter })
    this.#stage = new CacheStage(this.cache, { refresh() {} })
  }

  store(query: Query, answer: Answer, now: number): void {
    this.cache.remember(query, answer, now)
  }

  reply(query: Query, out: Buffer): number {
    return this.find(query) ? (query.answer as Answer).encodeInto(out, 0, query, query.receivedAt) : 0
  }

  find(query: Query): boolean {
    return this.#stage.onQuery(query) === Verdict.ANSWERED
  }
}

/** What Map and lru-cache keep: a whole message, without OPT record, and where its TTLs are. */
interface Kept {
  readonly message: Buffer
  readonly ttls: readonly number[]
  /** Milliseconds at which the TTLs were true, and at which the first of them has run out. */
  readonly at: number
  readonly end: number
}

interface Keeper {
  get(key: string): Kept | undefined
  set(key: string, kept: Kept): unknown
}

/** What one would write first: the question as a string, the message as a Buffer. */
export class Simple implements Contender {
  readonly #kept: Keeper
  readonly #key = Buffer.alloc(300)

  constructor(kept: Keeper) {
    this.#kept = kept
  }

  store(query: Query, answer: Answer, now: number): void {
    const { bytes, start, end, answers, authorities, additionals, ttls, freshness } = answer.body
    const message = Buffer.allocUnsafe(query.questionEnd + end - start)
    message.set(query.wire.subarray(0, query.questionEnd))
    message.set(bytes.subarray(start, end), query.questionEnd)
    putU16(message, 2, Flag.QR | Flag.RD | Flag.RA | answer.rcode)
    for (const [i, count] of [1, answers, authorities, additionals].entries()) putU16(message, 4 + 2 * i, count)
    this.#kept.set(this.#keyOf(query), { message, ttls: [...ttls], at: now, end: now + freshness * 1000 })
  }

  reply(query: Query, out: Buffer): number {
    const kept = this.#kept.get(this.#keyOf(query))
    if (kept === undefined || query.receivedAt >= kept.end) return 0
    const { message, ttls, at } = kept
    for (let i = 0; i < message.length; i++) out[i] = message[i] as number
    putU16(out, 0, query.id)
    for (let i = HEADER_LENGTH; i < query.questionEnd; i++) out[i] = query.wire[i] as number
    const age = Math.floor((query.receivedAt - at) / 1000)
    for (const ttl of ttls) putU32(out, ttl, Math.max(0, u32(out, ttl) - age))
    if (!query.edns) return message.length
    putU16(out, 10, 1)
    putOpt(out, message.length, { extendedRcode: 0, dnssecOk: query.dnssecOk })
    return message.length + OPT_LENGTH
  }

  /** Name in small letters, type, class, DO and CD; quicker than joining strings. */
  #keyOf({ wire, questionEnd, dnssecOk, flags }: Query): string {
    const key = this.#key
    const nameEnd = questionEnd - 4
    for (let i = HEADER_LENGTH; i < nameEnd; i++) key[i] = lower(wire[i] as number)
    for (let i = nameEnd; i < questionEnd; i++) key[i] = wire[i] as number
    key[questionEnd] = (dnssecOk ? 1 : 0) | ((flags & Flag.CD) === 0 ? 0 : 2)
    return key.toString('latin1', HEADER_LENGTH, questionEnd + 1)
  }
}

/** `memory`: of ours; `entries`: of lru-cache. A Map has no bounds. */
export function makeContender(name: ContenderName, { memory, entries }: { memory: () => CacheMemory; entries: number }): Contender {
  switch (name) {
    case 'ours':
      return new Ours(memory())
    case 'Map':
      return new Simple(new Map())
    case 'lru-cache':
      return new Simple(new LRUCache({ max: entries }))
  }
}
