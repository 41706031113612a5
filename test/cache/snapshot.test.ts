import assert from 'node:assert/strict'
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import test, { describe } from 'node:test'
import { PageLocks } from '../../gateway/cache/page-locks.ts'
import { MAX_POPULARITY } from '../../gateway/cache/page-rewriter.ts'
import { writeSnapshot } from '../../gateway/cache/snapshot.ts'
import { bytesOf, factsOf, isTrue, keyOf, memoryOf, SECRET, tableOf } from '../harness/cache-entries.ts'
import { HandClock, Lab, ttlsOf } from '../harness/lab.ts'
import { aRecord } from '../harness/messages.ts'
import { openCacheMemory } from '../harness/snapshot.ts'
import { temporaryDirectory } from '../harness/temporary.ts'

const PAGES = 64
const AT = { fingerprint: 1, now: 0, wallClock: 0 }
const open = (path: string, rest = {}) => openCacheMemory(path, { bytes: bytesOf(PAGES), ...AT, ...rest })

function filled(pages = PAGES, entries = 3000) {
  const memory = memoryOf(pages)
  const table = tableOf(memory)
  const keys = Array.from({ length: entries }, (_, i) => keyOf(`name-${i}.example`))
  for (const [i, key] of keys.entries()) table.store(key, factsOf(key, i), 0)
  return { memory, table, keys: keys.filter((key) => table.find(key)) }
}

describe('a snapshot', () => {
  test('has every entry, octet by octet, and how popular it was', async (t) => {
    const path = join(temporaryDirectory(t), 'cache', 'snapshot.bin')
    const { memory, table, keys } = filled()
    for (let i = 0; i < MAX_POPULARITY; i++) table.find(keys[0] ?? keyOf('none'))
    const facts = await writeSnapshot(path, { memory, table, ...AT })
    const opened = open(path)
    assert.equal(opened.refused, null)
    assert.deepEqual(opened.restored, { entries: keys.length, ageMs: 0 })
    assert.deepEqual(facts, { entries: keys.length, bytes: statSync(path).size })
    assert.ok(keys.length > 2000)
    const restored = tableOf(opened.memory)
    for (const [i, key] of keys.entries()) {
      assert.ok(restored.find(key) && isTrue(restored.found, key))
      assert.equal(restored.popularity, i === 0 ? MAX_POPULARITY : 1)
    }
    assert.equal(restored.torn, 0)
  })

  test('is for its owner only, in a directory for its owner only, with nothing beside it', async (t) => {
    const directory = join(temporaryDirectory(t), 'cache')
    const path = join(directory, 'snapshot.bin')
    const umask = process.umask(0)
    t.after(() => process.umask(umask))
    await writeSnapshot(path, { ...filled(1), ...AT })
    assert.equal(statSync(path).mode & 0o777, 0o600)
    assert.equal(statSync(directory).mode & 0o777, 0o700)
    assert.deepEqual(readdirSync(directory), ['snapshot.bin'])
    process.umask(0o377)
    await writeSnapshot(path, { ...filled(1), ...AT })
    assert.equal(statSync(path).mode & 0o777, 0o600)
  })

  test('has no octets of what is not in use', async (t) => {
    const path = join(temporaryDirectory(t), 'snapshot.bin')
    const { bytes } = await writeSnapshot(path, { ...filled(PAGES, 1), ...AT })
    assert.ok(bytes < 2000, `${bytes}`)
    const { memory, table } = filled(PAGES, 0)
    await writeSnapshot(path, { memory, table, ...AT })
    assert.deepEqual(open(path).restored, { entries: 0, ageMs: 0 })
  })

  test('takes a few pages in a turn of the event loop, also where the table is empty', async (t) => {
    const path = join(temporaryDirectory(t), 'snapshot.bin')
    for (const { memory, table } of [filled(256, 10_000), filled(2000, 0)]) {
      const copied = [0]
      let isOver = false
      const turn = () => {
        copied.push(0)
        if (!isOver) setImmediate(turn)
      }
      setImmediate(turn)
      const copyPage = table.copyPage.bind(table)
      table.copyPage = (page, to) => {
        copied.push((copied.pop() ?? 0) + 1)
        return copyPage(page, to)
      }
      await writeSnapshot(path, { memory, table, ...AT })
      isOver = true
      assert.equal(
        copied.reduce((sum, pages) => sum + pages),
        table.pages,
      )
      assert.ok(Math.max(...copied) <= 64, `${Math.max(...copied)}`)
    }
  })

  test('waits a little for a page that is busy, then does without it', async (t) => {
    const path = join(temporaryDirectory(t), 'snapshot.bin')
    const { memory, table, keys } = filled()
    const other = new PageLocks(memory.answers.locks, 7)
    assert.ok(other.tryLock(3) && other.tryLock(5))
    const timer = setTimeout(() => other.unlock(3), 20)
    t.after(() => clearTimeout(timer))
    await writeSnapshot(path, { memory, table, ...AT })
    const restored = tableOf(open(path).memory)
    for (const key of keys) assert.equal(restored.find(key), table.pageOf(key) !== 5)
  })
})

describe('a cold start', () => {
  test('is no matter when there is no snapshot, or none is wanted', (t) => {
    for (const path of [null, join(temporaryDirectory(t), 'snapshot.bin'), join(temporaryDirectory(t), 'cache', 'snapshot.bin')]) {
      const opened = openCacheMemory(path, { bytes: bytesOf(PAGES), ...AT })
      assert.deepEqual([opened.restored, opened.refused], [null, null])
      assert.equal(tableOf(opened.memory).pages, PAGES)
    }
  })

  test('has a secret of its own', () => {
    const secrets = Array.from({ length: 8 }, () => openCacheMemory(null, { bytes: 0, ...AT }).memory.secret.join(' '))
    assert.equal(new Set([...secrets, SECRET.join(' ')]).size, 9)
  })
})

describe('the time of the table goes on:', () => {
  /** What a gateway has learned, as the next one finds it: `downMs` later by the wall clock, its own clock at `now`. */
  async function restart(path: string, { lab, memory }: { lab: Lab; memory: ReturnType<typeof memoryOf> }, downMs: number, now: number) {
    const wallClock = 1_700_000_000_000
    await writeSnapshot(path, { memory, table: tableOf(memory, 9), fingerprint: 1, now: lab.clock.now, wallClock })
    const opened = open(path, { now, wallClock: wallClock + downMs })
    assert.equal(opened.refused, null)
    const clock = new HandClock()
    clock.now = now
    return { opened, memory: opened.memory, lab: new Lab({ memory: opened.memory, clock }) }
  }

  function learned() {
    const memory = memoryOf(PAGES)
    const lab = new Lab({ memory })
    for (const [name, ttl] of [
      ['short.example', 10],
      ['long.example', 300],
    ] as const) {
      lab.ask(name)
      lab.answer({ answers: [aRecord('192.0.2.1', { ttl })] })
    }
    lab.clock.advance(3000)
    return { memory, lab }
  }

  test('TTLs age while the gateway is down, what has ended has ended', async (t) => {
    const path = join(temporaryDirectory(t), 'snapshot.bin')
    for (const now of [5, 50_000_000]) {
      const { opened, lab } = await restart(path, learned(), 100_000, now)
      assert.deepEqual(opened.restored, { entries: 2, ageMs: 100_000 })
      assert.deepEqual(ttlsOf(lab.ask('long.example').message), [197])
      assert.equal(lab.sent, 0)
      lab.ask('short.example')
      assert.equal(lab.sent, 1)
      lab.clock.advance(196_000)
      assert.deepEqual(ttlsOf(lab.ask('long.example').message), [1])
      lab.clock.advance(1000)
      lab.ask('long.example')
      assert.equal(lab.sent, 2)
    }
  })

  test('what has ended may be served stale as before', async (t) => {
    const path = join(temporaryDirectory(t), 'snapshot.bin')
    const { lab } = await restart(path, learned(), 3_600_000, 5)
    const reply = lab.ask('long.example')
    assert.equal(reply.message, null)
    lab.clock.advance(1820)
    assert.deepEqual([reply.ede, ttlsOf(reply.message)], [3, [30]])
  })

  test('a wall clock that went back makes nothing younger than it was', async (t) => {
    const path = join(temporaryDirectory(t), 'snapshot.bin')
    const { opened, lab } = await restart(path, learned(), -86_400_000, 5)
    assert.deepEqual(opened.restored, { entries: 2, ageMs: 0 })
    assert.deepEqual(ttlsOf(lab.ask('long.example').message), [297])
    assert.deepEqual(ttlsOf(lab.ask('short.example').message), [7])
  })

  test('from one restart to the next', async (t) => {
    const path = join(temporaryDirectory(t), 'snapshot.bin')
    let next: { lab: Lab; memory: ReturnType<typeof memoryOf> } = learned()
    for (const now of [5, 123_456_789, 77]) {
      next = await restart(path, next, 10_000, now)
      next.lab.clock.advance(5000)
    }
    assert.deepEqual(ttlsOf(next.lab.ask('long.example').message), [300 - 3 - 3 * 15])
  })
})
