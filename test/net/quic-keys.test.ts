import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, watch, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, before, describe } from 'node:test'
import { Worker } from 'node:worker_threads'
import { Flusher } from '../../net/flusher.ts'
import { KeyDirectory } from '../../net/quic/key-files.ts'
import { createQuicEngine } from '../../net/quic/load.ts'
import type { QuicIdentity } from '../../net/quic.ts'
import { Wheel } from '../../net/wheel.ts'
import { issue } from '../certs/issue.ts'
import { started } from '../certs/local.ts'
import { until } from '../harness/until.ts'

let identity: QuicIdentity
let roots: string
let directory: string

before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'atlas-quic-keys-'))
  const { stateDir, ca } = await started()
  identity = ca.identity
  roots = readFileSync(join(stateDir, 'ca.pem'), 'utf8')
})
after(() => rmSync(directory, { recursive: true, force: true }))

test('the private key is written in the key directory, and removed again', async () => {
  const path = join(directory, 'watched')
  const engine = createQuicEngine(path, { wheel: new Wheel(() => 0), clock: () => 0, flusher: new Flusher() })
  assert.ok(!('unavailable' in engine))
  const seen = new Set<string | null>()
  const watcher = watch(path, (_event, name) => seen.add(name))
  const listener = await engine.listen({
    name: 'x',
    endpoint: { host: '127.0.0.1', port: 0 },
    protocol: 'x',
    identity,
    limits: { idleMs: 10_000, streams: 100, window: 262_144 },
    connections: 1,
    acceptor: { arrived: () => null },
  })
  await until(() => seen.has(`http3_${process.pid}_qkey.pem`))
  watcher.close()
  assert.deepEqual(readdirSync(path), [])
  await listener.close()
})

test('a key directory that cannot be used is an error of the state directory', () => {
  const path = join(directory, 'a-file')
  writeFileSync(path, '')
  assert.throws(() => createQuicEngine(path, { wheel: new Wheel(() => 0), clock: () => 0, flusher: new Flusher() }), {
    code: 'ATLAS_STATE',
  })
})

test('what a crash left in the key directory is removed', async () => {
  const path = mkdtempSync(join(directory, 'left-'))
  writeFileSync(join(path, 'http3_1_qkey.pem'), 'secret')
  await new KeyDirectory(path).use(async () => assert.deepEqual(readdirSync(path), []))
})

describe('in a worker thread', () => {
  before(() => mkdirSync(join(directory, 'worker')))
  const run = async (
    how: 'close' | 'exit' | 'guardless' | 'redial',
    own = { identity, roots },
  ): Promise<{ code: number; messages: unknown[] }> => {
    const key = join(directory, 'worker')
    const before = process.env.TMPDIR
    // as the main thread of the gateway has to do for its workers
    if (how !== 'guardless') process.env.TMPDIR = key
    const worker = new Worker(new URL('./quic-worker.ts', import.meta.url), { workerData: { key, ...own, how } })
    if (before === undefined) delete process.env.TMPDIR
    else process.env.TMPDIR = before
    const messages: unknown[] = []
    worker.on('message', (message) => messages.push(message))
    const [code] = (await once(worker, 'exit')) as [number]
    return { code, messages }
  }

  test('it works and ends by itself when it has been closed', async () => {
    assert.deepEqual(await run('close'), { code: 0, messages: ['echo'] })
  })

  test('the process survives a worker that ends without closing', async () => {
    assert.deepEqual(await run('exit'), { code: 7, messages: ['echo'] })
  })

  test('several at once do not get the roots and keys of each other', async () => {
    const runs = Array.from({ length: 3 }, async (_, i) => {
      const root = await issue({ isCa: true, subject: `CN=root ${i}` })
      const leaf = await issue({ names: ['localhost'], issuer: root })
      return run('redial', { identity: { chainPem: leaf.certPem, keyPem: leaf.keyPem }, roots: root.certPem })
    })
    for (const { messages } of await Promise.all(runs))
      assert.deepEqual(
        messages,
        Array.from({ length: 20 }, () => 'echo'),
      )
  })

  test('it refuses to write keys where the main thread did not say', async () => {
    const { messages } = await run('guardless')
    assert.match(String(messages[0]), /Cannot build QUIC in a worker thread/)
  })
})
