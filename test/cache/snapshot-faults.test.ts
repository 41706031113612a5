import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import test, { describe } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { writeSnapshot } from '../../gateway/cache/snapshot.ts'
import { bytesOf, factsOf, keyOf, memoryOf, tableOf } from '../harness/cache-entries.ts'
import { openCacheMemory } from '../harness/snapshot.ts'
import { temporaryDirectory } from '../harness/temporary.ts'

const PAGES = 4
const AT = { fingerprint: 1, now: 0, wallClock: 0 }

function filled() {
  const memory = memoryOf(PAGES)
  const table = tableOf(memory)
  for (let i = 0; i < 20; i++) {
    const key = keyOf(`name-${i}.example`)
    table.store(key, factsOf(key, i), 0)
  }
  return { memory, table }
}

describe('a snapshot that cannot be written leaves the one before as it was:', () => {
  const script = join(import.meta.dirname, 'snapshot-child.ts')

  test('when the disk is full', async (t) => {
    const path = join(temporaryDirectory(t), 'snapshot.bin')
    await writeSnapshot(path, { ...filled(), ...AT })
    const before = readFileSync(path)
    // the kernel ends a write in the middle, as it does on a full disk: EFBIG instead of ENOSPC
    const command = 'ulimit -f 200; exec "$0" "$@"'
    const result = JSON.parse(execFileSync('sh', ['-c', command, process.execPath, script, path, '200'], { encoding: 'utf8' }))
    assert.deepEqual(result, { code: 'ATLAS_CACHE', message: `Cannot write ${path}: EFBIG: file too large, write` })
    assert.deepEqual(readdirSync(dirname(path)), ['snapshot.bin'])
    assert.deepEqual(readFileSync(path), before)
  })

  test('when something is in its place', async (t) => {
    const path = join(temporaryDirectory(t), 'snapshot.bin')
    mkdirSync(path)
    await assert.rejects(writeSnapshot(path, { ...filled(), ...AT }), {
      code: 'ATLAS_CACHE',
      message: /^Cannot write .*snapshot\.bin: EISDIR/,
    })
    assert.deepEqual(readdirSync(dirname(path)), ['snapshot.bin'])
    rmSync(path, { recursive: true })
    writeFileSync(path, '')
    await assert.rejects(writeSnapshot(join(path, 'snapshot.bin'), { ...filled(), ...AT }), {
      code: 'ATLAS_CACHE',
      message: /ENOTDIR|EEXIST/,
    })
  })

  test('when the process is killed in the middle', async (t) => {
    const path = join(temporaryDirectory(t), 'snapshot.bin')
    const pages = 1000
    for (let i = 0; i < 3; i++) {
      const child = spawn(process.execPath, [script, path, `${pages}`], { stdio: 'ignore' })
      t.after(() => child.kill('SIGKILL'))
      await killWhileWriting(child, path)
      const opened = openCacheMemory(path, { bytes: bytesOf(pages), ...AT })
      assert.deepEqual(opened, { ...opened, restored: { entries: 10 * pages, ageMs: 0 }, refused: null })
    }
    assert.equal(readdirSync(dirname(path)).length, 2)
    await writeSnapshot(path, { ...filled(), ...AT })
    assert.deepEqual(readdirSync(dirname(path)), ['snapshot.bin'])
    assert.equal(openCacheMemory(path, { bytes: bytesOf(PAGES), ...AT }).restored?.entries, 20)
  })
})

/** Kills the child when there is a snapshot, and half of the next one. */
async function killWhileWriting(child: ChildProcess, path: string): Promise<void> {
  const exited = once(child, 'exit')
  const temporary = join(dirname(path), '.snapshot.bin.new')
  rmSync(temporary, { force: true })
  for (;;) {
    await sleep(1)
    assert.equal(child.exitCode, null, 'the child has ended by itself')
    if (!existsSync(path)) continue
    const size = statSync(temporary, { throwIfNoEntry: false })?.size ?? 0
    if (size === 0 || size > statSync(path).size / 2) continue
    child.kill('SIGKILL')
    await exited
    // it may have come to its end in the last moment
    if (existsSync(temporary)) return
    throw new Error('not killed in the middle')
  }
}
