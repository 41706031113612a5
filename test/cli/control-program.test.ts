import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import test, { describe } from 'node:test'
import { temporaryDirectory } from '../harness/temporary.ts'
import { closeDoor, openDoor } from './admin-door.ts'
import { REFUSED } from './recorded.ts'

const PROGRAM = new URL('../../deploy/atlas-dns', import.meta.url).pathname
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^ATLAS_|^FORCE_COLOR$|^NODE_OPTIONS$/.test(name)))

/** As a shell starts it. */
async function atlasDns(...words: string[]): Promise<{ readonly code: number; readonly out: string; readonly err: string }> {
  const child = spawn('sh', [PROGRAM, ...words], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  const [[code], out, err] = await Promise.all([once(child, 'close'), text(child.stdout), text(child.stderr)])
  return { code, out, err }
}

describe('the program', () => {
  test('shows a status, without colours where there is no terminal', async (t) => {
    const door = await openDoor(t)
    const { code, out, err } = await atlasDns('status', '--config', door.config)
    assert.deepEqual([code, err], [0, ''])
    assert.match(out, /^Atlas DNS 0\.1\.0, process 4711, up 3 d 4 h: ready\n/)
  })

  test('has the gateway judge a file that is wrong, and ends with 1', async (t) => {
    const door = await openDoor(t)
    door.status = 422
    const problems = [{ where: 'x.yaml:1:1', path: '', message: 'expected \u001b[2Jthis:\treceived that' }]
    door.answers.set('/v1/reload', { ...REFUSED, problems })
    writeFileSync(door.config, 'state: .\nbogus: 1\n')
    const { code, out, err } = await atlasDns('reload', '--config', door.config)
    const message = 'x.yaml:1:1: expected  [2Jthis: received that\nNothing was changed: the configuration in use stays.\n'
    assert.deepEqual([code, out, err], [1, '', message])
  })

  test('asks nobody when the file cannot be read, and says so', async (t) => {
    const door = await openDoor(t)
    writeFileSync(door.config, 'state: .\nlisten: [1\n')
    const { code, err } = await atlasDns('reload', '--config', door.config)
    assert.equal(code, 1)
    assert.match(err, /^\S+atlas\.yaml:\d:\d+: expected valid YAML.*\nThe running gateway was not asked, and nothing was changed/)
    assert.deepEqual(door.requests, [])
  })

  test('ends with 1 when no gateway runs, with 2 when it is called wrongly', async (t) => {
    const config = join(temporaryDirectory(t), 'atlas.yaml')
    writeFileSync(config, '')
    const [absent, wrong, help] = await Promise.all([
      atlasDns('upstreams', '--config', config),
      atlasDns('cache', 'bogus', '--config', config),
      atlasDns('top', '--help'),
    ])
    assert.equal(absent.code, 1)
    assert.match(absent.err, /no gateway is running with this state directory\n$/)
    assert.equal(wrong.code, 2)
    assert.deepEqual([help.code, /Examples:\n {2}\$ atlas-dns top/.test(help.out)], [0, true])
  })

  test('takes no harm when the reader has enough', async (t) => {
    const door = await openDoor(t)
    const child = spawn('sh', [PROGRAM, 'status', '--config', door.config], { env, stdio: ['ignore', 'pipe', 'pipe'] })
    child.stdout.destroy()
    const [[code], err] = await Promise.all([once(child, 'close'), text(child.stderr)])
    assert.deepEqual([code, err], [0, ''])
  })

  test('prints one frame of top where there is no terminal', async (t) => {
    const door = await openDoor(t)
    const { code, out } = await atlasDns('top', '--interval', '100ms', '--config', door.config)
    assert.equal(code, 0)
    assert.match(out, /^Atlas DNS 0\.1\.0.*\n0 queries\/s/)
    assert.doesNotMatch(out, /[^\P{C}\n]/u)
    closeDoor(door)
  })
})
