import { isIPv6 } from 'node:net'
import { isIpv4 } from '../dns/address.ts'
import { u8 } from '../dns/bytes.ts'

/**
 * IP addresses as 16 octets, IPv4 in its mapped form ::ffff:a.b.c.d (RFC 4291 §2.5.5.2), so that one comparison serves
 * both families and a mapped address can never pass for another one.
 */
export type AddressBytes = Uint8Array

/** `text` may be IPv4 or IPv6, with or without a zone ("fe80::1%eth0"). Null when it is neither. */
export function parseAddress(text: string): AddressBytes | null {
  const zone = text.indexOf('%')
  const bare = zone < 0 ? text : text.slice(0, zone)
  // RFC 4007 §11: zones are for IPv6
  if (zone >= 0 && !bare.includes(':')) return null
  const bytes = new Uint8Array(16)
  if (!bare.includes(':')) return parseIpv4(bare, bytes) ? bytes : null
  return isIPv6(bare) && parseIpv6(bare, bytes) ? bytes : null
}

/** The one text for a client that may have many addresses: RFC 4291 §2.5.4: one host, or one household, has a /64 to choose from. */
export function clientKey(address: AddressBytes): string {
  return isIpv4(address) ? formatAddress(address) : formatAddress(address.slice().fill(0, 8))
}

/** Canonical text: IPv4 dotted, IPv6 as RFC 5952 asks. */
export function formatAddress(address: AddressBytes): string {
  if (isIpv4(address)) return address.subarray(12).join('.')
  const groups = Array.from({ length: 8 }, (_, i) => (u8(address, 2 * i) << 8) | u8(address, 2 * i + 1))
  const [start, length] = longestZeroRun(groups)
  const hex = groups.map((group) => group.toString(16))
  if (length < 2) return hex.join(':')
  return `${hex.slice(0, start).join(':')}::${hex.slice(start + length).join(':')}`
}

/** The one text under which an address is counted, logged and compared: mapped IPv4 is IPv4, a zone is dropped. */
export function canonicalAddress(text: string): string {
  if (!text.includes(':')) return text
  const bytes = parseAddress(text)
  return bytes === null ? text : formatAddress(bytes)
}

/** The name of the address in the DNS (RFC 1035 §3.5, RFC 3596 §2.5). */
export function reverseName(address: AddressBytes): string {
  if (isIpv4(address)) return `${[...address.subarray(12)].toReversed().join('.')}.in-addr.arpa`
  const nibbles = Array.from(address, (octet) => `${(octet & 0xf).toString(16)}.${(octet >>> 4).toString(16)}`)
  return `${nibbles.toReversed().join('.')}.ip6.arpa`
}

export interface Endpoint {
  readonly host: string
  readonly port: number
}

/** "127.0.0.1:53" or "[::1]:53": the host is an IP address. Null when it is anything else. */
export function parseEndpoint(text: string): Endpoint | null {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text)
  if (match === null) return null
  const host = match[1] ?? match[2] ?? ''
  const address = parseAddress(host)
  const port = Number(match[3])
  if (address === null || port > 65_535 || (match[1] === undefined) !== !host.includes(':')) return null
  const zone = /%.*/.exec(host)?.[0] ?? ''
  return { host: formatAddress(address) + zone, port }
}

export function formatEndpoint(endpoint: Endpoint): string {
  return endpoint.host.includes(':') ? `[${endpoint.host}]:${endpoint.port}` : `${endpoint.host}:${endpoint.port}`
}

/** 0.0.0.0 or ::, which stand for every address of the machine. */
export function isWildcard(host: string): boolean {
  const address = parseAddress(host)
  return address?.subarray(12).every((octet) => octet === 0) === true && (isIpv4(address) || address.every((octet) => octet === 0))
}

/** ::ffff:0:0/96 (RFC 4291 §2.5.5.2). */
const MAPPED_PREFIX_LENGTH = 96

export interface Prefix {
  readonly address: AddressBytes
  /** Bits that count, 0-128 of the mapped form. */
  readonly length: number
}

/** "10.0.0.0/8", "fd00::/8" or a single address. Null when it is neither, or when bits beyond the prefix are set. */
export function parsePrefix(text: string): Prefix | null {
  const [host = '', bits, ...rest] = text.split('/')
  const address = host.includes('%') ? null : parseAddress(host)
  if (address === null || rest.length > 0 || (bits !== undefined && !/^\d{1,3}$/.test(bits))) return null
  const family = host.includes(':') ? 128 : 32
  const length = bits === undefined ? family : Number(bits)
  if (length > family) return null
  const prefix = { address, length: length + 128 - family }
  return hasBitsBeyond(prefix) ? null : prefix
}

/** As parsePrefix() reads it; a single address without its length. */
export function formatPrefix({ address, length }: Prefix): string {
  const text = formatAddress(address)
  const family = text.includes(':') ? 128 : 32
  const bits = length - 128 + family
  return bits === family ? text : `${text}/${bits}`
}

/** A set of prefixes; small sets are scanned. */
export class PrefixSet {
  readonly #prefixes: readonly Prefix[]

  constructor(prefixes: readonly Prefix[]) {
    this.#prefixes = prefixes
  }

  has(address: AddressBytes): boolean {
    for (const prefix of this.#prefixes) if (covers(prefix, address)) return true
    return false
  }
}

function covers(prefix: Prefix, address: AddressBytes): boolean {
  // "::/0" means IPv6: what is written for one family never admits the other by its mapped form
  if (prefix.length < MAPPED_PREFIX_LENGTH && isIpv4(address)) return false
  const whole = prefix.length >>> 3
  for (let i = 0; i < whole; i++) if (prefix.address[i] !== address[i]) return false
  const rest = prefix.length & 7
  return rest === 0 || (u8(prefix.address, whole) ^ u8(address, whole)) >>> (8 - rest) === 0
}

function hasBitsBeyond(prefix: Prefix): boolean {
  for (let bit = prefix.length; bit < 128; bit++) if ((u8(prefix.address, bit >>> 3) & (0x80 >>> (bit & 7))) !== 0) return true
  return false
}

function parseIpv4(text: string, into: Uint8Array): boolean {
  let at = 12
  let octet = -1
  for (let i = 0; i <= text.length; i++) {
    const c = i === text.length ? 0x2e : text.charCodeAt(i)
    if (c === 0x2e) {
      if (octet < 0 || at > 15) return false
      into[at++] = octet
      octet = -1
      continue
    }
    // a leading zero is refused: inet_aton would read it as octal, others as decimal
    if (c < 0x30 || c > 0x39 || octet === 0) return false
    octet = (octet < 0 ? 0 : octet * 10) + c - 0x30
    if (octet > 255) return false
  }
  into[10] = into[11] = 0xff
  return at === 16
}

function parseIpv6(text: string, into: Uint8Array): boolean {
  const dotted = text.lastIndexOf(':') + 1
  if (text.includes('.')) {
    const low = new Uint8Array(16)
    if (!parseIpv4(text.slice(dotted), low)) return false
    const tail = [(u8(low, 12) << 8) | u8(low, 13), (u8(low, 14) << 8) | u8(low, 15)]
    text = `${text.slice(0, dotted)}${tail.map((group) => group.toString(16)).join(':')}`
  }
  const [head = '', tail] = text.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const groups = [...left, ...Array.from({ length: 8 - left.length - right.length }, () => '0'), ...right]
  groups.forEach((group, i) => {
    const value = Number.parseInt(group, 16)
    into[2 * i] = value >>> 8
    into[2 * i + 1] = value & 0xff
  })
  return groups.length === 8
}

function longestZeroRun(groups: readonly number[]): [start: number, length: number] {
  let best: [number, number] = [0, 0]
  for (let i = 0; i < groups.length; i++) {
    let end = i
    while (end < groups.length && groups[end] === 0) end++
    if (end - i > best[1]) best = [i, end - i]
    i = Math.max(i, end - 1)
  }
  return best
}
