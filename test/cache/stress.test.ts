import assert from 'node:assert/strict'
import { once } from 'node:events'
import { join } from 'node:path'
import test from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import type { CacheMemory } from '../../gateway/cache/memory.ts'
import { PageLocks } from '../../gateway/cache/page-locks.ts'
import { writeSnapshot } from '../../gateway/cache/snapshot.ts'
import { Stored, type Table } from '../../gateway/cache/table.ts'
import { bytesOf, factsOf, isTrue, keyOf, memoryOf, tableOf } from '../harness/cache-entries.ts'
import { openCacheMemory } from '../harness/snapshot.ts'
import { temporaryDirectory } from '../harness/temporary.ts'
import { Count, NAMES, nameOf, type StressSetup } from './stress-worker.ts'

/** So few that entries are pushed out all the time, and threads meet. */
const PAGES = 3
const THREADS = 3
const MAIN = 1_000_000
/** Enough for some to die while they write. */
const DEATHS = 8
const MAX_DEATHS = 60
const STEPS = 300_000

test('threads that share a small table, and die at it, never find what was not stored, and leave it whole', async (t) => {
  const memory = memoryOf(PAGES)
  const counts = new SharedArrayBuffer(64)
  const shared = new Int32Array(counts)
  const table = tableOf(memory, MAIN)
  const locks = new PageLocks(memory.answers.locks, MAIN)
  const path = join(temporaryDirectory(t), 'snapshot.bin')
  let owner = 0
  const threads: { worker: Worker; owner: number }[] = []
  const start = async (seat: number) => {
    const setup: StressSetup = { memory, owner: ++owner, counts }
    const worker = new Worker(new URL('./stress-worker.ts', import.meta.url), { workerData: setup })
    threads[seat] = { worker, owner }
    await once(worker, 'message')
  }
  t.after(() => Promise.all(threads.map(({ worker }) => worker.terminate())))
  for (let seat = 0; seat < THREADS; seat++) await start(seat)

  let diedWriting = 0
  for (let deaths = 0; deaths < MAX_DEATHS && (deaths < DEATHS || diedWriting === 0); deaths++) {
    await sleep(5 + 30 * Math.random())
    if (deaths % 4 === 0) await checkSnapshot(path, memory, table)
    const seat = deaths % THREADS
    const victim = threads[seat] as (typeof threads)[number]
    await victim.worker.terminate()
    diedWriting += locks.heldBy(victim.owner).length
    table.wipe(victim.owner)
    await start(seat)
  }
  while ((shared[Count.STEPS] as number) < STEPS) await sleep(20)
  Atomics.store(shared, Count.STOP, 1)
  await Promise.all(threads.map(({ worker }) => once(worker, 'exit')))

  assert.equal(shared[Count.WRONG], 0)
  for (const what of ['HITS', 'STORED', 'BUSY', 'EVICTED', 'PURGED'] as const) assert.ok((shared[Count[what]] as number) > 0, what)
  assert.ok(diedWriting > 0, 'none died while it wrote')
  const counted = Object.entries(Count).map(([what, at]) => `${what} ${shared[at]}`)
  t.diagnostic(`${counted.join(', ')}; ${owner} threads, of which ${diedWriting} died writing`)
  assert.deepEqual([...new Int32Array(memory.answers.locks)], Array(PAGES).fill(0))
  checkWhole(table)
  checkWritable(table)
})

/** Every entry of the table is found by its key, once, and is true. */
function checkWhole(table: Table): void {
  let found = 0
  for (let i = 0; i < NAMES; i++) {
    const key = keyOf(nameOf(i))
    if (!table.find(key)) continue
    found++
    assert.ok(isTrue(table.found, key), nameOf(i))
  }
  let [counted, visited] = [0, 0]
  for (let page = 0; page < table.pages; page++) {
    counted += table.countOf(page)
    table.visit(page, () => visited++)
  }
  assert.ok(found > 0)
  assert.deepEqual([counted, visited], [found, found])
}

function checkWritable(table: Table): void {
  const pages = new Set<number>()
  for (let i = 0; pages.size < table.pages; i++) {
    const key = keyOf(`after-${i}.example`)
    assert.equal(table.store(key, factsOf(key, i), 0), Stored.YES)
    assert.ok(table.find(key) && isTrue(table.found, key))
    pages.add(table.pageOf(key))
  }
}

/** A snapshot of what others are writing to is whole all the same. */
async function checkSnapshot(path: string, memory: CacheMemory, table: Table): Promise<void> {
  await writeSnapshot(path, { memory, table, fingerprint: 1, now: 0, wallClock: 0 })
  const opened = openCacheMemory(path, { bytes: bytesOf(PAGES), fingerprint: 1, now: 0, wallClock: 0 })
  assert.equal(opened.refused, null)
  checkWhole(tableOf(opened.memory))
}
