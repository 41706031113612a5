import { setTimeout as sleep } from 'node:timers/promises'

/** About half a millisecond of work. */
export const SLICE_PAGES = 16
/** A page is locked for microseconds; for longer only when its thread is not scheduled, or dead and not wiped up after. */
const ROUNDS = 10
const PAUSE_MS = 10

export interface PageVisitor {
  /** False when another thread is writing to the page. */
  visit(page: number): boolean
  /** After each slice of pages: whatever gives the event loop a turn. */
  rest(): Promise<unknown>
}

/** Visits pages without blocking the event loop; busy ones again later. Returns how many were busy to the end. */
export async function walkPages(pages: Iterable<number>, visitor: PageVisitor): Promise<number> {
  let left = await walkOnce(pages, visitor)
  for (let round = 1; left.length > 0 && round < ROUNDS; round++) {
    await sleep(PAUSE_MS)
    left = await walkOnce(left, visitor)
  }
  return left.length
}

async function walkOnce(pages: Iterable<number>, visitor: PageVisitor): Promise<readonly number[]> {
  const busy: number[] = []
  let visited = 0
  for (const page of pages) {
    if (!visitor.visit(page)) busy.push(page)
    if (++visited % SLICE_PAGES === 0) await visitor.rest()
  }
  await visitor.rest()
  return busy
}
