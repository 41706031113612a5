/** What a field line takes at most besides its name and value: two lengths below 2^32. */
export const MAX_LINE_OVERHEAD = 12

/** Writes the integers and strings of HPACK and QPACK (RFC 7541 §5), without Huffman coding. The caller sees to the room. */
export class PrefixWriter {
  at: number
  readonly #bytes: Uint8Array

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes
    this.at = at
  }

  /** RFC 7541 §5.1: an integer below 2^32 with a prefix of so many bits, behind the bits of `pattern`. */
  integer(pattern: number, prefix: number, value: number): void {
    const most = (1 << prefix) - 1
    this.#bytes[this.at++] = pattern | Math.min(value, most)
    if (value < most) return
    let rest = value - most
    for (; rest >= 0x80; rest >>>= 7) this.#bytes[this.at++] = 0x80 | (rest & 0x7f)
    this.#bytes[this.at++] = rest
  }

  /** RFC 7541 §5.2, RFC 9204 §4.1.2. */
  string(pattern: number, prefix: number, text: string): void {
    this.integer(pattern, prefix, text.length)
    for (let i = 0; i < text.length; i++) this.#bytes[this.at++] = text.charCodeAt(i)
  }
}
