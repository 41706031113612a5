import assert from 'node:assert/strict'
import { once } from 'node:events'
import { chmodSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import test, { describe, type TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { AdminClient, AdminError } from '../../gateway/admin/client.ts'
import type { ControlEvent, Status } from '../../gateway/admin/control.ts'
import { temporaryDirectory } from '../harness/temporary.ts'
import { until } from '../harness/until.ts'
import { openDoors } from './doors.ts'

/** Something behind a socket that is no gateway. */
async function behind(t: TestContext, answer: (socket: Socket) => void): Promise<AdminClient> {
  const path = join(temporaryDirectory(t), 'admin.sock')
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => {}))
    answer(socket)
  }).listen(path)
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  await once(server, 'listening')
  return new AdminClient(path)
}

const head = (fields = '') => `HTTP/1.1 200 OK\r\n${fields}\r\n`

describe('the client', () => {
  test('asks and does what the socket offers', async (t) => {
    const { control, socketPath } = await openDoors(t)
    const client = new AdminClient(socketPath)
    assert.deepEqual(await client.get<Status>('/v1/status'), control.status())
    assert.deepEqual(await client.post('/v1/reload?dryRun=true'), control.outcome)
    assert.deepEqual(await client.delete('/v1/cache/entries?suffix=example.com'), { entries: 4, busyPages: 0 })
    assert.deepEqual(control.calls, ['reload true', 'purge suffix example.com'])
  })

  test('hands on a no with everything that the gateway said', async (t) => {
    const { control, socketPath } = await openDoors(t)
    const client = new AdminClient(socketPath)
    control.outcome = {
      outcome: 'refused',
      code: 'ATLAS_CONFIG',
      message: 'it is wrong',
      problems: [{ where: 'a:1:1', path: 'b', message: 'c' }],
    }
    await assert.rejects(client.post('/v1/reload'), (error) => {
      assert.ok(error instanceof AdminError && error.code === 'ATLAS_ADMIN')
      assert.deepEqual([error.status, error.body, error.message], [422, control.outcome, 'Cannot POST /v1/reload: it is wrong'])
      return true
    })
    await assert.rejects(client.get('/v1/reload'), { status: 405, message: 'Cannot GET /v1/reload: expected POST: received GET' })
  })

  test('follows the events until it is told to stop, or the gateway ends', async (t) => {
    const { control, doors, socketPath } = await openDoors(t)
    const client = new AdminClient(socketPath)
    const stop = new AbortController()
    const seen: ControlEvent[] = []
    const others: ControlEvent[] = []
    const stopped = client.events((event) => {
      seen.push(event)
      if (event.message === 'stop') stop.abort()
    }, stop.signal)
    const ended = client.events((event) => void others.push(event), new AbortController().signal)
    while (seen.length === 0 || others.length === 0) {
      control.emit('start')
      await turn()
    }
    const sent = [control.emit('one \u2028'), control.emit('two\n\ndata: x'), control.emit('stop')]
    await stopped
    assert.deepEqual(seen.slice(-3), sent)
    await until(() => others.at(-1)?.message === 'stop')
    assert.deepEqual(others.slice(-3), sent)
    await doors.close()
    await ended
    // at once, without asking
    await client.events(() => {}, stop.signal)
  })

  test('says where it looked for a gateway', async (t) => {
    const path = join(temporaryDirectory(t), 'admin.sock')
    const none = {
      name: 'OperationalError',
      code: 'ATLAS_ADMIN',
      message: `Cannot reach the gateway at ${path}: no gateway is running with this state directory`,
    }
    const client = new AdminClient(path)
    await assert.rejects(client.get('/v1/status'), none)
    await assert.rejects(
      client.events(() => {}, new AbortController().signal),
      none,
    )
    assert.throws(() => new AdminClient(`/${'x'.repeat(120)}`), { code: 'ATLAS_STATE' })
  })

  test('says that it may not', { skip: process.getuid?.() === 0 && 'root may do everything' }, async (t) => {
    const { socketPath } = await openDoors(t)
    chmodSync(socketPath, 0)
    await assert.rejects(new AdminClient(socketPath).get('/v1/status'), { code: 'ATLAS_ADMIN', message: /permission denied/ })
  })

  const strange: readonly [what: string, answer: (socket: Socket) => void, message: RegExp][] = [
    ['silence', () => {}, /no answer within 0\.05 s$/],
    ['half an answer', (socket) => socket.write(`${head('content-length: 9\r\n')}{"a"`), /no answer within 0\.05 s$/],
    ['an end', (socket) => socket.end(), /socket hang up$/],
    ['something else', (socket) => socket.end('SSH-2.0-x\r\n'), /Parse Error/],
    ['no JSON', (socket) => socket.end(`${head()}<html>`), /expected JSON: received something else$/],
    ['a flood', (socket) => socket.end(`${head()}${' '.repeat(16_777_217)}`), /expected at most 16777216 octets: received more$/],
  ]
  for (const [what, answer, message] of strange) {
    test(`ends with an error where the answer is ${what}`, async (t) => {
      const client = await behind(t, answer)
      const timeoutMs = /no answer/.test(message.source) ? 50 : 10_000
      await assert.rejects(client.get('/v1/status', { timeoutMs }), { name: 'OperationalError', code: 'ATLAS_ADMIN', message })
    })
  }

  test('takes the connection that is cut off for the end of the events, if there were any', async (t) => {
    const cut = await behind(t, (socket) =>
      socket.once('data', () => socket.write(head('transfer-encoding: chunked\r\n'), () => socket.destroy())),
    )
    await cut.events(() => {}, new AbortController().signal)
    const none = await behind(t, (socket) => socket.once('data', () => socket.destroy()))
    await assert.rejects(
      none.events(() => {}, new AbortController().signal),
      { code: 'ATLAS_ADMIN' },
    )
  })

  test('takes no event without end', async (t) => {
    const client = await behind(t, (socket) => socket.write(`${head()}data: ${'x'.repeat(70_000)}`))
    await assert.rejects(
      client.events(() => {}, new AbortController().signal),
      { code: 'ATLAS_ADMIN', message: /expected events of at most/ },
    )
  })
})
