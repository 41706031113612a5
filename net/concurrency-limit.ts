import type { AddressBytes } from './address.ts'
import { drawHashKey, HASH_KEY_BYTES } from './address-hash.ts'
import { type Level, SKETCH_ROWS, SketchPlaces } from './sketch-places.ts'

/** As many places in a row as 16 bits name: the hash of a client is its four places. */
const PLACE_BITS = 16
const PLACES = SKETCH_ROWS * 2 ** PLACE_BITS
const COUNTS_BYTES = PLACES * Uint32Array.BYTES_PER_ELEMENT
const SLAB_BYTES = COUNTS_BYTES + Int32Array.BYTES_PER_ELEMENT
const GATE_AT = HASH_KEY_BYTES
const SLABS_AT = GATE_AT + Int32Array.BYTES_PER_ELEMENT

/** After the ceiling was met, nothing more is let in until so much of it is left. */
const RESUME_SHARE = 0.95

/** What the threads count in together: a random key, whether the ceiling was met, and a megabyte for each of them. */
export function allocateConcurrency(workers: number): SharedArrayBuffer {
  const shared = new SharedArrayBuffer(SLABS_AT + workers * SLAB_BYTES)
  drawHashKey(shared)
  return shared
}

/** Forgets what a thread had that has ended. */
export function forgetConcurrency(shared: SharedArrayBuffer, worker: number): void {
  new Uint8Array(shared, SLABS_AT + worker * SLAB_BYTES, SLAB_BYTES).fill(0)
}

export interface ConcurrencyTerms {
  /** How many one client may have; its networks may have as many times that as SketchPlaces says. */
  readonly perClient: number
  /** How many all together. */
  readonly total: number
}

export interface ConcurrencyLimitOptions {
  readonly shared: SharedArrayBuffer
  /** The index of this thread. */
  readonly worker: number
  readonly terms: ConcurrencyTerms
}

/** Who stands in the way of one more: `client`, the client itself or a network of its; `total`, all together. */
export type Obstacle = 'client' | 'total'

/**
 * Counts what clients have at a time, by IPv4 address and its /24, by IPv6 /64, /56 and /48, over all threads: the kernel spreads the
 * connections of one client over them. Each thread writes to a slab of its own, so that what a thread held that died can be forgotten.
 *
 * No table of clients, but a count-min sketch: a client's count is the least of its counters, which it may have in common with others;
 * so the count may be too high, never too low. A client is refused for the sake of others only when it meets heavy ones in all four rows.
 * With 20,000 of something and 100 allowed to each that needs 200 clients at their limit, and four times a chance of 0.6 %. The places
 * depend on a random key, so that nobody can choose addresses that meet somebody else's.
 */
export class ConcurrencyLimit {
  /** Of those that come from now on. */
  terms: ConcurrencyTerms
  readonly #sketch: SketchPlaces
  readonly #own: Slab
  readonly #slabs: readonly Slab[]
  /** 1: the ceiling was met, and is not far enough yet. */
  readonly #gate: Int32Array

  constructor({ shared, worker, terms }: ConcurrencyLimitOptions) {
    const workers = (shared.byteLength - SLABS_AT) / SLAB_BYTES
    this.#sketch = new SketchPlaces(shared, PLACE_BITS)
    this.#gate = new Int32Array(shared, GATE_AT, 1)
    this.#slabs = Array.from({ length: workers }, (_, index) => new Slab(shared, SLABS_AT + index * SLAB_BYTES))
    this.#own = this.#slabs[worker] as Slab
    this.terms = terms
  }

  /** Null: it is counted, until release(). */
  acquire(address: AddressBytes): Obstacle | null {
    const levels = this.#sketch.locate(address)
    // counted first: of two threads that look at once, both see the other's
    this.#own.add(this.#sketch.places, levels.length, 1)
    const present = this.#total()
    const obstacle = this.#isFull(present) ? 'total' : this.#isTooMuch(levels, present) ? 'client' : null
    if (obstacle !== null) this.#own.add(this.#sketch.places, levels.length, -1)
    return obstacle
  }

  release(address: AddressBytes): void {
    const levels = this.#sketch.locate(address)
    this.#own.add(this.#sketch.places, levels.length, -1)
  }

  /** With hysteresis: at the ceiling, each place that becomes free would be fought over. */
  #isFull(present: number): boolean {
    const { total } = this.terms
    if (present > total) Atomics.store(this.#gate, 0, 1)
    else if (present <= total * RESUME_SHARE) Atomics.store(this.#gate, 0, 0)
    return Atomics.load(this.#gate, 0) === 1
  }

  #total(): number {
    let total = 0
    for (let i = 0; i < this.#slabs.length; i++) total += (this.#slabs[i] as Slab).total
    return total
  }

  #isTooMuch(levels: readonly Level[], present: number): boolean {
    // nobody has more than all have together
    if (present <= this.terms.perClient) return false
    for (let i = 0; i < levels.length; i++) if (this.#count(i) > (levels[i] as Level).times * this.terms.perClient) return true
    return false
  }

  #count(level: number): number {
    let least = Number.POSITIVE_INFINITY
    for (let row = SKETCH_ROWS * level; row < SKETCH_ROWS * (level + 1); row++) {
      let count = 0
      for (let i = 0; i < this.#slabs.length; i++) count += (this.#slabs[i] as Slab).at(this.#sketch.places[row] as number)
      least = Math.min(least, count)
    }
    return least
  }
}

/** The counters of one thread. */
class Slab {
  readonly #counts: Uint32Array
  readonly #total: Int32Array

  constructor(shared: SharedArrayBuffer, offset: number) {
    this.#counts = new Uint32Array(shared, offset, PLACES)
    this.#total = new Int32Array(shared, offset + COUNTS_BYTES, 1)
  }

  get total(): number {
    return Atomics.load(this.#total, 0)
  }

  at(place: number): number {
    return this.#counts[place] as number
  }

  /** Only one thread writes here, so the counts need no lock. The total, which comes last, is the barrier: what is read after it is not older. */
  add(places: Uint32Array, levels: number, amount: number): void {
    const counts = this.#counts
    for (let i = 0; i < SKETCH_ROWS * levels; i++) {
      const place = places[i] as number
      counts[place] = (counts[place] as number) + amount
    }
    Atomics.add(this.#total, 0, amount)
  }
}
