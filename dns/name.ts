import { u8 } from './bytes.ts'

/** RFC 1035 §2.3.4: octets of a whole name, lengths and root included. */
export const MAX_NAME_LENGTH = 255
/** RFC 1035 §4.1.4 bounds jumps only through "prior occurrence"; no honest compressor chains this many. */
const MAX_JUMPS = 128
const POINTER = 0xc0

/**
 * The offset after the name that begins at `at`, or -1 when it is malformed: a reserved label type, more than 255 octets,
 * a pointer that does not go strictly backwards, or octets beyond `end` (RFC 1035 §4.1.4).
 */
export function skipName(bytes: Uint8Array, at: number, end: number): number {
  let after = -1
  let length = 0
  let floor = at
  for (let jumps = 0; at < end; ) {
    const octet = u8(bytes, at)
    if (octet === 0) return length + 1 > MAX_NAME_LENGTH ? -1 : after < 0 ? at + 1 : after
    if (octet < 0x40) {
      length += octet + 1
      at += octet + 1
      continue
    }
    if (octet < POINTER || at + 1 >= end || ++jumps > MAX_JUMPS || length > MAX_NAME_LENGTH) return -1
    const target = ((octet & 0x3f) << 8) | u8(bytes, at + 1)
    // strictly before everything read so far, so that no walk can return to itself
    if (target >= floor) return -1
    if (after < 0) after = at + 2
    floor = target
    at = target
  }
  return -1
}

/** Where octets stand that change on the way. */
export interface Changes {
  /** Whether any of the octets from `from` up to `to` does. */
  has(from: number, to: number): boolean
}

/** Whether the valid name at `at` continues, behind a pointer, in octets that change: then it would be another name, or none. */
export function isChangeable(bytes: Uint8Array, at: number, changes: Changes): boolean {
  for (let jumped = false; ; ) {
    const octet = u8(bytes, at)
    const length = octet >= POINTER ? 2 : octet + 1
    if (jumped && changes.has(at, at + length)) return true
    if (octet === 0) return false
    jumped ||= octet >= POINTER
    at = octet >= POINTER ? ((octet & 0x3f) << 8) | u8(bytes, at + 1) : at + length
  }
}

/** As skipName, for a name that must not be compressed: the QNAME of a query has no prior name to point at. -1 when it is malformed. */
export function skipPlainName(bytes: Uint8Array, at: number, end: number): number {
  const limit = Math.min(end, at + MAX_NAME_LENGTH)
  while (at < limit) {
    const octet = u8(bytes, at)
    if (octet === 0) return at + 1
    if (octet >= 0x40) return -1
    at += octet + 1
  }
  return -1
}

/** Whether two valid names (see skipName) are equal, ASCII letters without case (RFC 4343 §3). */
export function sameName(a: Uint8Array, at: number, b: Uint8Array, bt: number): boolean {
  for (;;) {
    at = follow(a, at)
    bt = follow(b, bt)
    if (a === b && at === bt) return true
    const octets = u8(a, at)
    if (octets !== u8(b, bt)) return false
    if (octets === 0) return true
    for (let i = 1; i <= octets; i++) if (lower(u8(a, at + i)) !== lower(u8(b, bt + i))) return false
    at += octets + 1
    bt += octets + 1
  }
}

/** Whether the valid name at `at` is the valid name at `ancestorAt` or below it. */
export function isAtOrBelow(bytes: Uint8Array, at: number, ancestorAt: number): boolean {
  for (let surplus = countLabels(bytes, at) - countLabels(bytes, ancestorAt); surplus !== 0; surplus--) {
    if (surplus < 0) return false
    at = follow(bytes, at)
    at += u8(bytes, at) + 1
  }
  return sameName(bytes, at, bytes, ancestorAt)
}

/** Writes the valid name at `at` without compression; returns the offset after it. `out` has room for MAX_NAME_LENGTH octets. */
export function expandName(bytes: Uint8Array, at: number, out: Uint8Array, to: number): number {
  for (;;) {
    at = follow(bytes, at)
    const octets = u8(bytes, at)
    for (let i = 0; i <= octets; i++) out[to + i] = u8(bytes, at + i)
    to += octets + 1
    if (octets === 0) return to
    at += octets + 1
  }
}

/** ASCII case folding of one octet; all others stay as they are. */
export function lower(octet: number): number {
  return octet >= 0x41 && octet <= 0x5a ? octet | 0x20 : octet
}

function countLabels(bytes: Uint8Array, at: number): number {
  for (let labels = 0; ; labels++) {
    at = follow(bytes, at)
    const octets = u8(bytes, at)
    if (octets === 0) return labels
    at += octets + 1
  }
}

/** The offset of the label that stands at `at`, behind any pointers. */
function follow(bytes: Uint8Array, at: number): number {
  while (u8(bytes, at) >= POINTER) at = ((u8(bytes, at) & 0x3f) << 8) | u8(bytes, at + 1)
  return at
}
