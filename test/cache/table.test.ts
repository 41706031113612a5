import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { MAX_ENTRY_BYTES, PAGE_BYTES } from '../../gateway/cache/geometry.ts'
import { CacheKey } from '../../gateway/cache/key.ts'
import { createTableMemory, Stored, Table, type TableMemory } from '../../gateway/cache/table.ts'
import { SECRET } from '../harness/cache.ts'
import { wireName } from '../harness/messages.ts'

const key = new CacheKey(SECRET)

function keyOf(name: string, type = 1): CacheKey {
  const wire = wireName(name)
  key.readName(wire, 0, wire.length)
  key.facts = key.nameLength
  key.space = 1
  key.ofType(type, 1)
  return key
}

interface StoreOptions {
  readonly octets?: number
  readonly at?: number
  readonly lifetime?: number
  readonly now?: number
}

function store(table: Table, name: string, { octets = 100, at = 0, lifetime = 1000, now = at }: StoreOptions = {}): Stored {
  const bytes = new Uint8Array(octets).fill(name.length)
  const counts = { answers: 1, authorities: 0, additionals: 0 }
  const body = { bytes, start: 0, additional: octets, end: octets, ...counts, ttls: new Uint16Array(0), freshness: lifetime, at }
  return table.store(keyOf(name), { rcode: 0, reason: 0, scope: 0, at, lifetime, body }, now)
}

function makeTable(
  pages: number,
  {
    memory = createTableMemory(pages * (PAGE_BYTES + 4)),
    owner = 1,
    keepMs = 0,
  }: { memory?: TableMemory; owner?: number; keepMs?: number } = {},
): Table {
  return new Table(memory, { owner, seed: 7, keepMs })
}

const holds = (table: Table, name: string): boolean => table.find(keyOf(name))
const countOf = (table: Table): number => {
  let count = 0
  for (let page = 0; page < table.pages; page++) {
    let seen = 0
    table.visit(page, () => seen++)
    assert.equal(table.countOf(page), seen)
    assert.ok(table.endOf(page) <= PAGE_BYTES)
    count += seen
  }
  return count
}

describe('a table', () => {
  test('gives back what was stored, octet by octet', () => {
    const table = makeTable(16)
    for (let i = 0; i < 500; i++) store(table, `host${i}.example`, { octets: 1 + (i % 300) })
    for (let i = 0; i < 500; i++) {
      assert.ok(holds(table, `host${i}.example`), `${i}`)
      const { body, rcode } = table.found.answer({ now: 0, source: 'cache' })
      assert.equal(rcode, 0)
      assert.equal(body.end - body.start, 1 + (i % 300))
      assert.ok(body.bytes.subarray(body.start, body.end).every((octet) => octet === `host${i}.example`.length))
    }
    assert.equal(countOf(table), 500)
    assert.ok(!holds(table, 'host500.example'))
  })

  test('tells apart what shares a slot by chance', () => {
    const table = makeTable(1)
    for (let i = 0; i < 150; i++) {
      const of = keyOf('www.example')
      of.space = i
      of.ofType(1, 1)
      table.store(of, { rcode: 0, reason: 0, scope: 0, at: 0, lifetime: 9, body: null }, 0)
    }
    for (let i = 0; i < 20_000; i++) {
      const of = keyOf('www.example')
      if (i < 10_000) of.space = 1000 + i
      else of.facts |= (i - 9_999) << 8
      of.ofType(1, 1)
      assert.ok(!table.find(of), `${i}`)
    }
  })

  test('says how long an answer is fresh', () => {
    const table = makeTable(1)
    store(table, 'www.example', { lifetime: 100 })
    assert.ok(holds(table, 'www.example'))
    assert.equal(table.found.answer({ now: 30_500, source: 'cache' }).freshness(30_500), 70)
  })

  test('replaces an entry, and takes its room back', () => {
    const table = makeTable(1)
    store(table, 'other.example')
    for (let i = 0; i < 2000; i++) assert.equal(store(table, 'www.example', { octets: 50 + (i % 100), at: i }), Stored.YES)
    assert.equal(countOf(table), 2)
    assert.equal(table.evictions, 0)
    assert.ok(holds(table, 'www.example'))
    assert.equal(table.found.at, 1999)
    assert.ok(holds(table, 'other.example'))
  })

  test('keeps all types of a name in one page, and no more than fits', () => {
    const table = makeTable(4)
    for (let type = 1; type <= 50; type++) {
      const bytes = new Uint8Array(20)
      const body = {
        bytes,
        start: 0,
        additional: 20,
        end: 20,
        answers: 1,
        authorities: 0,
        additionals: 0,
        ttls: new Uint16Array(0),
        freshness: 9,
        at: 0,
      }
      table.store(keyOf('www.example', type), { rcode: 0, reason: 0, scope: 0, at: 0, lifetime: 9, body }, 0)
    }
    assert.equal(table.countOf(table.pageOf(keyOf('www.example'))), 50)
  })

  test('holds as many small entries as its directory has room for', () => {
    const table = makeTable(1)
    for (let i = 0; i < 1000; i++) store(table, `${i}`, { octets: 0 })
    const count = countOf(table)
    assert.ok(count >= 180 && count <= 208, `${count}`)
    assert.ok(holds(table, '999'))
  })

  test('takes entries of up to half a page', () => {
    const table = makeTable(1)
    const room = MAX_ENTRY_BYTES - 48 - 16
    assert.equal(store(table, 'large.example', { octets: room }), Stored.YES)
    assert.equal(store(table, 'second.example', { octets: room - 8 }), Stored.YES)
    assert.ok(holds(table, 'second.example'))
    assert.equal(store(table, 'larger.example', { octets: room + 1 }), Stored.TOO_LARGE)
    assert.equal(countOf(table), 2)
    assert.equal(store(table, 'third.example', { octets: room }), Stored.YES)
    assert.ok(holds(table, 'third.example'))
  })

  test('without a page keeps nothing', () => {
    const table = makeTable(0)
    assert.equal(store(table, 'www.example'), Stored.NOWHERE)
    assert.ok(!holds(table, 'www.example'))
  })

  test('does not wait for a page that another thread writes to, and is freed of what that died with', () => {
    const memory = createTableMemory(PAGE_BYTES + 4)
    const table = makeTable(1, { memory })
    store(table, 'before.example')
    Atomics.store(new Int32Array(memory.locks), 0, 9)
    assert.equal(store(table, 'www.example'), Stored.BUSY)
    assert.equal(
      table.remove(0, () => true),
      -1,
    )
    assert.ok(holds(table, 'before.example'), 'reading takes no lock')
    table.wipe(8)
    assert.equal(store(table, 'www.example'), Stored.BUSY)
    table.wipe(9)
    assert.ok(!holds(table, 'before.example'))
    assert.equal(store(table, 'www.example'), Stored.YES)
    assert.equal(countOf(table), 1)
  })

  test('spreads names over its pages by a secret', () => {
    const table = makeTable(64)
    for (let i = 0; i < 64 * 50; i++) store(table, `host${i}.example`)
    const counts = Array.from({ length: 64 }, (_, page) => table.countOf(page))
    assert.ok(Math.min(...counts) > 20 && Math.max(...counts) < 90, counts.join(' '))
    const pages = (secret: Uint32Array): number[] =>
      Array.from({ length: 32 }, (_, i) => {
        const wire = wireName(`host${i}.example`)
        const other = new CacheKey(secret)
        other.readName(wire, 0, wire.length)
        return table.pageOf(other)
      })
    assert.notDeepEqual(pages(Uint32Array.of(1, 2, 3, 4)), pages(Uint32Array.of(1, 3, 3, 4)))
  })
})

describe('a full page', () => {
  /** A page of 80 entries, the first half asked for often. */
  function fullPage(options: { keepMs?: number; lifetimes?: (i: number) => number } = {}): Table {
    const table = makeTable(1, { keepMs: options.keepMs ?? 0 })
    for (let i = 0; i < 80; i++) store(table, `host${i}.example`, { octets: 110, lifetime: options.lifetimes?.(i) ?? 1000 })
    return table
  }

  const kept = (table: Table, from: number, to: number): number => {
    let count = 0
    for (let i = from; i < to; i++) if (holds(table, `host${i}.example`)) count++
    return count
  }

  test('gives up what nobody asked for, the oldest first, and keeps the popular', () => {
    const table = fullPage()
    for (let i = 0; i < 40; i++) for (let times = 0; times < 256; times++) holds(table, `host${i}.example`)
    for (let i = 0; i < 20; i++) store(table, `new${i}.example`, { octets: 110 })
    assert.equal(kept(table, 0, 40), 40)
    assert.ok(kept(table, 40, 50) === 0)
    assert.ok(table.evictions > 0)
  })

  test('forgets popularity that is not renewed', () => {
    const table = fullPage()
    for (let i = 0; i < 40; i++) for (let times = 0; times < 10; times++) holds(table, `host${i}.example`)
    for (let i = 0; i < 1000; i++) store(table, `new${i}.example`, { octets: 110 })
    assert.equal(kept(table, 0, 80), 0)
  })

  test('gives up what is too old for anything, then what is past its end, before anything else', () => {
    const table = fullPage({ keepMs: 5000, lifetimes: (i) => (i < 10 ? 5 : i < 20 ? 1 : 1000) })
    // at 7 s: ten are beyond use, ten are expired, sixty are good
    for (let i = 0; i < 20; i++) for (let times = 0; times < 5; times++) holds(table, `host${i}.example`)
    for (let i = 0; i < 22; i++) store(table, `new${i}.example`, { octets: 110, at: 7000 })
    assert.equal(kept(table, 10, 20), 0)
    assert.equal(kept(table, 20, 80), 60)
    assert.ok(kept(table, 0, 10) > 0 && kept(table, 0, 10) < 10)
  })
})
