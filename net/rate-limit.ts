import type { AddressBytes } from './address.ts'
import { drawHashKey, HASH_KEY_BYTES } from './address-hash.ts'
import { type Level, SKETCH_ROWS, SketchPlaces } from './sketch-places.ts'

/** Of the places in a row. */
const PLACE_BITS = 14
const ROW_LENGTH = 2 ** PLACE_BITS
const TABLE_BYTES = SKETCH_ROWS * ROW_LENGTH * Float64Array.BYTES_PER_ELEMENT

/** Half a megabyte, and the key of the hash. */
export function allocateRates(): SharedArrayBuffer {
  const memory = new SharedArrayBuffer(HASH_KEY_BYTES + TABLE_BYTES)
  drawHashKey(memory)
  return memory
}

/** How often something may be, by one client. */
export interface Rate {
  /** More than 0. */
  readonly perSecond: number
  /** How long somebody may save up for a burst, milliseconds. */
  readonly burstMs: number
}

/**
 * Limits how often clients do something: an IPv4 address and its /24, an IPv6 /64, its /56 and its /48, the larger networks more often.
 * All threads count together, in memory that they share.
 *
 * No table of clients, but a count-min sketch of the generic cell rate algorithm (ITU-T I.371): each place holds the time at which what it
 * was asked for will be paid off. A client's time is the least of its places, which others may have pushed on: so somebody may be limited
 * too early, never too late, and that only where heavy ones have all four places. Threads write without locks: what two do in the same
 * moment may count once.
 */
export class RateLimit {
  readonly #sketch: SketchPlaces
  readonly #table: Float64Array

  constructor(memory: SharedArrayBuffer) {
    this.#sketch = new SketchPlaces(memory, PLACE_BITS)
    this.#table = new Float64Array(memory, HASH_KEY_BYTES, SKETCH_ROWS * ROW_LENGTH)
  }

  /** Whether the client at `address` may once more, at `now` in milliseconds; if so, that is counted. */
  take(address: AddressBytes, { perSecond, burstMs }: Rate, now: number): boolean {
    const levels = this.#sketch.locate(address)
    for (let i = 0; i < levels.length; i++) {
      const interval = intervalOf(levels[i] as Level, perSecond)
      if (this.#paidOff(i) - now > Math.max(0, burstMs - interval)) return false
    }
    for (let i = 0; i < levels.length; i++) this.#raise(i, Math.max(this.#paidOff(i), now) + intervalOf(levels[i] as Level, perSecond))
    return true
  }

  /** When the level owes nothing, at the latest. */
  #paidOff(level: number): number {
    let least = Number.POSITIVE_INFINITY
    const { places } = this.#sketch
    for (let i = SKETCH_ROWS * level; i < SKETCH_ROWS * (level + 1); i++) {
      least = Math.min(least, this.#table[places[i] as number] as number)
    }
    return least
  }

  /** Only what is less: places that others have pushed on stay as they are. */
  #raise(level: number, time: number): void {
    const { places } = this.#sketch
    for (let i = SKETCH_ROWS * level; i < SKETCH_ROWS * (level + 1); i++) {
      const place = places[i] as number
      if ((this.#table[place] as number) < time) this.#table[place] = time
    }
  }
}

function intervalOf({ times }: Level, perSecond: number): number {
  return 1000 / (perSecond * times)
}
