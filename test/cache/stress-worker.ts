import { parentPort, workerData } from 'node:worker_threads'
import { mix } from '../../gateway/cache/key.ts'
import type { CacheMemory } from '../../gateway/cache/memory.ts'
import { Stored } from '../../gateway/cache/table.ts'
import { factsOf, isTrue, keyOf, tableOf } from '../harness/cache-entries.ts'

/** What the threads count together; and the order to stop. */
export const Count = { STOP: 0, STEPS: 1, HITS: 2, WRONG: 3, STORED: 4, BUSY: 5, EVICTED: 6, PURGED: 7, TORN: 8 } as const
export const NAMES = 300
export const nameOf = (i: number): string => `name-${i}.stress.example`

export interface StressSetup {
  readonly memory: CacheMemory
  readonly owner: number
  readonly counts: SharedArrayBuffer
}

/** Reads, stores, replaces and purges the same names as the other threads, until it is told to stop, or is killed. */
function run({ memory, owner, counts }: StressSetup): void {
  const table = tableOf(memory, owner)
  const keys = Array.from({ length: NAMES }, (_, i) => keyOf(nameOf(i)))
  const shared = new Int32Array(counts)
  const count = (what: number, by = 1) => Atomics.add(shared, what, by)
  let random = mix(owner)
  let torn = 0
  while (Atomics.load(shared, Count.STOP) === 0) {
    random = (Math.imul(random, 1_664_525) + 1_013_904_223) | 0
    const key = keys[(random >>> 8) % NAMES] as (typeof keys)[number]
    const what = random >>> 28
    count(Count.STEPS)
    if (what === 0)
      count(
        Count.PURGED,
        Math.max(
          0,
          table.remove(table.pageOf(key), (entry) => entry.isNamed(key)),
        ),
      )
    else if (what < 7) {
      const { evictions } = table
      const outcome = table.store(key, factsOf(key, (random >>> 4) & 0xffff), 0)
      count(outcome === Stored.BUSY ? Count.BUSY : Count.STORED)
      count(Count.EVICTED, table.evictions - evictions)
    } else if (table.find(key)) {
      count(Count.HITS)
      if (!isTrue(table.found, key)) count(Count.WRONG)
    }
    if (table.torn > torn) count(Count.TORN, table.torn - torn)
    torn = table.torn
  }
}

if (parentPort !== null) {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port, not a window
  parentPort.postMessage('at work')
  run(workerData as StressSetup)
}
