import { PrefixReader } from '../../../net/prefix-reader.ts'
import { FieldLine } from '../field-line.ts'
import { DynamicTable, MAX_TABLE_SIZE } from './dynamic-table.ts'
import { FIRST_INDEX, STATIC_TABLE } from './static-table.ts'

/** decode(): all lines, more than the limit, or COMPRESSION_ERROR. */
export const DECODED = 0
export const TOO_LARGE = 1
export const INVALID = 2
type DecodeResult = typeof DECODED | typeof TOO_LARGE | typeof INVALID

const STATIC_LINES: readonly FieldLine[] = STATIC_TABLE.map(([name, value]) => new FieldLine(name, value))
const FIRST_DYNAMIC = FIRST_INDEX + STATIC_LINES.length

/** Decoding is synchronous: one for all connections of the thread. The shortest code has five bits an octet, so no string of a block is longer. */
const reader = new PrefixReader(65_536)

/** Decodes the field blocks of one connection (RFC 7541). Sans-IO. */
export class HpackDecoder {
  readonly #table = new DynamicTable()
  readonly #limit: number

  /** `limit`: octets of a list of fields as RFC 9113 §10.5.1 counts them. */
  constructor(limit: number) {
    this.#limit = limit
  }

  /**
   * Appends the lines of a block to `lines`, up to the limit; the rest of a block that is too large is decoded all the same,
   * since later blocks may refer to it (RFC 9113 §10.5.1). After INVALID the connection cannot go on (§4.3).
   */
  decode(bytes: Buffer, start: number, end: number, lines: FieldLine[]): DecodeResult {
    reader.open(bytes, start, end)
    if (!this.#sizeUpdates()) return INVALID
    let size = 0
    while (reader.at < end) {
      const line = this.#line()
      if (line === null) return INVALID
      size += line.size
      if (size <= this.#limit) lines.push(line)
    }
    return size > this.#limit ? TOO_LARGE : DECODED
  }

  /** RFC 7541 §4.2, 6.3: only at the beginning of a block, and within what we allow. */
  #sizeUpdates(): boolean {
    while (reader.hasMore && (reader.next & 0xe0) === 0x20) {
      const capacity = reader.integer(5)
      if (capacity < 0 || capacity > MAX_TABLE_SIZE) return false
      this.#table.resize(capacity)
    }
    return true
  }

  /** RFC 7541 §6.1, 6.2; null when it is malformed. */
  #line(): FieldLine | null {
    const first = reader.next
    if (first >= 0x80) return this.#entry(reader.integer(7))
    if (first >= 0x40) {
      const line = this.#literal(6)
      if (line !== null) this.#table.insert(line)
      return line
    }
    // RFC 7541 §4.2: a size update behind a line
    return first >= 0x20 ? null : this.#literal(4)
  }

  #literal(prefix: number): FieldLine | null {
    const index = reader.integer(prefix)
    const name = index === 0 ? reader.string(7) : (this.#entry(index)?.name ?? null)
    const value = name === null ? null : reader.string(7)
    return name === null || value === null ? null : new FieldLine(name, value)
  }

  /** RFC 7541 §2.3.3; null where there is none. */
  #entry(index: number): FieldLine | null {
    if (index < FIRST_INDEX) return null
    return (index < FIRST_DYNAMIC ? STATIC_LINES[index - FIRST_INDEX] : this.#table.at(index - FIRST_DYNAMIC)) ?? null
  }
}
