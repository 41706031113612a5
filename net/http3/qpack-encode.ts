import type { Field } from '../fields.ts'
import { STATIC_NAMES } from './qpack-static.ts'

/** RFC 9204 §4.5.1: Required Insert Count 0 and Delta Base 0, since nothing refers to a dynamic table. */
const SECTION_PREFIX = [0, 0]

/** RFC 9204 §4.5.2 to 4.5.6: first bits of what refers to the static table or is literal. */
const INDEXED = 0xc0
const NAME_REFERENCE = 0x50
const LITERAL_NAME = 0x20
const STRING = 0x00

/** The most that a field line takes besides its name and value: two lengths of up to 2^32. */
const MAX_LINE_OVERHEAD = 12

/** A field section (RFC 9204 §4.5), with static references where there is a match. */
export function encodeFieldSection(fields: readonly Field[]): Uint8Array {
  const bytes = new Uint8Array(SECTION_PREFIX.length + maxFieldsLength(fields))
  bytes.set(SECTION_PREFIX)
  return bytes.subarray(0, putFields(bytes, SECTION_PREFIX.length, fields))
}

/** The room that putFields() needs at most. */
export function maxFieldsLength(fields: readonly Field[]): number {
  let length = 0
  for (const [name, value] of fields) length += name.length + value.length + MAX_LINE_OVERHEAD
  return length
}

/** Appends field lines to a section that encodeFieldSection() began (RFC 9204 §4.5); the offset behind them. */
export function putFields(bytes: Uint8Array, at: number, fields: readonly Field[]): number {
  const writer = new LineWriter(bytes, at)
  for (const field of fields) writer.line(field)
  return writer.at
}

class LineWriter {
  at: number
  readonly #bytes: Uint8Array

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes
    this.at = at
  }

  line([name, value]: Field): void {
    const known = STATIC_NAMES.get(name)
    const whole = known?.values.get(value)
    if (whole !== undefined) {
      this.#integer(INDEXED, 6, whole)
      return
    }
    if (known === undefined) this.#string(LITERAL_NAME, 3, name)
    else this.#integer(NAME_REFERENCE, 4, known.index)
    this.#string(STRING, 7, value)
  }

  /** RFC 9204 §4.1.2, without Huffman coding. */
  #string(pattern: number, prefix: number, text: string): void {
    this.#integer(pattern, prefix, text.length)
    for (let i = 0; i < text.length; i++) this.#bytes[this.at++] = text.charCodeAt(i)
  }

  /** RFC 7541 §5.1: an integer with a prefix of so many bits. */
  #integer(pattern: number, prefix: number, value: number): void {
    const most = (1 << prefix) - 1
    this.#bytes[this.at++] = pattern | Math.min(value, most)
    if (value < most) return
    let rest = value - most
    for (; rest >= 0x80; rest >>>= 7) this.#bytes[this.at++] = 0x80 | (rest & 0x7f)
    this.#bytes[this.at++] = rest
  }
}
