import { ADDRESS_LENGTH, IPV4_AT, isIpv4 } from './address.ts'
import { putU16, u8, u16 } from './bytes.ts'

/** RFC 7871 §6: the only ones that have a format. */
export const IPV4_FAMILY = 1
export const IPV6_FAMILY = 2

/** RFC 7871 §11.1: bits of an address that are sent at most, so that it stands for many households. */
export const MAX_SOURCE_IPV4 = 24
export const MAX_SOURCE_IPV6 = 56

/** FAMILY, SOURCE PREFIX-LENGTH and SCOPE PREFIX-LENGTH, before ADDRESS. */
const FIXED_LENGTH = 4
export const SOURCE_AT = 2
export const SCOPE_AT = 3

/** What an upstream is told of the network that a question comes from (RFC 7871): never more than MAX_SOURCE bits. Immutable. */
export class Subnet {
  /** RFC 7871 FAMILY; 0: there is no option. */
  readonly family: number
  /** SOURCE PREFIX-LENGTH; 0 with a family: nobody is to be told an address (§7.1.2). */
  readonly source: number
  /** ADDRESS from its first bit on, zero behind the prefix: bits 0 to 31, and 32 to 63. */
  readonly high: number
  readonly low: number

  constructor(family: number, source: number, high: number, low: number) {
    this.family = family
    this.source = source
    this.high = high & prefixMask(source)
    this.low = low & prefixMask(source - 32)
  }

  /** Bits beyond which no answer is kept apart (RFC 7871 §7.3.1). */
  get maxSource(): number {
    return this.family === IPV4_FAMILY ? MAX_SOURCE_IPV4 : MAX_SOURCE_IPV6
  }
}

/** No option. */
export const NO_SUBNET: Subnet = new Subnet(0, 0, 0, 0)
/** SOURCE PREFIX-LENGTH 0. Without an address the family means nothing, and this one is known everywhere (§7.1.2). */
export const WITHHELD: Subnet = new Subnet(IPV4_FAMILY, 0, 0, 0)

/** A word whose first `length` bits are set; all of them from 32 on, none up to 0. */
export function prefixMask(length: number): number {
  return length <= 0 ? 0 : length >= 32 ? -1 : -1 << (32 - length)
}

export function isSameSubnet(a: Subnet, b: Subnet): boolean {
  return a === b || (a.family === b.family && a.source === b.source && a.high === b.high && a.low === b.low)
}

/**
 * What may be sent on of a client's own option, whose data are `length` octets of `wire` at `at`; null when they are malformed.
 * An address that means nothing elsewhere is not sent: it stands for the gateway's own (RFC 7871 §11.3).
 */
export function subnetOfOption(wire: Uint8Array, at: number, length: number): Subnet | null {
  // RFC 7871 §7.2.1: what is wrongly formatted is FORMERR, unknown families too
  if (length < FIXED_LENGTH) return null
  const family = u16(wire, at)
  const source = u8(wire, at + SOURCE_AT)
  if (family !== IPV4_FAMILY && family !== IPV6_FAMILY) return null
  // §6: SCOPE is zero in queries, and ADDRESS has the octets that SOURCE needs
  const octets = (source + 7) >>> 3
  if (source > bitsOf(family) || u8(wire, at + SCOPE_AT) !== 0 || length !== FIXED_LENGTH + octets) return null
  const end = at + length
  // §6: bits beyond the prefix are zero
  if ((source & 7) !== 0 && (u8(wire, end - 1) & (0xff >>> (source & 7))) !== 0) return null
  return source === 0 ? WITHHELD : publicSubnet(family, source, wire, at + FIXED_LENGTH, end)
}

/** What may be said of a client that did not say anything itself; `address` as 16 octets. */
export function subnetOfAddress(address: Uint8Array): Subnet {
  if (isIpv4(address)) return publicSubnet(IPV4_FAMILY, 32, address, IPV4_AT, ADDRESS_LENGTH)
  return publicSubnet(IPV6_FAMILY, 128, address, 0, ADDRESS_LENGTH)
}

/** Octets of the option's data. */
export function subnetLength({ source }: Subnet): number {
  return FIXED_LENGTH + ((source + 7) >>> 3)
}

/** Writes the option's data; returns the offset after them. */
export function putSubnet(out: Uint8Array, at: number, subnet: Subnet): number {
  const end = at + subnetLength(subnet)
  putU16(out, at, subnet.family)
  out[at + SOURCE_AT] = subnet.source
  out[at + SCOPE_AT] = 0
  for (let i = 0; i < end - at - FIXED_LENGTH; i++) out[at + FIXED_LENGTH + i] = octetOf(subnet, i)
  return end
}

/**
 * SCOPE PREFIX-LENGTH of a response's option, whose data are `length` octets of `message` at `at`; -1 when it answers something
 * else than `subnet` (RFC 7871 §7.3).
 */
export function scopeFor(subnet: Subnet, message: Uint8Array, at: number, length: number): number {
  // §7.3: to a question without an address a server may name the network that it took instead
  if (subnet.source === 0) return 0
  if (length !== subnetLength(subnet)) return -1
  if (u16(message, at) !== subnet.family || u8(message, at + SOURCE_AT) !== subnet.source) return -1
  for (let i = 0; i < length - FIXED_LENGTH; i++) if (u8(message, at + FIXED_LENGTH + i) !== octetOf(subnet, i)) return -1
  const scope = u8(message, at + SCOPE_AT)
  return scope > bitsOf(subnet.family) ? -1 : scope
}

function bitsOf(family: number): number {
  return family === IPV4_FAMILY ? 32 : 128
}

function octetOf({ high, low }: Subnet, i: number): number {
  return ((i < 4 ? high : low) >>> (24 - 8 * (i & 3))) & 0xff
}

function publicSubnet(family: number, source: number, bytes: Uint8Array, at: number, end: number): Subnet {
  const high = word(bytes, at, end)
  if (family === IPV4_FAMILY)
    return isIn(SPECIAL_IPV4, high, source) ? NO_SUBNET : new Subnet(family, Math.min(source, MAX_SOURCE_IPV4), high, 0)
  const isSpecial = (source >= 3 && (high & GLOBAL_IPV6_MASK) !== GLOBAL_IPV6) || isIn(SPECIAL_IPV6, high, source)
  return isSpecial ? NO_SUBNET : new Subnet(family, Math.min(source, MAX_SOURCE_IPV6), high, word(bytes, at + 4, end))
}

/** Four octets, zero from `end` on. */
function word(bytes: Uint8Array, at: number, end: number): number {
  let value = 0
  for (let i = 0; i < 4; i++) value = (value << 8) | (at + i < end ? u8(bytes, at + i) : 0)
  return value
}

/** First 32 bits, and how many of them count. */
type Range = readonly [bits: number, length: number]

/**
 * Addresses that are not global (RFC 6890 and its registries). They say nothing to a server elsewhere, and to whoever reads along
 * they say how a network is built. Those for documentation are missing: nobody has them.
 */
const SPECIAL_IPV4: readonly Range[] = [
  [0x0000_0000, 8], // this network
  [0x0a00_0000, 8], // RFC 1918
  [0x6440_0000, 10], // RFC 6598: behind a carrier's NAT
  [0x7f00_0000, 8], // loopback
  [0xa9fe_0000, 16], // link-local
  [0xac10_0000, 12], // RFC 1918
  [0xc000_0000, 24], // IETF protocol assignments
  [0xc058_6300, 24], // RFC 7526: relays of 6to4
  [0xc0a8_0000, 16], // RFC 1918
  [0xc612_0000, 15], // RFC 2544: benchmarks
  [0xe000_0000, 4], // multicast
  [0xf000_0000, 4], // reserved, broadcast
]
/** RFC 4291 §2.4, IANA: global unicast addresses are in 2000::/3; private, link-local and loopback ones are not. */
const GLOBAL_IPV6 = 0x2000_0000
const GLOBAL_IPV6_MASK = 0xe000_0000 | 0
const SPECIAL_IPV6: readonly Range[] = [
  [0x2001_0000, 23], // IETF protocol assignments; Teredo
  [0x2002_0000, 16], // 6to4: the IPv4 address of a machine
]

/** Whether all of the prefix of `source` bits is in one of the ranges. */
function isIn(ranges: readonly Range[], high: number, source: number): boolean {
  for (const [bits, length] of ranges) if (source >= length && ((high ^ bits) & prefixMask(length)) === 0) return true
  return false
}
