import type { FieldLine } from '../field-line.ts'

/** RFC 9113 §6.5.2: the initial SETTINGS_HEADER_TABLE_SIZE, which we leave as it is. */
export const MAX_TABLE_SIZE = 4096
/** Evicted places that may stand before the table, until it is moved. */
const MAX_EVICTED = 128

/** What the client has asked us to remember (RFC 7541 §2.3.2, 4). */
export class DynamicTable {
  /** Oldest first; null where they are evicted. */
  #lines: (FieldLine | null)[] = []
  #first = 0
  #size = 0
  #capacity = MAX_TABLE_SIZE

  get length(): number {
    return this.#lines.length - this.#first
  }

  /** The entry with this index; 0 is the latest one. */
  at(index: number): FieldLine | undefined {
    return index < this.length ? (this.#lines[this.#lines.length - 1 - index] ?? undefined) : undefined
  }

  /** RFC 7541 §4.4: one that is larger than the table empties it. */
  insert(line: FieldLine): void {
    const { size } = line
    this.#evict(this.#capacity - size)
    if (size > this.#capacity) return
    this.#lines.push(line)
    this.#size += size
  }

  /** RFC 7541 §4.3; `capacity` is at most MAX_TABLE_SIZE. */
  resize(capacity: number): void {
    this.#capacity = capacity
    this.#evict(capacity)
  }

  #evict(target: number): void {
    while (this.#size > target && this.#first < this.#lines.length) {
      this.#size -= this.#lines[this.#first]?.size ?? 0
      // or their texts would be held
      this.#lines[this.#first++] = null
    }
    if (this.#first < MAX_EVICTED && this.#first < this.#lines.length) return
    this.#lines = this.#lines.slice(this.#first)
    this.#first = 0
  }
}
