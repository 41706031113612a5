import { randomFillSync } from 'node:crypto'

/** Drawn in batches: one call to the generator costs more than all else that a question needs. */
const BATCH = 1024
const batch = new Uint16Array(BATCH)
let drawn = BATCH

/** 16 bits that nobody can guess (RFC 5452 §9.2), over the whole range. */
export function random16(): number {
  if (drawn === BATCH) {
    randomFillSync(batch)
    drawn = 0
  }
  return batch[drawn++] as number
}
