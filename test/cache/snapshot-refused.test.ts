import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  closeSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { describe, type TestContext } from 'node:test'
import { DIRECTORY, FIRST_ENTRY, GRANULE, OFFSET_MASK, PAGE_BYTES, PAGE_COUNT, PAGE_END, SLOTS } from '../../gateway/cache/geometry.ts'
import { writeSnapshot } from '../../gateway/cache/snapshot.ts'
import { END_OF_RECORDS, HEADER_BYTES, putRecord, RECORD_BYTES } from '../../gateway/cache/snapshot-format.ts'
import { bytesOf, factsOf, isTrue, keyOf, memoryOf, tableOf } from '../harness/cache-entries.ts'
import { openCacheMemory } from '../harness/snapshot.ts'
import { temporaryDirectory } from '../harness/temporary.ts'

const PAGES = 4
const AT = { fingerprint: 1, now: 0, wallClock: 0 }
const isRoot = process.geteuid?.() === 0

function filled(pages = PAGES) {
  const memory = memoryOf(pages)
  const table = tableOf(memory)
  for (let i = 0; i < 20; i++) {
    const key = keyOf(`name-${i}.example`)
    table.store(key, factsOf(key, i), 0)
  }
  return { memory, table }
}

/** A cold start, for one reason: nothing of the snapshot is there, and nothing is locked. */
function refusedFor(path: string, rest = {}): string {
  const { memory, restored, refused } = openCacheMemory(path, { bytes: bytesOf(PAGES), ...AT, ...rest })
  assert.equal(restored, null)
  assert.ok(refused)
  const pages = Buffer.from(memory.answers.pages)
  assert.ok(pages.equals(Buffer.alloc(pages.length)))
  assert.ok(new Int32Array(memory.answers.locks).every((word) => word === 0))
  return refused
}

/** Whether it is a slot of the directory, and in use. */
const isEntry = (half: number, at: number): boolean => at >= DIRECTORY / 2 && half !== 0

async function wholeSnapshot(): Promise<Buffer> {
  const directory = mkdtempSync(join(tmpdir(), 'atlas-test-'))
  try {
    const path = join(directory, 'snapshot.bin')
    await writeSnapshot(path, { ...filled(), ...AT })
    return readFileSync(path)
  } finally {
    rmSync(directory, { recursive: true })
  }
}

const whole = await wholeSnapshot()

describe('a snapshot is refused as a whole', () => {
  /** A file of these octets. */
  const put = (t: TestContext, bytes: Uint8Array = whole): string => {
    const path = join(temporaryDirectory(t), 'snapshot.bin')
    writeFileSync(path, bytes, { mode: 0o600 })
    return path
  }
  /** One whose checksums are right: written from pages that were not. */
  const written = async (t: TestContext, change: (words: Int32Array, halves: Uint16Array) => void): Promise<string> => {
    const path = join(temporaryDirectory(t), 'snapshot.bin')
    const source = filled(1)
    change(new Int32Array(source.memory.answers.pages), new Uint16Array(source.memory.answers.pages))
    await writeSnapshot(path, { ...source, ...AT })
    return path
  }

  test('and not for nothing: unchanged it is used', (t) => {
    const path = put(t)
    const { memory, restored, refused } = openCacheMemory(path, { bytes: bytesOf(PAGES), ...AT })
    assert.deepEqual([restored?.entries, refused], [20, null])
    const key = keyOf('name-7.example')
    const table = tableOf(memory)
    assert.ok(table.find(key) && isTrue(table.found, key))
  })

  test('when it ends early, wherever', (t) => {
    const path = put(t)
    for (let length = whole.length - 1; length >= 0; length -= length > 200 && length < whole.length - 200 ? 7 : 1) {
      truncateSync(path, length)
      assert.equal(refusedFor(path), 'it is truncated', `${length}`)
    }
  })

  test('when any one bit is turned, wherever', (t) => {
    const path = put(t)
    const bits = Array.from({ length: 8 * HEADER_BYTES + 8 * RECORD_BYTES }, (_, bit) => bit)
    for (let i = 0; i < 1500; i++) bits.push(Math.floor(8 * whole.length * Math.random()))
    const reasons = new Set<string>()
    const fd = openSync(path, 'r+')
    t.after(() => closeSync(fd))
    for (const bit of bits) {
      const octet = whole[bit >>> 3] as number
      writeSync(fd, Uint8Array.of(octet ^ (1 << (bit & 7))), 0, 1, bit >>> 3)
      reasons.add(refusedFor(path).replaceAll(/\d+/g, 'n'))
      writeSync(fd, Uint8Array.of(octet), 0, 1, bit >>> 3)
    }
    for (const reason of ['it is no snapshot', 'it is of version n instead of n', 'it is damaged: the checksum of the header is wrong']) {
      assert.ok(reasons.delete(reason), reason)
    }
    assert.ok(reasons.delete('it is damaged: the checksum of record n is wrong'))
    reasons.delete('it is truncated')
    assert.deepEqual([...reasons], [])
  })

  test('when it is of another version, configuration or size', (t) => {
    const path = put(t, Buffer.concat([whole.subarray(0, 8), Buffer.from([3]), whole.subarray(9)]))
    assert.equal(refusedFor(path), 'it is of version 3 instead of 2')
    writeFileSync(path, whole)
    assert.equal(refusedFor(path, { fingerprint: 2 }), 'it is of another configuration')
    assert.equal(refusedFor(path, { bytes: bytesOf(PAGES + 1) }), 'it is for a cache of another size: 4 pages instead of 5')
    assert.equal(refusedFor(path, { bytes: 0 }), 'it is for a cache of another size: 4 pages instead of 0')
  })

  test('when it is something else', (t) => {
    assert.equal(refusedFor(put(t, Buffer.alloc(0))), 'it is truncated')
    assert.equal(refusedFor(put(t, Buffer.from('# a text of some length'.repeat(100)))), 'it is no snapshot')
    const directory = temporaryDirectory(t)
    assert.equal(refusedFor(directory), 'it is not a regular file')
    const link = join(directory, 'link')
    symlinkSync(put(t), link)
    assert.equal(refusedFor(link), 'it is not a regular file')
    execFileSync('mkfifo', ['-m', '600', join(directory, 'fifo')])
    assert.equal(refusedFor(join(directory, 'fifo')), 'it is not a regular file')
    assert.equal(refusedFor('/dev/zero'), 'it is not a regular file')
    assert.match(refusedFor(join(link, 'snapshot.bin')), /ENOTDIR/)
  })

  test('when others could have written or read it', (t) => {
    const path = put(t)
    for (const mode of [0o604, 0o640, 0o620, 0o602, 0o601, 0o666]) {
      chmodSync(path, mode)
      assert.equal(refusedFor(path), `it is open to other users: mode ${mode.toString(8)}`)
    }
  })

  test('when it belongs to somebody else', { skip: !isRoot }, (t) => {
    const path = put(t)
    chownSync(path, 65_534, 65_534)
    assert.equal(refusedFor(path), 'it belongs to another user: 65534')
  })

  test('when it cannot be read', { skip: isRoot }, (t) => {
    const path = put(t)
    chmodSync(path, 0)
    assert.match(refusedFor(path), /EACCES/)
  })

  test('when something follows it, without reading all of that', (t) => {
    assert.match(refusedFor(put(t, Buffer.concat([whole, Buffer.alloc(1)]))), /end is not where it says/)
    const path = put(t)
    const started = performance.now()
    truncateSync(path, 2 ** 40)
    assert.match(refusedFor(path), /end is not where it says/)
    writeFileSync(path, '')
    truncateSync(path, 2 ** 40)
    assert.equal(refusedFor(path), 'it is no snapshot')
    assert.ok(performance.now() - started < 2000)
  })

  test('when records are left out, repeated, exchanged or of another snapshot', async (t) => {
    const end = HEADER_BYTES + RECORD_BYTES + whole.readUInt32LE(HEADER_BYTES + 8)
    const endOfSecond = end + RECORD_BYTES + whole.readUInt32LE(end + 8)
    const [header, first, second] = [whole.subarray(0, HEADER_BYTES), whole.subarray(HEADER_BYTES, end), whole.subarray(end, endOfSecond)]
    const rest = whole.subarray(endOfSecond)
    const path = put(t)
    await writeSnapshot(path, { ...filled(), ...AT, wallClock: 1 })
    const foreign = readFileSync(path).subarray(HEADER_BYTES, end)
    for (const parts of [
      [header, second, rest],
      [header, first, first, second, rest],
      [header, second, first, rest],
      [header, foreign, second, rest],
      [header, rest.subarray(-RECORD_BYTES)],
    ]) {
      assert.match(refusedFor(put(t, Buffer.concat(parts))), /the checksum of record \d is wrong/)
    }
  })

  test('when its records make no sense, though the checksums are right', (t) => {
    const page = Buffer.alloc(FIRST_ENTRY)
    page.writeUInt32LE(FIRST_ENTRY)
    const long = Buffer.concat([page, Buffer.alloc(GRANULE)])
    const record = (at: number, octets: Buffer, length = octets.length) => ({ at, octets, length })
    for (const [reason, records] of [
      [/no room for page 1/, [record(1, page), record(1, page)]],
      [/no room for page 4/, [record(PAGES, page)]],
      [/no room for page/, [record(END_OF_RECORDS - 1, page)]],
      [/page 1 is not sound/, [record(1, long)]],
      [/it is damaged/, [record(1, Buffer.alloc(PAGE_BYTES + 1))]],
      [/end is not where it says/, [record(1, page), record(END_OF_RECORDS, Buffer.alloc(0), 2)]],
    ] as const) {
      const parts = [whole.subarray(0, HEADER_BYTES)]
      let checksum = whole.readUInt32LE(HEADER_BYTES - 4)
      for (const { at, octets, length } of records) {
        const bytes = Buffer.concat([Buffer.alloc(RECORD_BYTES), octets])
        checksum = putRecord(bytes, { page: at, length }, checksum)
        parts.push(bytes)
      }
      assert.match(refusedFor(put(t, Buffer.concat(parts))), reason)
    }
  })

  for (const [what, change] of [
    ['ends within its directory', (words) => (words[PAGE_END] = FIRST_ENTRY - 8)],
    ['ends within a granule', (words) => (words[PAGE_END] = (words[PAGE_END] as number) - 4)],
    ['ends beyond itself', (words) => (words[PAGE_END] = PAGE_BYTES + 8)],
    ['counts one entry too many', (words) => (words[PAGE_COUNT] = 21)],
    ['has an entry within its directory', (_, halves) => (halves[halves.findIndex(isEntry)] = 1)],
    ['has an entry behind its end', (_, halves) => (halves[halves.findIndex(isEntry)] = OFFSET_MASK)],
    [
      'has no free slot',
      (words, halves) => {
        halves.fill(FIRST_ENTRY / GRANULE, DIRECTORY / 2, DIRECTORY / 2 + SLOTS)
        words[PAGE_COUNT] = SLOTS
      },
    ],
  ] as const satisfies readonly (readonly [string, (words: Int32Array, halves: Uint16Array) => void])[]) {
    test(`when a page ${what}, though the checksums are right`, async (t) => {
      const path = await written(t, change)
      assert.equal(refusedFor(path, { bytes: bytesOf(1) }), 'it is damaged: page 0 is not sound')
    })
  }
})
