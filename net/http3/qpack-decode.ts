import { u8 } from '../../dns/bytes.ts'
import { FIELD_OVERHEAD, type Field } from '../fields.ts'
import { HuffmanDecoder, TOO_LONG } from '../huffman.ts'
import { connectionError, type Http3Error, Qpack } from './errors.ts'
import { STATIC_TABLE } from './qpack-static.ts'

/** RFC 9204 §4.1.1: integers have up to 62 bits, which is at most nine octets behind the first. */
const MAX_INTEGER = 2 ** 62
const MAX_CONTINUATION = 9

/** What a field section is: its fields in their order, larger than the limit, or not decodable. */
export type FieldSection =
  | { readonly kind: 'fields'; readonly fields: readonly Field[] }
  | { readonly kind: 'too-large' }
  | { readonly kind: 'error'; readonly error: Http3Error }

const TOO_LARGE: FieldSection = { kind: 'too-large' }
const FAILED: FieldSection = { kind: 'error', error: connectionError(Qpack.DECOMPRESSION_FAILED) }

/** Decodes field sections (RFC 9204 §4.5) without a dynamic table, up to a size counted as in RFC 9114 §4.2.2. */
export class FieldSectionDecoder {
  readonly #limit: number
  readonly #huffman: HuffmanDecoder
  #bytes: Buffer = Buffer.alloc(0)
  #at = 0
  #tooLarge = false

  constructor(limit: number) {
    this.#limit = limit
    this.#huffman = new HuffmanDecoder(limit)
  }

  /** Decodes a whole section, which is borrowed for the call. */
  decode(section: Uint8Array): FieldSection {
    this.#bytes = Buffer.from(section.buffer, section.byteOffset, section.length)
    this.#at = 0
    this.#tooLarge = false
    if (!this.#skipPrefix()) return FAILED
    const fields: Field[] = []
    let size = 0
    while (this.#at < section.length) {
      const field = this.#line()
      if (field === null) return this.#tooLarge ? TOO_LARGE : FAILED
      size += field[0].length + field[1].length + FIELD_OVERHEAD
      if (size > this.#limit) return TOO_LARGE
      fields.push(field)
    }
    return { kind: 'fields', fields }
  }

  #skipPrefix(): boolean {
    // RFC 9204 §4.5.1.1: nothing was inserted, so nothing can be required
    if (this.#bytes.length < 2 || this.#integer(8) !== 0) return false
    // RFC 9204 §4.5.1.2: with the sign set, Base would be negative; otherwise it is of no consequence
    return (u8(this.#bytes, this.#at) & 0x80) === 0 && this.#integer(7) >= 0
  }

  /** RFC 9204 §4.5.2 to 4.5.6; null when it is malformed, too large, or refers to the dynamic table. */
  #line(): Field | null {
    const first = u8(this.#bytes, this.#at)
    if ((first & 0x80) !== 0) return (first & 0x40) === 0 ? null : (STATIC_TABLE[this.#integer(6)] ?? null)
    if ((first & 0x40) !== 0) {
      const entry = (first & 0x10) === 0 ? undefined : STATIC_TABLE[this.#integer(4)]
      return entry === undefined ? null : this.#withValue(entry[0])
    }
    // RFC 9204 §4.5.3, 4.5.5: what remains is post-base, which is dynamic
    if ((first & 0x20) === 0) return null
    const name = this.#string(3)
    return name === null ? null : this.#withValue(name)
  }

  #withValue(name: string): Field | null {
    const value = this.#string(7)
    return value === null ? null : [name, value]
  }

  /** RFC 9204 §4.1.2: the Huffman bit stands before the length. Octets become characters one to one. */
  #string(prefix: number): string | null {
    if (this.#at >= this.#bytes.length) return null
    const coded = (u8(this.#bytes, this.#at) & (1 << prefix)) !== 0
    const length = this.#integer(prefix)
    const start = this.#at
    if (length < 0 || length > this.#bytes.length - start) return null
    this.#at = start + length
    if (!coded) return this.#bytes.toString('latin1', start, this.#at)
    const decoded = this.#huffman.decode(this.#bytes, start, this.#at)
    this.#tooLarge = decoded === TOO_LONG
    return decoded < 0 ? null : this.#huffman.out.toString('latin1', 0, decoded)
  }

  /** RFC 7541 §5.1: an integer with a prefix of so many bits, whose octet is there; -1 when it is incomplete or too large. */
  #integer(prefix: number): number {
    const most = (1 << prefix) - 1
    let value = u8(this.#bytes, this.#at++) & most
    if (value < most) return value
    for (let i = 0, weight = 1; i < MAX_CONTINUATION && this.#at < this.#bytes.length; i++, weight *= 128) {
      const octet = u8(this.#bytes, this.#at++)
      value += (octet & 0x7f) * weight
      if (octet < 0x80) return value > MAX_INTEGER ? -1 : value
    }
    return -1
  }
}
