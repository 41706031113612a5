import assert from 'node:assert/strict'
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { describe, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { PageLocks } from '../../gateway/cache/page-locks.ts'
import { SnapshotWriter } from '../../gateway/cache/snapshot-writer.ts'
import { bytesOf, factsOf, keyOf, memoryOf, tableOf } from '../harness/cache-entries.ts'
import { openCacheMemory } from '../harness/snapshot.ts'
import { temporaryDirectory } from '../harness/temporary.ts'

const PAGES = 200
const MINUTES = 60_000

function setUp(t: TestContext) {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const directory = temporaryDirectory(t)
  const path = join(directory, 'cache', 'snapshot.bin')
  const memory = memoryOf(PAGES)
  const table = tableOf(memory)
  const lines: string[] = []
  const line = (level: string) => (_facts: object, text: string) => void lines.push(`${level}: ${text}`)
  const writer = new SnapshotWriter({
    path,
    memory,
    owner: 9,
    fingerprint: 1,
    log: { info: line('info'), error: line('error') } as never,
    clock: () => 0,
    wallClock: () => 0,
  })
  const learn = (name: string) => table.store(keyOf(name), factsOf(keyOf(name), 1), 0)
  const restored = (fingerprint = 1) =>
    openCacheMemory(path, { bytes: bytesOf(PAGES), fingerprint, now: 0, wallClock: 0 }).restored?.entries
  return { directory, path, memory, writer, lines, learn, restored }
}

async function eventually(holds: () => boolean): Promise<void> {
  for (let i = 0; i < 400 && !holds(); i++) await sleep(5)
  assert.ok(holds())
}

describe('snapshots are written', () => {
  test('every five minutes, and at the end', async (t) => {
    const { path, writer, lines, learn, restored } = setUp(t)
    writer.start()
    learn('a.example')
    t.mock.timers.tick(5 * MINUTES - 1)
    await sleep(20)
    assert.equal(existsSync(path), false)
    t.mock.timers.tick(1)
    await eventually(() => restored() === 1)
    learn('b.example')
    await eventually(() => {
      // one that comes while the last write is not quite over is left out
      t.mock.timers.tick(5 * MINUTES)
      return restored() === 2
    })
    learn('c.example')
    await writer.stop()
    assert.equal(restored(), 3)
    rmSync(path)
    t.mock.timers.tick(30 * MINUTES)
    await sleep(20)
    assert.equal(existsSync(path), false)
    assert.deepEqual(lines, [])
  })

  test('one after the other', async (t) => {
    const { writer, lines, learn, restored } = setUp(t)
    writer.start()
    learn('a.example')
    // several at a time would take the file away from each other
    t.mock.timers.tick(20 * MINUTES)
    await writer.stop()
    assert.equal(restored(), 1)
    assert.deepEqual(lines, [])
  })

  test('at the end with what was learned while the one before was being written', async (t) => {
    const { memory, writer, learn, restored } = setUp(t)
    const [busy, first, last] = ['a.example', 'b.example', 'c.example'].map((name) => tableOf(memory).pageOf(keyOf(name))) as [
      number,
      number,
      number,
    ]
    assert.ok(busy !== first && busy !== last)
    const locks = new PageLocks(memory.answers.locks, 7)
    assert.ok(locks.tryLock(busy))
    writer.start()
    learn('b.example')
    t.mock.timers.tick(5 * MINUTES)
    await sleep(50) // it waits for the page that is busy, and is through with the others
    learn('c.example')
    locks.unlock(busy)
    await writer.stop()
    assert.equal(restored(), 2)
  })

  test('for the configuration that is in force', async (t) => {
    const { writer, learn, restored } = setUp(t)
    learn('a.example')
    writer.moveTo(2)
    await writer.stop()
    assert.deepEqual([restored(1), restored(2)], [undefined, 1])
  })

  test('with one line when that fails, and one when it works again', async (t) => {
    const { directory, path, writer, lines, restored } = setUp(t)
    writeFileSync(join(directory, 'cache'), 'in the way')
    writer.start()
    t.mock.timers.tick(5 * MINUTES)
    await eventually(() => lines.length > 0)
    for (let i = 0; i < 10; i++) {
      t.mock.timers.tick(5 * MINUTES)
      await sleep(10)
    }
    assert.deepEqual(lines, ['error: cannot write the snapshot of the cache: the one before stays'])
    rmSync(join(directory, 'cache'))
    await eventually(() => {
      t.mock.timers.tick(5 * MINUTES)
      return lines.length > 1
    })
    assert.deepEqual(lines.slice(1), ['info: the snapshot of the cache is written again'])
    assert.equal(restored(), 0)
    rmSync(path)
    mkdirSync(path)
    await writer.stop()
    assert.equal(lines.length, 3)
  })
})
