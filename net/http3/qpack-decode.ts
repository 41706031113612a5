import { FIELD_OVERHEAD, type Field } from '../fields.ts'
import { PrefixReader } from '../prefix-reader.ts'
import { connectionError, type Http3Error, Qpack } from './errors.ts'
import { STATIC_TABLE } from './qpack-static.ts'

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
  readonly #reader: PrefixReader

  constructor(limit: number) {
    this.#limit = limit
    this.#reader = new PrefixReader(limit)
  }

  /** Decodes a whole section, which is borrowed for the call. */
  decode(section: Uint8Array): FieldSection {
    this.#reader.open(Buffer.from(section.buffer, section.byteOffset, section.length), 0, section.length)
    if (!this.#skipPrefix()) return FAILED
    const fields: Field[] = []
    let size = 0
    while (this.#reader.hasMore) {
      const field = this.#line()
      if (field === null) return this.#reader.isTooLong ? TOO_LARGE : FAILED
      size += field[0].length + field[1].length + FIELD_OVERHEAD
      if (size > this.#limit) return TOO_LARGE
      fields.push(field)
    }
    return { kind: 'fields', fields }
  }

  #skipPrefix(): boolean {
    const reader = this.#reader
    // RFC 9204 §4.5.1.1: nothing was inserted, so nothing can be required
    if (reader.end < 2 || reader.integer(8) !== 0) return false
    // RFC 9204 §4.5.1.2: with the sign set, Base would be negative; otherwise it is of no consequence
    return (reader.next & 0x80) === 0 && reader.integer(7) >= 0
  }

  /** RFC 9204 §4.5.2 to 4.5.6; null when it is malformed, too large, or refers to the dynamic table. */
  #line(): Field | null {
    const reader = this.#reader
    const first = reader.next
    if ((first & 0x80) !== 0) return (first & 0x40) === 0 ? null : (STATIC_TABLE[reader.integer(6)] ?? null)
    if ((first & 0x40) !== 0) {
      const entry = (first & 0x10) === 0 ? undefined : STATIC_TABLE[reader.integer(4)]
      return entry === undefined ? null : this.#withValue(entry[0])
    }
    // RFC 9204 §4.5.3, 4.5.5: what remains is post-base, which is dynamic
    if ((first & 0x20) === 0) return null
    const name = reader.string(3)
    return name === null ? null : this.#withValue(name)
  }

  #withValue(name: string): Field | null {
    const value = this.#reader.string(7)
    return value === null ? null : [name, value]
  }
}
