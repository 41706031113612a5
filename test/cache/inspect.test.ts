import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { Failure } from '../../dns/failure.ts'
import { PAGE_BYTES } from '../../gateway/cache/geometry.ts'
import { CacheInspector } from '../../gateway/cache/inspect.ts'
import { createCacheMemory } from '../../gateway/cache/memory.ts'
import { PageLocks } from '../../gateway/cache/page-locks.ts'
import { factsOf, keyOf, memoryOf, SECRET, tableOf, wireOf } from '../harness/cache-entries.ts'
import { Lab } from '../harness/lab.ts'
import { aRecord, hex, record, wireName } from '../harness/messages.ts'

const NXDOMAIN = 0x8183
const PAGES = 40
const MAIN = 9

function setUp(clockOffset = 0) {
  const memory = memoryOf(PAGES, clockOffset)
  const lab = new Lab({ memory })
  const inspector = new CacheInspector(memory, MAIN)
  const learn = (name: string) => {
    lab.ask(name)
    lab.answer({ answers: [aRecord()] })
  }
  const knows = (name: string): boolean => inspector.lookUp(wireOf(name), 0).answers.length > 0
  return { memory, lab, inspector, learn, knows }
}

describe('looking a name up', () => {
  test('shows every answer to it, however old', () => {
    const { lab, inspector } = setUp(5_000_000)
    const soa = record({ owner: wireName('example'), type: 6, rdata: Buffer.concat([hex('0000'), Buffer.alloc(20, 1)]), ttl: 60 })
    lab.ask('www.example')
    lab.answer({ answers: [aRecord('192.0.2.1', { ttl: 10 })] })
    lab.ask({ name: 'www.example', type: 16, optFlags: 0x8000, flags: 0x0110 })
    lab.answer({ answers: [record({ type: 16, ttl: 300, rdata: hex('0161') })] })
    lab.ask('no.example')
    lab.answer({ flags: NXDOMAIN, authorities: [soa] })
    for (let i = 0; i < 3; i++) lab.ask('www.example')
    lab.clock.advance(12_500)

    const { answers, failures } = inspector.lookUp(wireOf('WWW.Example'), lab.clock.now)
    assert.deepEqual(failures, [])
    const [a, txt] = answers.toSorted((one, other) => (one.type ?? 0) - (other.type ?? 0))
    const shared = { class: 1, network: null, space: 1, rcode: 0 }
    const bytes = (a?.bytes ?? 0) && (txt?.bytes ?? 0)
    assert.ok(bytes > 60 && bytes < 120 && bytes % 8 === 0)
    assert.deepEqual(
      { ...a, bytes },
      { ...shared, type: 1, dnssecOk: false, checkingDisabled: false, secondsLeft: -2.5, bytes, popularity: 3 },
    )
    assert.deepEqual(
      { ...txt, bytes },
      { ...shared, type: 16, dnssecOk: true, checkingDisabled: true, secondsLeft: 287.5, bytes, popularity: 0 },
    )

    const denied = inspector.lookUp(wireOf('no.example'), lab.clock.now).answers
    assert.deepEqual(
      denied.map(({ type, rcode, secondsLeft }) => [type, rcode, secondsLeft]),
      [[null, 3, 47.5]],
    )
    assert.deepEqual(inspector.lookUp(wireOf('example'), lab.clock.now), { answers: [], failures: [] })
  })

  test('shows failures, until there is an answer', () => {
    const { lab, inspector } = setUp()
    lab.ask({ name: 'www.example', type: 28 })
    lab.fail(Failure.upstream_timeout)
    lab.clock.advance(250)
    const failure = {
      type: 28,
      class: 1,
      dnssecOk: false,
      checkingDisabled: false,
      network: null,
      space: 1,
      reason: Failure.upstream_timeout.ede,
      secondsLeft: 0.75,
    }
    assert.deepEqual(inspector.lookUp(wireOf('www.example'), lab.clock.now), { answers: [], failures: [failure] })
    lab.clock.advance(750)
    lab.ask({ name: 'www.example', type: 28 })
    lab.answer({ answers: [record({ type: 28, rdata: Buffer.alloc(16) })] })
    const { answers, failures } = inspector.lookUp(wireOf('www.example'), lab.clock.now)
    assert.deepEqual([answers.length, failures], [1, []])
  })

  test('does not make it popular', () => {
    const { lab, inspector, learn } = setUp()
    learn('www.example')
    for (let i = 0; i < 3; i++) assert.equal(inspector.lookUp(wireOf('www.example'), lab.clock.now).answers[0]?.popularity, 0)
  })
})

describe('purging', () => {
  test('a name takes all of it, answers and failures, and nothing else', async () => {
    const { lab, inspector, learn, knows } = setUp()
    for (const name of ['www.example', 'example', 'a.www.example', 'ww.example', 'xwww.example']) learn(name)
    lab.ask({ name: 'www.example', type: 28 })
    lab.fail(Failure.upstream_timeout)
    assert.deepEqual(await inspector.purgeName(wireOf('wWw.example')), { entries: 2, busyPages: 0 })
    assert.deepEqual(inspector.lookUp(wireOf('www.example'), lab.clock.now), { answers: [], failures: [] })
    for (const name of ['example', 'a.www.example', 'ww.example', 'xwww.example']) assert.ok(knows(name), name)
    const before = lab.sent
    lab.ask('www.example')
    lab.ask({ name: 'www.example', type: 28 })
    assert.equal(lab.sent, before + 2)
    assert.deepEqual(await inspector.purgeName(wireOf('never.example')), { entries: 0, busyPages: 0 })
  })

  test('a suffix takes what is below it, by whole labels', async () => {
    const { memory, inspector, knows } = setUp()
    const table = tableOf(memory)
    const below = ['corp.example', 'www.corp.example', 'a.b.c.corp.example', 'corp.corp.example', 'CORP.EXAMPLE.corp.example']
    const other = ['xcorp.example', 'example', 'corp.example.net', 'orp.example', 'corp', 'x\\004corp.example', 'x\\004corp\\007example']
    for (const name of [...below, ...other]) table.store(keyOf(name), factsOf(keyOf(name), 1), 0)
    assert.deepEqual(await inspector.purgeSuffix(wireOf('Corp.exAMPle')), { entries: below.length, busyPages: 0 })
    for (const name of below) assert.equal(knows(name), false, name)
    for (const name of other) assert.ok(knows(name), name)
  })

  test('the root, or all, takes everything', async () => {
    for (const all of [
      (inspector: CacheInspector) => inspector.purgeSuffix(wireOf('.')),
      (inspector: CacheInspector) => inspector.purgeAll(),
    ]) {
      const { lab, inspector, learn } = setUp()
      for (let i = 0; i < 500; i++) learn(`name-${i}.example`)
      lab.ask({ name: '', type: 2 })
      lab.answer({ answers: [record({ type: 2, rdata: wireName('a.root-servers.net') })] })
      lab.ask('bad.example')
      lab.fail(Failure.upstream_timeout)
      const { entries } = inspector.statistics()
      assert.equal(entries, 501)
      assert.deepEqual(await all(inspector), { entries: 502, busyPages: 0 })
      assert.equal(inspector.statistics().entries, 0)
    }
  })

  test('comes back to a page that is busy, and says when it stays so', async (t) => {
    const { memory, inspector, learn, knows } = setUp()
    for (let i = 0; i < 200; i++) learn(`name-${i}.example`)
    const table = tableOf(memory)
    const busy = table.pageOf(keyOf('name-7.example'))
    const brief = busy === 0 ? 1 : 0
    const other = new PageLocks(memory.answers.locks, 7)
    assert.ok(other.tryLock(busy) && other.tryLock(brief))
    const timer = setTimeout(() => other.unlock(brief), 20)
    t.after(() => clearTimeout(timer))
    const left = table.countOf(busy)
    assert.deepEqual(await inspector.purgeAll(), { entries: 200 - left, busyPages: 1 })
    assert.equal(inspector.statistics().entries, left)
    assert.deepEqual(await inspector.purgeName(wireOf('name-7.example')), { entries: 0, busyPages: 1 })
    other.unlock(busy)
    assert.deepEqual(await inspector.purgeName(wireOf('name-7.example')), { entries: 1, busyPages: 0 })
    assert.equal(knows('name-7.example'), false)
  })

  test('leaves the event loop its turns', async () => {
    const memory = memoryOf(2000)
    const purged = new CacheInspector(memory, MAIN).purgeAll()
    let turns = 0
    let isOver = false
    const turn = () => {
      turns++
      if (!isOver) setImmediate(turn)
    }
    setImmediate(turn)
    await purged
    isOver = true
    assert.ok(turns > 50, `${turns}`)
  })
})

test('statistics count entries and octets', () => {
  const memory = memoryOf(PAGES)
  const inspector = new CacheInspector(memory, MAIN)
  assert.deepEqual(inspector.statistics(), { entries: 0, bytesUsed: 0, bytes: PAGES * PAGE_BYTES, pages: PAGES })
  const table = tableOf(memory)
  let used = 0
  for (let i = 0; i < 100; i++) {
    const key = keyOf(`name-${i}.example`)
    used -= table.endOf(table.pageOf(key))
    table.store(key, factsOf(key, i), 0)
    used += table.endOf(table.pageOf(key))
  }
  assert.deepEqual(inspector.statistics(), { entries: 100, bytesUsed: used, bytes: PAGES * PAGE_BYTES, pages: PAGES })
})

test('a cache without room for answers is empty, and has failures', async () => {
  const memory = createCacheMemory({ bytes: 0, secret: SECRET, clockOffset: 0 })
  const lab = new Lab({ memory })
  const inspector = new CacheInspector(memory, MAIN)
  lab.ask('www.example')
  lab.fail(Failure.upstream_timeout)
  const { answers, failures } = inspector.lookUp(wireOf('www.example'), lab.clock.now)
  assert.deepEqual([answers.length, failures.length], [0, 1])
  assert.deepEqual(inspector.statistics(), { entries: 0, bytesUsed: 0, bytes: 0, pages: 0 })
  assert.deepEqual(await inspector.purgeName(wireOf('www.example')), { entries: 1, busyPages: 0 })
})
