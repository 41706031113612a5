import { putU16, putU32, u8 } from '../../dns/bytes.ts'

/** Octets of the integer that begins with this octet (RFC 9000 §16). */
function varintLength(first: number): number {
  return 1 << (first >> 6)
}

/** Octets that a value takes (RFC 9000 §16). */
export function varintSize(value: number): number {
  if (value < 0x40) return 1
  if (value < 0x4000) return 2
  return value < 0x4000_0000 ? 4 : 8
}

/** Writes a value of up to 2^53 - 1 (RFC 9000 §16); the offset behind it. */
export function putVarint(bytes: Uint8Array, at: number, value: number): number {
  const size = varintSize(value)
  switch (size) {
    case 1:
      bytes[at] = value
      break
    case 2:
      putU16(bytes, at, 0x4000 | value)
      break
    case 4:
      putU32(bytes, at, 0x8000_0000 + value)
      break
    default:
      putU32(bytes, at, 0xc000_0000 + Math.floor(value / 2 ** 32))
      putU32(bytes, at + 4, value % 2 ** 32)
  }
  return at + size
}

/**
 * Reads integers whose octets may come one at a time (RFC 9000 §16). Values above 2^53 are rounded: nothing that we know has
 * such a number.
 */
export class VarintReader {
  #value = 0
  /** Octets still to come; negative before the first. */
  #missing = -1

  /** Takes the octets of one integer, as far as they are there; the offset behind them. */
  push(bytes: Uint8Array, at: number): number {
    if (this.#missing < 0 && at < bytes.length) {
      const first = u8(bytes, at++)
      this.#value = first & 0x3f
      this.#missing = varintLength(first) - 1
    }
    for (; this.#missing > 0 && at < bytes.length; this.#missing--) this.#value = this.#value * 256 + u8(bytes, at++)
    return at
  }

  get begun(): boolean {
    return this.#missing >= 0
  }

  get complete(): boolean {
    return this.#missing === 0
  }

  /** The integer, once complete; the next one can be read then. */
  take(): number {
    this.#missing = -1
    return this.#value
  }
}
