import { IPV4_AT, isIpv4 } from '../dns/address.ts'
import type { AddressBytes } from './address.ts'
import { AddressHash, drawHashKey, HASH_KEY_BYTES } from './address-hash.ts'

const ROWS = 4
/** A client has a place in each row, at every level: as many as so many bits name. */
const PLACE_BITS = 14
const ROW_LENGTH = 2 ** PLACE_BITS
const PLACE_MASK = ROW_LENGTH - 1
const TABLE_BYTES = ROWS * ROW_LENGTH * Float64Array.BYTES_PER_ELEMENT

/** A network that has a rate: the octets of its prefix, and how many times that of one client. */
interface Level {
  readonly octets: number
  readonly times: number
}

/** IPv4 in its mapped form: /24 and /32. */
const IPV4_LEVELS: readonly Level[] = [
  { octets: 15, times: 4 },
  { octets: 16, times: 1 },
]
/** RFC 6177: a site has a /48 to a /56, and RFC 4291 §2.5.4: a link has a /64. */
const IPV6_LEVELS: readonly Level[] = [
  { octets: 6, times: 16 },
  { octets: 7, times: 4 },
  { octets: 8, times: 1 },
]

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
  readonly #hash: AddressHash
  readonly #table: Float64Array
  /** The places of each level in question: an array of its own would be made for each query. */
  readonly #places = new Uint32Array(ROWS * IPV6_LEVELS.length)

  constructor(memory: SharedArrayBuffer) {
    this.#hash = new AddressHash(memory)
    this.#table = new Float64Array(memory, HASH_KEY_BYTES, ROWS * ROW_LENGTH)
  }

  /** Whether the client at `address` may once more, at `now` in milliseconds; if so, that is counted. */
  take(address: AddressBytes, { perSecond, burstMs }: Rate, now: number): boolean {
    const isMapped = isIpv4(address)
    const levels = isMapped ? IPV4_LEVELS : IPV6_LEVELS
    this.#locate(address, isMapped ? IPV4_AT : 0, levels)
    for (let i = 0; i < levels.length; i++) {
      const interval = intervalOf(levels[i] as Level, perSecond)
      if (this.#paidOff(i) - now > Math.max(0, burstMs - interval)) return false
    }
    for (let i = 0; i < levels.length; i++) this.#raise(i, Math.max(this.#paidOff(i), now) + intervalOf(levels[i] as Level, perSecond))
    return true
  }

  /** Sets the places of all levels. */
  #locate(address: AddressBytes, start: number, levels: readonly Level[]): void {
    const hash = this.#hash
    hash.clear()
    for (let i = 0, from = start; i < levels.length; i++) {
      const { octets } = levels[i] as Level
      hash.add(address, from, octets)
      from = octets
      const at = ROWS * i
      this.#places[at] = hash.low & PLACE_MASK
      this.#places[at + 1] = ROW_LENGTH + ((hash.low >>> PLACE_BITS) & PLACE_MASK)
      this.#places[at + 2] = 2 * ROW_LENGTH + (hash.high & PLACE_MASK)
      this.#places[at + 3] = 3 * ROW_LENGTH + ((hash.high >>> PLACE_BITS) & PLACE_MASK)
    }
  }

  /** When the level owes nothing, at the latest. */
  #paidOff(level: number): number {
    let least = Number.POSITIVE_INFINITY
    for (let i = ROWS * level; i < ROWS * (level + 1); i++) least = Math.min(least, this.#table[this.#places[i] as number] as number)
    return least
  }

  /** Only what is less: places that others have pushed on stay as they are. */
  #raise(level: number, time: number): void {
    for (let i = ROWS * level; i < ROWS * (level + 1); i++) {
      const place = this.#places[i] as number
      if ((this.#table[place] as number) < time) this.#table[place] = time
    }
  }
}

function intervalOf({ times }: Level, perSecond: number): number {
  return 1000 / (perSecond * times)
}
