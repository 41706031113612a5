import { randomFillSync } from 'node:crypto'
import type { AddressBytes } from './address.ts'

const ADDRESS_OCTETS = 16
/** For each octet of an address and each of its values, 64 random bits. */
const KEY_WORDS = ADDRESS_OCTETS * 256 * 2
export const HASH_KEY_BYTES: number = KEY_WORDS * Uint32Array.BYTES_PER_ELEMENT

/** Draws a key into the first HASH_KEY_BYTES of `memory`. */
export function drawHashKey(memory: SharedArrayBuffer): void {
  randomFillSync(new Uint8Array(memory, 0, HASH_KEY_BYTES))
}

/** Tabulation hashing of addresses and their prefixes: the random words of all octets together. Nobody can choose addresses that meet somebody else's. */
export class AddressHash {
  /** 64 bits of what was added so far. */
  low = 0
  high = 0
  readonly #key: Uint32Array

  /** `memory` begins with the key. */
  constructor(memory: SharedArrayBuffer) {
    this.#key = new Uint32Array(memory, 0, KEY_WORDS)
  }

  clear(): void {
    this.low = 0
    this.high = 0
  }

  /** Adds the octets from `from` up to `to`. */
  add(address: AddressBytes, from: number, to: number): void {
    const key = this.#key
    let { low, high } = this
    for (let i = from; i < to; i++) {
      const at = 2 * (256 * i + (address[i] as number))
      low ^= key[at] as number
      high ^= key[at + 1] as number
    }
    this.low = low
    this.high = high
  }
}
