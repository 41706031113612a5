import type { Field } from '../fields.ts'
import { MAX_LINE_OVERHEAD, PrefixWriter } from '../prefix-writer.ts'
import { STATIC_NAMES } from './qpack-static.ts'

/** RFC 9204 §4.5.1: Required Insert Count 0 and Delta Base 0, since nothing refers to a dynamic table. */
const SECTION_PREFIX = [0, 0]

/** RFC 9204 §4.5.2 to 4.5.6: first bits of what refers to the static table or is literal. */
const INDEXED = 0xc0
const NAME_REFERENCE = 0x50
const LITERAL_NAME = 0x20
const STRING = 0x00

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

class LineWriter extends PrefixWriter {
  line([name, value]: Field): void {
    const known = STATIC_NAMES.get(name)
    const whole = known?.values.get(value)
    if (whole !== undefined) {
      this.integer(INDEXED, 6, whole)
      return
    }
    if (known === undefined) this.string(LITERAL_NAME, 3, name)
    else this.integer(NAME_REFERENCE, 4, known.index)
    this.string(STRING, 7, value)
  }
}
