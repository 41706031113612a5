import { putU32, u32 } from './bytes.ts'
import { sameName } from './name.ts'
import type { RecordTable } from './record-table.ts'

/** RFC 8767 §4: a TTL with the top bit set is a large positive one, and seven days are enough for any. */
export const MAX_TTL_SECONDS = 604_800
/** RFC 2308 §5: a denial is believed for one to three hours at most. */
export const MAX_NEGATIVE_TTL_SECONDS = 10_800

/** The TTL at `at`, lowered in place to MAX_TTL_SECONDS. */
export function clampTtl(message: Uint8Array, at: number): number {
  const ttl = u32(message, at)
  if (ttl <= MAX_TTL_SECONDS) return ttl
  putU32(message, at, MAX_TTL_SECONDS)
  return MAX_TTL_SECONDS
}

/** RFC 2181 §5.2: gives all records of an RRset its smallest TTL, in place. The records of a set stand side by side. */
export function unifyTtls(message: Uint8Array, table: RecordTable, count: number): void {
  for (let first = 0; first < count; ) {
    let end = first + 1
    let least = u32(message, table.ttl(first))
    while (end < count && isSameSet(message, table, first, end)) least = Math.min(least, u32(message, table.ttl(end++)))
    for (let i = first; i < end; i++) putU32(message, table.ttl(i), least)
    first = end
  }
}

function isSameSet(message: Uint8Array, table: RecordTable, a: number, b: number): boolean {
  return table.type(a) === table.type(b) && sameName(message, table.owner(a), message, table.owner(b))
}
