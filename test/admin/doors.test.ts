import assert from 'node:assert/strict'
import { once } from 'node:events'
import { chmodSync, existsSync, lstatSync, mkdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import test, { describe, type TestContext } from 'node:test'
import { pino } from 'pino'
import { AdminDoors } from '../../gateway/admin/doors.ts'
import { readAdminToken } from '../../gateway/admin/token.ts'
import { bindServer, closeServer } from '../../net/listen.ts'
import { temporaryDirectory } from '../harness/temporary.ts'
import { FakeControl } from './control.ts'
import { ANY_PORT, ask, BEARER, converse, openDoors, Reading, TOKEN } from './doors.ts'

function closedDoors(t: TestContext): AdminDoors {
  const doors = new AdminDoors(new FakeControl(), pino({ level: 'silent' }))
  t.after(() => doors.close())
  return doors
}

describe('the socket', () => {
  test('is for its owner alone, and goes with the doors', async (t) => {
    const before = process.umask(0)
    t.after(() => process.umask(before))
    const { doors, socketPath } = await openDoors(t)
    assert.equal(lstatSync(socketPath).mode & 0o777, 0o600)
    assert.equal(process.umask(), 0)
    await doors.close()
    assert.ok(!existsSync(socketPath))
  })

  test('takes the place of one that a crash left behind', async (t) => {
    const path = join(temporaryDirectory(t), 'admin.sock')
    // bound, and then its file put back as a crash would leave it
    const crashed = createServer().listen(path)
    await once(crashed, 'listening')
    const kept = `${path}.kept`
    renameSync(path, kept)
    await closeServer(crashed)
    renameSync(kept, path)
    assert.ok(lstatSync(path).isSocket())
    const doors = closedDoors(t)
    await doors.openSocket(path)
    assert.equal((await converse(connect(path), ask('GET /healthz'))).status, 200)
  })

  test('takes the place of nothing else', async (t) => {
    const directory = temporaryDirectory(t)
    writeFileSync(join(directory, 'file'), 'precious')
    mkdirSync(join(directory, 'directory'))
    symlinkSync(join(directory, 'file'), join(directory, 'link'))
    for (const name of ['file', 'directory', 'link']) {
      await assert.rejects(closedDoors(t).openSocket(join(directory, name)), {
        name: 'OperationalError',
        code: 'ATLAS_STATE',
        message: /^Cannot open the admin socket .*: expected a socket or nothing there: received something else$/,
      })
      assert.ok(existsSync(join(directory, name)))
    }
  })

  test('has a path that the system can take', async (t) => {
    const path = join(temporaryDirectory(t), 'x'.repeat(100))
    await assert.rejects(closedDoors(t).openSocket(path), {
      code: 'ATLAS_STATE',
      message: /expected at most 10[37] octets.*: received 1\d\d;/,
    })
    await assert.rejects(closedDoors(t).openSocket(join(temporaryDirectory(t), 'missing', 'admin.sock')), { code: 'ATLAS_STATE' })
  })
})

describe('the TCP listener', () => {
  test('is changed without a moment in which there is none', async (t) => {
    const { doors, control, connectTcp } = await openDoors(t)
    const before = doors.endpoint
    await doors.reconfigure({ endpoint: ANY_PORT, token: `${TOKEN}-2`, hosts: ['gw'] })
    assert.deepEqual(doors.endpoint, before)
    assert.equal((await converse(connectTcp(), ask('GET /v1/status', BEARER))).status, 401)
    const second = `Authorization: Bearer ${TOKEN}-2\r\n`
    assert.equal((await converse(connectTcp(), ask('GET /v1/status', second))).status, 200)
    // the reload that moves it is asked for through it
    control.onReload = () => doors.reconfigure({ endpoint: { host: '127.0.0.2', port: 0 }, token: TOKEN, hosts: [] })
    const idle = new Reading(connectTcp())
    idle.socket.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n')
    await idle.until(/ok\n/)
    const old = connectTcp()
    assert.equal((await converse(old, ask('POST /v1/reload', second))).status, 200)
    await idle.toEnd()
    assert.equal(doors.endpoint?.host, '127.0.0.2')
    const refused = new Reading(connect(before?.port ?? 0, '127.0.0.1'))
    assert.equal(await refused.toEnd(), '')
  })

  test('stays as it was where the new address cannot be bound', async (t) => {
    const { doors, tcp } = await openDoors(t)
    const taken = createServer()
    t.after(() => closeServer(taken))
    const endpoint = await bindServer(taken, { name: 'test', endpoint: ANY_PORT })
    const before = doors.endpoint
    await assert.rejects(doors.reconfigure({ endpoint, token: null, hosts: [] }), {
      code: 'ATLAS_LISTEN',
      message: `Cannot listen for admin on 127.0.0.1:${endpoint.port}: the address is in use by another process`,
    })
    assert.deepEqual(doors.endpoint, before)
    assert.equal((await tcp(ask('GET /v1/status', BEARER))).status, 200)
  })

  test('can be switched off and on, and the socket stays', async (t) => {
    const { doors, socket, tcp } = await openDoors(t)
    await doors.reconfigure(null)
    assert.equal(doors.endpoint, null)
    assert.equal((await socket(ask('GET /healthz'))).status, 200)
    await doors.reconfigure({ endpoint: ANY_PORT, token: null, hosts: [] })
    assert.equal((await tcp(ask('GET /healthz'))).status, 200)
  })

  test('finishes what it has begun on an address that is given up, and begins nothing there', async (t) => {
    const { doors, control, connectTcp } = await openDoors(t)
    const { begun, finish } = heldReload(control)
    const reading = new Reading(connectTcp())
    reading.socket.write(RELOAD)
    await begun
    await doors.reconfigure(null)
    reading.socket.write(`GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n`)
    finish()
    const statuses = [...(await reading.toEnd()).matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status)
    assert.deepEqual(statuses, ['200', '503'])
  })

  test('ends what takes too long on an address that is given up', async (t) => {
    const { doors, control, connectTcp } = await openDoors(t, { times: { retirementMs: 40 } })
    const { begun } = heldReload(control)
    const reading = new Reading(connectTcp())
    reading.socket.write(RELOAD)
    await begun
    await doors.reconfigure(null)
    assert.equal(await reading.toEnd(), '')
  })
})

const RELOAD = `POST /v1/reload HTTP/1.1\r\nHost: localhost\r\n${BEARER}\r\n`

/** Reloads begin, and end when the test says so. */
function heldReload(control: FakeControl): { begun: Promise<void>; finish: () => void } {
  const [begun, finished] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  control.onReload = () => {
    begun.resolve()
    return finished.promise
  }
  return { begun: begun.promise, finish: finished.resolve }
}

test('drain answers before it drains, though draining ends everything', async (t) => {
  const { doors, control, socket } = await openDoors(t)
  const closed = new Promise<void>((resolve) => {
    control.onDrain = () => void doors.close().then(resolve)
  })
  const reply = await socket('POST /v1/drain HTTP/1.1\r\nHost: localhost\r\n\r\n')
  assert.deepEqual([reply.status, JSON.parse(reply.body)], [202, { draining: true }])
  await closed
  assert.deepEqual(control.calls, ['drain'])
})

test('closing ends what is being asked, and what is being opened', async (t) => {
  const { doors, connectSocket, connectTcp } = await openDoors(t)
  const readings = [new Reading(connectSocket()), new Reading(connectTcp())]
  for (const { socket } of readings) socket.write('GET /v1/status HTTP/1.1\r\n')
  const server = createServer()
  const endpoint = await bindServer(server, { name: 'test', endpoint: ANY_PORT })
  await closeServer(server)
  const late = doors.reconfigure({ endpoint, token: null, hosts: [] })
  await doors.close()
  await late
  for (const reading of readings) assert.equal(await reading.toEnd(), '')
  assert.equal(doors.endpoint, null)
  await bindServer(server, { name: 'test', endpoint })
  await closeServer(server)
})

test('preloading spares the first request the wait, and nothing is lost without it', async (t) => {
  const doors = closedDoors(t)
  await doors.preload()
  await doors.preload()
  const path = join(temporaryDirectory(t), 'admin.sock')
  await doors.openSocket(path)
  assert.equal((await converse(connect(path), ask('GET /readyz'))).status, 200)
})

describe('the token file', () => {
  const written = (t: TestContext, content: string | Buffer) => {
    const file = join(temporaryDirectory(t), 'token')
    writeFileSync(file, content, { mode: 0o600 })
    return file
  }

  test('holds 16 to 1,024 visible ASCII characters and perhaps the end of the line', (t) => {
    for (const token of ['0123456789abcdef', 'x'.repeat(1_024), '!"#$%&\'()*+,-./:;<=>?@[]^_`{|}~\\']) {
      for (const end of ['', '\n', '\r\n']) assert.deepEqual(readAdminToken(written(t, token + end)), { token, warning: null })
    }
  })

  test('is refused otherwise, without a word of it', (t) => {
    const cases: readonly [content: string | Buffer, message: RegExp][] = [
      ['', /expected 16 to 1024 characters: received 0$/],
      ['secret789abcdef', /received 15$/],
      [`secret${'x'.repeat(1_019)}`, /received 1025$/],
      ['secret789abcdef\n\n', /expected one line of visible ASCII characters: received others too$/],
      ['secret 9abcdefgh', /visible ASCII/],
      ['secret789abcdefé', /visible ASCII/],
      ['secret\n89abcdefgh', /visible ASCII/],
      [Buffer.from('secret789abcdef\xff', 'latin1'), /UTF-8/],
      [`secret${'x'.repeat(5_000)}`, /at most 4096 characters: received more$/],
      [Buffer.alloc(2_000_000, 'secret'), /received more$/],
    ]
    for (const [content, message] of cases) {
      assert.throws(
        () => readAdminToken(written(t, content)),
        (error: Error & { code?: string }) =>
          error.code === 'ATLAS_CONFIG' && message.test(error.message) && !error.message.includes('secret'),
        String(message),
      )
    }
    assert.throws(() => readAdminToken(join(temporaryDirectory(t), 'none')), { code: 'ATLAS_CONFIG', message: /does not exist/ })
    assert.throws(() => readAdminToken(temporaryDirectory(t)), { code: 'ATLAS_CONFIG', message: /a directory/ })
  })

  test('is best read by its owner only', (t) => {
    const file = written(t, '0123456789abcdef')
    for (const mode of [0o640, 0o604, 0o644]) {
      chmodSync(file, mode)
      assert.equal(
        readAdminToken(file).warning,
        `${file}: expected a file that only its owner can read: received mode 0${mode.toString(8)}`,
      )
    }
  })
})
