import { IPV4_FAMILY, type Subnet } from '../../dns/client-subnet.ts'

/**
 * For whom an answer is (RFC 7871 §7.3.1). Those of a network, and those of a question without an address, are kept apart from
 * what is for everybody; OFF: from what was asked without the option, which says nothing of networks.
 */
export const Audience = {
  OFF: 0,
  /** SCOPE PREFIX-LENGTH 0. */
  EVERYBODY: 1,
  /** SOURCE PREFIX-LENGTH 0. */
  WITHHELD: 2,
  IPV4: 3,
  IPV6: 4,
  /** SCOPE was longer than SOURCE: for who says exactly as much of its network. */
  IPV4_ONLY: 5,
  IPV6_ONLY: 6,
} as const
export type Audience = (typeof Audience)[keyof typeof Audience]

/** By audience: where its bits begin, in words; those of IPv6 need two for 56 lengths. Those without are always looked for. */
const NOWHERE = -1
const BITS_AT: readonly number[] = [NOWHERE, 0, NOWHERE, 1, 2, 4, 5]
const WORDS = 7
export const AUDIENCE_BYTES = 4 * WORDS

/** The audience of what was asked with `subnet` and answered with `scope`; how many bits count of the network is the smaller of the two. */
export function audienceOf(subnet: Subnet, scope: number): Audience {
  const { family, source, maxSource } = subnet
  if (family === 0) return Audience.OFF
  if (source === 0) return Audience.WITHHELD
  if (scope === 0) return Audience.EVERYBODY
  if (scope <= source || source === maxSource) return networkOf(subnet)
  return family === IPV4_FAMILY ? Audience.IPV4_ONLY : Audience.IPV6_ONLY
}

/** The audience of a question: who asks exactly this, and nobody else. */
export function askersOf(subnet: Subnet): Audience {
  return audienceOf(subnet, Number.POSITIVE_INFINITY)
}

/**
 * Which audiences there ever were entries of, by length of the network: look-ups try no others. A bit that is not seen yet costs a
 * question to the upstream, one that is seen for nothing a search.
 */
export class AudienceMap {
  readonly #words: Int32Array

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory)
  }

  has(audience: Audience, length: number): boolean {
    const at = BITS_AT[audience] as number
    return at === NOWHERE || (((this.#words[at + (length >>> 5)] as number) >>> (length & 31)) & 1) === 1
  }

  add(audience: Audience, length: number): void {
    if (!this.has(audience, length)) Atomics.or(this.#words, (BITS_AT[audience] as number) + (length >>> 5), 1 << (length & 31))
  }
}

/** Goes through the audiences that a question's asker belongs to, the narrowest first (RFC 7871 §7.3.2). */
export class AudienceWalk {
  audience: Audience = Audience.OFF
  /** Bits of the network that count. */
  length = 0
  readonly #map: AudienceMap
  #network: Audience = Audience.IPV4
  #source = 0
  #own: Audience = Audience.OFF
  /** One above SOURCE: the asker alone; down to 1: its networks; 0: everybody. */
  #step = -1

  constructor(map: AudienceMap) {
    this.#map = map
  }

  start(subnet: Subnet): void {
    const { source, maxSource } = subnet
    this.#network = networkOf(subnet)
    this.#source = source
    this.#own = askersOf(subnet)
    // who says as much as may be said is its network
    this.#step = source === maxSource ? source : source + 1
  }

  /** False when there are no more. */
  next(): boolean {
    while (this.#step >= 0) {
      const step = this.#step--
      this.audience = step > this.#source ? this.#own : step > 0 ? this.#network : Audience.EVERYBODY
      this.length = Math.min(step, this.#source)
      if (this.#map.has(this.audience, this.length)) return true
    }
    return false
  }
}

function networkOf({ family }: Subnet): Audience {
  return family === IPV4_FAMILY ? Audience.IPV4 : Audience.IPV6
}
