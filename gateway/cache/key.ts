import { prefixMask, type Subnet } from '../../dns/client-subnet.ts'
import { Flag, HEADER_LENGTH } from '../../dns/header.ts'
import { lower, MAX_NAME_LENGTH } from '../../dns/name.ts'
import type { Query } from '../../dns/query.ts'
import { type Audience, askersOf } from './audience.ts'
import { SLOTS, TAG_MASK } from './geometry.ts'
import { SipHash } from './siphash.ts'

/** RFC 4035 §3.2.1: with signatures or without. */
export const DNSSEC_OK = 1
/** RFC 6840 §5.9: what was fetched unchecked is not for who wants it checked. */
export const CHECKING_DISABLED = 2

/** RFC 4343 §3, octet by octet. */
const FOLDED = Uint8Array.from({ length: 256 }, (_, octet) => lower(octet))

/** Type 0 stands for a denial of the name itself, whatever the type (RFC 2308 §5: NXDOMAIN is kept for name and class). */
export const EVERY_TYPE = 0

/**
 * By what an answer is known: name (ASCII letters without case, RFC 4343 §3), type, class, DO, CD, for whom it is, and the space, which stands
 * for everything else that makes answers differ. One key is used again and again.
 */
export class CacheKey {
  /** The name as little-endian words, zero behind its end. */
  readonly name = new Int32Array(Math.ceil(MAX_NAME_LENGTH / 4))
  nameLength = 0
  /** Length of the name, DO and CD, the audience, and how many bits of the network count (see withAudience). */
  facts = 0
  /** Type and class. */
  type = 0
  space = 0
  /** Of the network where it has a length, zero behind that: bits 0 to 31, and 32 to 55. */
  networkHigh = 0
  networkLow = 0
  /** Of the name alone: all that is known of a name is in one page. */
  page = 0
  /** Where the search begins in the page's directory, and what the slot must show. */
  slot = 0
  tag = 0
  /** 53 bits of it, as a number: what is in flight is known by it. */
  id = 0
  readonly #octets = new Uint8Array(this.name.buffer)
  readonly #hash: SipHash
  #network = 0

  /** `secret`: two random words, the same in every thread. */
  constructor(secret: Uint32Array) {
    this.#hash = new SipHash(secret[0] as number, secret[1] as number)
  }

  /** Takes the question of `query`, for who asks exactly that. */
  read(query: Query, space: number): void {
    this.readQuestion(query, space)
    this.ofAsker(query)
  }

  /** The question that it has already, for who asks exactly that. */
  ofAsker({ subnet, qtype, qclass }: Query): void {
    this.ofAudience(askersOf(subnet), subnet.source, subnet)
    this.ofType(qtype, qclass)
  }

  /** Takes the question, for nobody's network. ofType() has to follow. */
  readQuestion(query: Query, space: number): void {
    this.readName(query.wire, HEADER_LENGTH, query.questionEnd - 4)
    const flags = (query.dnssecOk ? DNSSEC_OK : 0) | ((query.flags & Flag.CD) === 0 ? 0 : CHECKING_DISABLED)
    this.facts = this.nameLength | (flags << 8)
    this.space = space | 0
    this.#network = 0
  }

  /** Takes the valid, uncompressed name from `at` to `end`; its page is known then, and nothing else. */
  readName(bytes: Uint8Array, at: number, end: number): void {
    const octets = this.#octets
    const length = end - at
    // the length of a label is below every letter, so it stays what it is
    for (let i = 0; i < length; i++) octets[i] = FOLDED[bytes[at + i] as number] as number
    for (let i = length; (i & 3) !== 0; i++) octets[i] = 0
    this.nameLength = length
    this.#hash.update(this.name, 0, length)
    this.page = this.#hash.low >>> 0
  }

  /** The same question for others: for those in the first `length` bits of `subnet`. ofType() has to follow. */
  ofAudience(audience: Audience, length: number, { high, low }: Subnet): void {
    this.facts = withAudience(this.facts, audience, length)
    // nearly always; and nothing reads the rest then
    if (length === 0) {
      this.#network = 0
      return
    }
    this.networkHigh = high & prefixMask(length)
    this.networkLow = low & prefixMask(length - 32)
    this.#network = mix(this.networkHigh ^ mix(this.networkLow ^ length))
  }

  /** The same question for another type. */
  ofType(type: number, qclass: number): void {
    this.type = type | (qclass << 16)
    const mixed = mix(this.#hash.high ^ mix(this.type ^ (this.facts << 8)) ^ mix(this.space) ^ this.#network)
    this.slot = mixed & (SLOTS - 1)
    this.tag = (mixed >>> 8) & TAG_MASK
    this.id = this.page * 0x20_0000 + (mixed >>> 11)
  }
}

/** Eight bits of length of the name, then eight of flags. */
const AUDIENCE_SHIFT = 16
const NETWORK_SHIFT = 20

function withAudience(facts: number, audience: Audience, length: number): number {
  return (facts & ((1 << AUDIENCE_SHIFT) - 1)) | (audience << AUDIENCE_SHIFT) | (length << NETWORK_SHIFT)
}

export function audienceIn(facts: number): number {
  return (facts >>> AUDIENCE_SHIFT) & ((1 << (NETWORK_SHIFT - AUDIENCE_SHIFT)) - 1)
}

/** How many bits of the network count. */
export function networkLengthIn(facts: number): number {
  return facts >>> NETWORK_SHIFT
}

/** The finalizer of MurmurHash3: every bit of the input moves every bit of the output. */
export function mix(word: number): number {
  word = Math.imul(word ^ (word >>> 16), 0x85eb_ca6b)
  word = Math.imul(word ^ (word >>> 13), 0xc2b2_ae35)
  return word ^ (word >>> 16)
}
