import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { DIRECTORY, GRANULE, OFFSET_MASK, PAGE_END, SLOTS } from '../../gateway/cache/geometry.ts'
import type { CacheKey } from '../../gateway/cache/key.ts'
import type { CacheMemory } from '../../gateway/cache/memory.ts'
import { PageLocks } from '../../gateway/cache/page-locks.ts'
import { Stored } from '../../gateway/cache/table.ts'
import { factsOf, isTrue, keyOf, memoryOf, tableOf } from '../harness/cache-entries.ts'

/** Where the newest entry of a table of one page begins and ends, in words. */
function lastEntry({ answers }: CacheMemory): { at: number; end: number } {
  const offsets = new Uint16Array(answers.pages, DIRECTORY, SLOTS).map((slot) => slot & OFFSET_MASK)
  return { at: (Math.max(...offsets) * GRANULE) / 4, end: (new Int32Array(answers.pages)[PAGE_END] as number) / 4 }
}

/** A table of one page with these values of these keys, and what stands in its memory for each. */
function filled(...values: readonly { key: CacheKey; version: number }[]) {
  const memory = memoryOf(1)
  const table = tableOf(memory)
  const words = new Int32Array(memory.answers.pages)
  const entries = values.map(({ key, version }) => {
    assert.equal(table.store(key, factsOf(key, version), 0), Stored.YES)
    const { at, end } = lastEntry(memory)
    return { at, words: words.slice(at, end) }
  })
  return { table, words, entries }
}

/** Versions of `key` whose entries are of one size. */
function twins(key: CacheKey): { key: CacheKey; version: number }[] {
  const sizeOf = (version: number) => Math.ceil((factsOf(key, version).body?.end ?? 0) / GRANULE)
  let second = 1
  while (sizeOf(second) !== sizeOf(0)) second++
  return [
    { key, version: 0 },
    { key, version: second },
  ]
}

describe('what stands in the shared memory is believed only when it is whole:', () => {
  test('an entry with any one bit turned is not found', () => {
    const key = keyOf('www.example')
    const { table, words, entries } = filled({ key, version: 1 })
    const [entry] = entries
    assert.ok(entry)
    for (let bit = 0; bit < 32 * entry.words.length; bit++) {
      const at = entry.at + (bit >>> 5)
      words[at] = (words[at] as number) ^ (1 << (bit & 31))
      assert.equal(table.find(key), false, `bit ${bit}`)
      words[at] = (words[at] as number) ^ (1 << (bit & 31))
    }
    assert.ok(table.find(key) && isTrue(table.found, key))
    assert.equal(table.torn, 32 * entry.words.length)
  })

  test('the directory with any one bit turned leads to nothing, or to the truth', () => {
    const keys = Array.from({ length: 20 }, (_, i) => keyOf(`name-${i}.example`))
    const { table, words } = filled(...keys.map((key) => ({ key, version: 7 })))
    let found = 0
    for (let bit = 0; bit < 8 * 2 * SLOTS; bit++) {
      const at = DIRECTORY / 4 + (bit >>> 5)
      words[at] = (words[at] as number) ^ (1 << (bit & 31))
      for (const key of keys) {
        if (!table.find(key)) continue
        found++
        assert.ok(isTrue(table.found, key))
      }
      words[at] = (words[at] as number) ^ (1 << (bit & 31))
    }
    assert.ok(found > 0)
  })

  for (const [what, [mine, other]] of [
    ['two versions of it', twins(keyOf('www.example'))],
    ['it and that of another name', [twins(keyOf('www.example'))[0], { key: keyOf('ww2.example'), version: 0 }]],
  ] as const) {
    test(`an entry that is half of ${what} is not found`, () => {
      assert.ok(mine && other)
      // in separate tables, so that nothing else could be found
      const { words: others } = filled(other).entries[0] ?? { words: new Int32Array(0) }
      const { table, words, entries } = filled(mine)
      const [entry] = entries
      assert.ok(entry)
      // the last words of both may be the same
      const wholes = [entry.words, ...(other.key === mine.key ? [others] : [])]
      for (let cut = 1; cut < entry.words.length; cut++) {
        for (const [front, back] of [
          [entry.words, others],
          [others, entry.words],
        ] as const) {
          words.set(front.subarray(0, cut), entry.at)
          words.set(back.subarray(cut, entry.words.length), entry.at + cut)
          const now = words.slice(entry.at, entry.at + entry.words.length)
          const isWhole = wholes.some((whole) => now.every((word, i) => word === whole[i]))
          assert.equal(table.find(mine.key), isWhole, `cut at ${cut}`)
        }
      }
    })
  }

  test('an entry written by one who does not know the secret is not found', () => {
    const key = keyOf('www.example')
    const memory = memoryOf(1)
    const stranger = tableOf({ ...memory, secret: Uint32Array.of(1, 2, 3, 5) })
    assert.equal(stranger.store(key, factsOf(key, 1), 0), Stored.YES)
    assert.ok(stranger.find(key))
    assert.equal(tableOf(memory).find(key), false)
  })
})

test('pages that a dead thread was writing to, and no others, are cleared and can be used again', () => {
  const memory = memoryOf(4)
  const table = tableOf(memory)
  const keys = Array.from({ length: 40 }, (_, i) => keyOf(`name-${i}.example`))
  for (const key of keys) table.store(key, factsOf(key, 1), 0)
  const [dead, alive] = [new PageLocks(memory.answers.locks, 7), new PageLocks(memory.answers.locks, 8)]
  assert.ok(dead.tryLock(1) && dead.tryLock(2) && alive.tryLock(3))
  // half of a new page
  new Uint8Array(memory.answers.pages, 16_384, 5000).fill(0xa5)
  table.wipe(7)
  assert.deepEqual([...new Int32Array(memory.answers.locks)], [0, 0, 0, 8])
  for (const key of keys) {
    const page = table.pageOf(key)
    assert.equal(table.find(key), page === 0 || page === 3)
    assert.equal(table.store(key, factsOf(key, 2), 0), page === 3 ? Stored.BUSY : Stored.YES)
    assert.ok(table.find(key) && isTrue(table.found, key))
  }
})
