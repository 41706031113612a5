import { mix } from './key.ts'

/** Leases at a time, in buckets; where a bucket is full, work is done without one. 64 KiB. */
const BUCKETS = 4096
const BUCKET_WORDS = 4
export const LEASE_BYTES = BUCKETS * BUCKET_WORDS * 4

/** A word is 12 bits of hash and 20 bits of end, in tenths of a second modulo 29 hours; 0: free. */
const TICK_MS = 100
const END_BITS = 20
const END_MASK = (1 << END_BITS) - 1
/** No lease is longer; one that seems to be has ended a round ago. */
const MAX_TICKS = 6000

/** Somebody else is at it. */
export const HELD = 0
/** No room: the work may be done, others may do it too. */
export const UNLEASED = -1

/**
 * Who of the threads asks a question: so that it travels once. A lease ends by itself, so that a thread that died with it
 * blocks nobody. Two questions may share one by chance (1 in 4,096 of a bucket): then one of them waits for the other.
 */
export class Leases {
  readonly #words: Int32Array

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory)
  }

  /** A lease on `id` until `end` (milliseconds, within ten minutes), to be given back; or HELD, or UNLEASED. */
  acquire(id: number, now: number, end: number): number {
    const hash = mix(id ^ (id / 0x1_0000_0000))
    const first = (hash & (BUCKETS - 1)) * BUCKET_WORDS
    const tag = (hash >>> END_BITS) << END_BITS
    const lease = tag | (Math.ceil(end / TICK_MS) & END_MASK) || 1
    for (let at = first; at < first + BUCKET_WORDS; at++) {
      const word = Atomics.load(this.#words, at)
      if (word !== 0 && (word & ~END_MASK) === tag && !isOver(word, now)) return HELD
    }
    for (let at = first; at < first + BUCKET_WORDS; at++) {
      const word = Atomics.load(this.#words, at)
      if (word !== 0 && !isOver(word, now)) continue
      if (Atomics.compareExchange(this.#words, at, word, lease) === word) return lease
    }
    return UNLEASED
  }

  release(id: number, lease: number): void {
    if (lease === UNLEASED) return
    const first = (mix(id ^ (id / 0x1_0000_0000)) & (BUCKETS - 1)) * BUCKET_WORDS
    for (let at = first; at < first + BUCKET_WORDS; at++) {
      if (Atomics.compareExchange(this.#words, at, lease, 0) === lease) return
    }
  }
}

function isOver(word: number, now: number): boolean {
  const left = ((word & END_MASK) - Math.floor(now / TICK_MS)) & END_MASK
  return left === 0 || left > MAX_TICKS
}
