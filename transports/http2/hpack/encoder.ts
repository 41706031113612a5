import type { Field } from '../../../net/fields.ts'
import { MAX_LINE_OVERHEAD, PrefixWriter } from '../../../net/prefix-writer.ts'
import { STATIC_NAMES } from './static-table.ts'

/** RFC 7541 §6.1, 6.2.2: first bits. Nothing is added to the client's table, so no line of ours depends on another. */
const INDEXED = 0x80
const LITERAL = 0x00
const STRING = 0x00

/** RFC 7541 §4.2, 6.3: a table of size 0 is all that we use. Said once, no later setting of the client asks for a signal. */
export const NO_TABLE = 0x20

/** The room that putFields() needs at most. */
export function maxFieldsLength(fields: readonly Field[]): number {
  let length = 0
  for (const [name, value] of fields) length += name.length + value.length + MAX_LINE_OVERHEAD
  return length
}

/** Writes field lines; the offset behind them. */
export function putFields(bytes: Uint8Array, at: number, fields: readonly Field[]): number {
  const writer = new PrefixWriter(bytes, at)
  for (const [name, value] of fields) {
    const known = STATIC_NAMES.get(name)
    const whole = known?.values.get(value)
    if (whole !== undefined) {
      writer.integer(INDEXED, 7, whole)
      continue
    }
    writer.integer(LITERAL, 4, known?.index ?? 0)
    if (known === undefined) writer.string(STRING, 7, name)
    writer.string(STRING, 7, value)
  }
  return writer.at
}
