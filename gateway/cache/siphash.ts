/**
 * HalfSipHash-1-3 (Aumasson, Bernstein; https://github.com/veorq/SipHash): a keyed hash on 32-bit words for hash tables. Who
 * does not know the key cannot choose names that meet in one place.
 */
export class SipHash {
  readonly #k0: number
  readonly #k1: number
  /** The hash as 32 bits. */
  low = 0
  /** 32 more of them. */
  high = 0

  constructor(k0: number, k1: number) {
    this.#k0 = k0 | 0
    this.#k1 = k1 | 0
  }

  /** Hashes `length` octets of `words`, which are little-endian and zero behind them; the result is in `low` and `high`. */
  update(words: Int32Array, at: number, length: number): void {
    let v0 = this.#k0
    let v1 = this.#k1
    let v2 = this.#k0 ^ 0x6c79_6765
    let v3 = this.#k1 ^ 0x7465_6462
    const end = at + (length >>> 2)
    const last = (length & 3) === 0 ? length << 24 : (length << 24) | (words[end] as number)
    // one round for each word and one for the last; then three, and three again
    for (let rounds = end - at + 7, step = 0; step < rounds; step++) {
      const left = rounds - step
      const word = left > 7 ? (words[at + step] as number) : left === 7 ? last : 0
      if (left === 6) v2 ^= 0xff
      else if (left === 3) {
        this.low = v1 ^ v3
        v1 ^= 0xdd
      }
      v3 ^= word
      v0 = (v0 + v1) | 0
      v1 = (v1 << 5) | (v1 >>> 27)
      v1 ^= v0
      v0 = (v0 << 16) | (v0 >>> 16)
      v2 = (v2 + v3) | 0
      v3 = (v3 << 8) | (v3 >>> 24)
      v3 ^= v2
      v0 = (v0 + v3) | 0
      v3 = (v3 << 7) | (v3 >>> 25)
      v3 ^= v0
      v2 = (v2 + v1) | 0
      v1 = (v1 << 13) | (v1 >>> 19)
      v1 ^= v2
      v2 = (v2 << 16) | (v2 >>> 16)
      v0 ^= word
    }
    this.high = v1 ^ v3
  }
}
