import { ADDRESS_LENGTH, IPV4_AT, isIpv4 } from '../dns/address.ts'
import type { AddressBytes } from './address.ts'
import { AddressHash } from './address-hash.ts'

/** Rows of a count-min sketch: a client has a place in each. */
export const SKETCH_ROWS = 4

/** A network that is counted besides the client: the octets of its prefix, and how many times what one client may. */
export interface Level {
  readonly octets: number
  readonly times: number
}

/** IPv4 in its mapped form: /24 and /32. */
const IPV4_LEVELS: readonly Level[] = [
  { octets: 15, times: 4 },
  { octets: ADDRESS_LENGTH, times: 1 },
]
/** RFC 6177: a site has a /48 to a /56, and RFC 4291 §2.5.4: one host, or one household, has a /64 to choose addresses from. */
const IPV6_LEVELS: readonly Level[] = [
  { octets: 6, times: 16 },
  { octets: 7, times: 4 },
  { octets: 8, times: 1 },
]

/** Where a client and its networks are counted in a sketch whose rows have as many places as so many bits name. */
export class SketchPlaces {
  /** Those of each level in question, SKETCH_ROWS each: an array of its own would be made for each query. */
  readonly places: Uint32Array = new Uint32Array(SKETCH_ROWS * IPV6_LEVELS.length)
  readonly #hash: AddressHash
  readonly #bits: number

  /** `memory` begins with the key of the hash. At most 16 bits. */
  constructor(memory: SharedArrayBuffer, bits: number) {
    this.#hash = new AddressHash(memory)
    this.#bits = bits
  }

  /** Sets the places of all levels, which it returns, larger networks first. */
  locate(address: AddressBytes): readonly Level[] {
    const isMapped = isIpv4(address)
    const levels = isMapped ? IPV4_LEVELS : IPV6_LEVELS
    const hash = this.#hash
    const bits = this.#bits
    const length = 1 << bits
    const mask = length - 1
    const { places } = this
    hash.clear()
    for (let i = 0, from = isMapped ? IPV4_AT : 0; i < levels.length; i++) {
      const { octets } = levels[i] as Level
      hash.add(address, from, octets)
      from = octets
      const { low, high } = hash
      const at = SKETCH_ROWS * i
      places[at] = low & mask
      places[at + 1] = length + ((low >>> bits) & mask)
      places[at + 2] = 2 * length + (high & mask)
      places[at + 3] = 3 * length + ((high >>> bits) & mask)
    }
    return levels
  }
}
