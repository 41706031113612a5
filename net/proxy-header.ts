import { u8, u16, u32 } from '../dns/bytes.ts'
import { type AddressBytes, parseAddress } from './address.ts'
import { crc32c } from './crc32c.ts'

/**
 * The PROXY protocol, versions 1 and 2 (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt): what a load balancer says in
 * front of a connection, or in a datagram, of whom it speaks for. Sans-IO.
 */
export interface ProxyHeader {
  /** Octets of it; what follows is the client's. */
  readonly length: number
  /** For whom it speaks; null: for itself. */
  readonly source: ProxySource | null
}

export interface ProxySource {
  readonly octets: AddressBytes
  readonly port: number
}

/** What the header is in front of. */
export type ProxiedKind = 'stream' | 'datagram'

export const NEED_MORE = 'need-more'
export const INVALID = 'invalid'

/** §2.1: the longest line, its end included. */
const MAX_LINE = 107
/** §2.2: signature, command, family and length. */
const FIXED_LENGTH = 16
/** Octets behind these: the addresses, and more TLVs than any load balancer sends. */
const MAX_REST = 4096
const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')
const LINE_START = Buffer.from('PROXY ', 'latin1')

/** §2.2: commands, families and protocols, the upper and the lower four bits of an octet. */
const VERSION = 2
const LOCAL = 0
const PROXY = 1
const UNSPEC = 0
const INET = 1
const INET6 = 2
const UNIX = 3
const STREAM = 1
const DGRAM = 2
/** Octets of both addresses and ports, by family. */
const ADDRESSES_LENGTH = [0, 12, 36, 216]

/** §2.2.3. */
const CRC32C_TLV = 0x03
const CRC32C_LENGTH = 4
const TLV_HEADER_LENGTH = 3

/** Reads the header that `bytes` begin with. Nothing behind it counts before it is whole. */
export function readProxyHeader(bytes: Uint8Array, kind: ProxiedKind): ProxyHeader | typeof NEED_MORE | typeof INVALID {
  if (begins(bytes, SIGNATURE)) return bytes.length < FIXED_LENGTH ? NEED_MORE : readBinary(bytes, kind)
  // §2: version 1 is for streams
  if (kind === 'stream' && begins(bytes, LINE_START)) return readLine(bytes)
  return INVALID
}

/** Whether it is so as far as it goes. */
function begins(bytes: Uint8Array, start: Uint8Array): boolean {
  const length = Math.min(bytes.length, start.length)
  for (let i = 0; i < length; i++) if (bytes[i] !== start[i]) return false
  return true
}

/** §2.2. */
function readBinary(bytes: Uint8Array, kind: ProxiedKind): ProxyHeader | typeof NEED_MORE | typeof INVALID {
  const version = u8(bytes, 12) >>> 4
  const command = u8(bytes, 12) & 0x0f
  const family = u8(bytes, 13) >>> 4
  const protocol = u8(bytes, 13) & 0x0f
  const rest = u16(bytes, 14)
  if (version !== VERSION || command > PROXY || family > UNIX || protocol > DGRAM || rest > MAX_REST) return INVALID
  const length = FIXED_LENGTH + rest
  // of its own accord it may say what it likes about addresses
  if (command === LOCAL) return bytes.length < length ? NEED_MORE : { length, source: null }
  const addresses = ADDRESSES_LENGTH[family] ?? 0
  if (rest < addresses) return INVALID
  if (bytes.length < length) return NEED_MORE
  if (!areTlvsValid(bytes, FIXED_LENGTH + addresses, length)) return INVALID
  if (family === UNSPEC || family === UNIX || protocol === UNSPEC) return { length, source: null }
  if (protocol !== (kind === 'stream' ? STREAM : DGRAM)) return INVALID
  const octets = new Uint8Array(16)
  if (family === INET6) octets.set(bytes.subarray(FIXED_LENGTH, FIXED_LENGTH + 16))
  else {
    octets.fill(0xff, 10, 12)
    octets.set(bytes.subarray(FIXED_LENGTH, FIXED_LENGTH + 4), 12)
  }
  return { length, source: { octets, port: u16(bytes, FIXED_LENGTH + (family === INET ? 8 : 32)) } }
}

/** §2.2.3: they fill the header, and where there is a checksum, it holds. */
function areTlvsValid(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; ) {
    if (at + TLV_HEADER_LENGTH > end) return false
    const value = at + TLV_HEADER_LENGTH
    const length = u16(bytes, at + 1)
    if (value + length > end) return false
    if (u8(bytes, at) === CRC32C_TLV && !(length === CRC32C_LENGTH && holds(bytes, value, end))) return false
    at = value + length
  }
  return true
}

/** The checksum at `at` is that of the whole header, with zeros in its own place. */
function holds(bytes: Uint8Array, at: number, end: number): boolean {
  const header = Uint8Array.from(bytes.subarray(0, end))
  header.fill(0, at, at + CRC32C_LENGTH)
  return crc32c(header) === u32(bytes, at)
}

/** §2.1: one space, decimal numbers without leading zeros, CR and LF. What follows UNKNOWN is not looked at. */
const LINE = /^PROXY (?:UNKNOWN(?: [^\r\n]*)?|TCP(4|6) ([0-9a-fA-F:.]+) ([0-9a-fA-F:.]+) (0|[1-9]\d{0,4}) (0|[1-9]\d{0,4}))\r\n$/

function readLine(bytes: Uint8Array): ProxyHeader | typeof NEED_MORE | typeof INVALID {
  const start = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, MAX_LINE))
  const end = start.indexOf('\n') + 1
  if (end === 0) return bytes.length >= MAX_LINE || hasBareReturn(start) ? INVALID : NEED_MORE
  const parts = LINE.exec(start.toString('latin1', 0, end))
  if (parts === null) return INVALID
  const [, family, source = '', destination = '', port] = parts
  if (family === undefined) return { length: end, source: null }
  const octets = addressOf(source, family)
  if (octets === null || addressOf(destination, family) === null || Number(port) > 65_535 || Number(parts[5]) > 65_535) return INVALID
  return { length: end, source: { octets, port: Number(port) } }
}

/** A line may not have one within it. */
function hasBareReturn(start: Buffer): boolean {
  const at = start.indexOf('\r')
  return at >= 0 && at < start.length - 1
}

/** Of that family, in its own notation. */
function addressOf(text: string, family: string): AddressBytes | null {
  return text.includes(':') === (family === '6') ? parseAddress(text) : null
}
