import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import test, { describe } from 'node:test'
import { ask, BEARER, openDoors, Reading } from './doors.ts'

const SHORT = { timeoutMs: 60, checkMs: 10 }
const KEEP = 'Host: localhost\r\n'

describe('a request', () => {
  const cases: readonly [what: string, octets: string][] = [
    ['that never begins', ''],
    ['whose header section does not end', `GET /healthz HTTP/1.1\r\n${KEEP}X: `],
    ['whose content does not come', `POST /v1/reload HTTP/1.1\r\n${KEEP}Content-Length: 10\r\n\r\n12345`],
    ['whose chunks do not end', `POST /v1/reload HTTP/1.1\r\n${KEEP}Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n`],
  ]
  for (const [what, octets] of cases) {
    test(`${what} is over after a while, and is not done`, async (t) => {
      const { connectSocket, connectTcp, control } = await openDoors(t, { times: SHORT })
      for (const connect of [connectSocket, connectTcp]) {
        const reading = new Reading(connect())
        reading.socket.write(octets)
        assert.match(await reading.toEnd(), /^(HTTP\/1\.1 408 |$)/)
      }
      assert.deepEqual(control.calls, [])
    })
  }

  test('without another one after it ends its connection', async (t) => {
    const { connectSocket } = await openDoors(t, { times: SHORT })
    const reading = new Reading(connectSocket())
    reading.socket.write(`GET /healthz HTTP/1.1\r\n${KEEP}\r\n`)
    assert.match(await reading.toEnd(), /^HTTP\/1\.1 200 .*ok\n$/s)
  })

  test('that takes long to do is waited for', async (t) => {
    const { connectSocket, control } = await openDoors(t, { times: SHORT })
    const patience = Promise.withResolvers<void>()
    control.onReload = () => patience.promise
    const reading = new Reading(connectSocket())
    reading.socket.write(ask('POST /v1/reload'))
    // others come and go meanwhile, each for longer than the time in which a request has to be there
    for (let i = 0; i < 3; i++)
      assert.equal(await new Reading(connectSocket()).toEnd(), 'HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n')
    patience.resolve()
    assert.match(await reading.toEnd(), /^HTTP\/1\.1 200 /)
  })

  test('whose answer nobody takes is over too', async (t) => {
    const { connectSocket, control } = await openDoors(t, { times: SHORT })
    control.renderMetrics = () => 'x'.repeat(2_000_000)
    const reading = new Reading(connectSocket())
    reading.socket.pause()
    reading.socket.write(`GET /metrics HTTP/1.1\r\n${KEEP}\r\n`)
    // Node looks twice whether anything was taken; the others show that more than this time has passed
    for (let i = 0; i < 5; i++) await new Reading(connectSocket()).toEnd()
    reading.socket.resume()
    assert.ok((await reading.toEnd()).length < 2_000_000)
  })

  const post = (fields: string, content: string) => ask('POST /v1/reload', fields) + content
  const chunks = (octets: number) => `${octets.toString(16)}\r\n${'x'.repeat(octets)}\r\n0\r\n\r\n`
  test('may have content, of which nothing is made, up to 64 KiB', async (t) => {
    const { socket, control } = await openDoors(t)
    assert.equal((await socket(post('Content-Length: 65536\r\n', 'x'.repeat(65_536)))).status, 200)
    assert.equal((await socket(post('Transfer-Encoding: chunked\r\n', chunks(65_536)))).status, 200)
    assert.equal((await socket(post('Content-Length: 3\r\nExpect: 100-continue\r\n', 'abc'))).status, 100)
    assert.equal(control.calls.length, 3)
    for (const path of ['/v1/reload', '/v1/status', '/nothing']) {
      assert.equal((await socket(ask(`POST ${path}`, 'Content-Length: 65537\r\n'))).status, 413)
      assert.equal((await socket(ask(`GET ${path}`, 'Transfer-Encoding: chunked\r\n') + chunks(65_537))).status, 413)
    }
    assert.equal(control.calls.length, 3)
  })

  test('has a header section of at most 16 KiB', async (t) => {
    const { socket } = await openDoors(t)
    assert.equal((await socket(ask('GET /healthz', `X: ${'x'.repeat(17_000)}\r\n`))).status, 431)
  })

  test('may follow another one at once', async (t) => {
    const { socket } = await openDoors(t)
    const { text } = await socket(
      `GET /healthz HTTP/1.1\r\n${KEEP}\r\nPOST /v1/reload HTTP/1.1\r\n${KEEP}Content-Length: 2\r\n\r\nab${ask('GET /readyz')}`,
    )
    assert.deepEqual(
      [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status),
      ['200', '200', '200'],
    )
    assert.match(text, /ready\n$/)
  })
})

test('there are 32 connections at each door, and room again when one ends', async (t) => {
  const { connectSocket, socket, tcp } = await openDoors(t)
  const open: Reading[] = []
  const answered = async (connection: Socket) => {
    const reading = new Reading(connection)
    reading.socket.write(`GET /healthz HTTP/1.1\r\n${KEEP}\r\n`)
    await reading.until(/ok\n/)
    return reading
  }
  for (let i = 0; i < 32; i++) open.push(await answered(connectSocket()))
  assert.equal(await new Reading(connectSocket()).toEnd(), '')
  assert.equal((await tcp(ask('GET /healthz'))).status, 200)
  const [first] = open
  first?.socket.end()
  await first?.toEnd()
  assert.equal((await socket(ask('GET /healthz'))).status, 200)
})

test('a client that goes away in the middle of anything does no harm', async (t) => {
  const { connectTcp, socket, control, log } = await openDoors(t)
  const patience = Promise.withResolvers<void>()
  control.onReload = () => patience.promise
  for (const octets of [
    'GET',
    ask('GET /v1/events', BEARER),
    ask('POST /v1/reload', BEARER),
    ask('POST /v1/reload', `${BEARER}Content-Length: 9\r\n`),
  ]) {
    const connection = connectTcp()
    connection.write(octets)
    await once(connection, 'connect')
    connection.resetAndDestroy()
  }
  patience.resolve()
  assert.equal((await socket(ask('GET /healthz'))).status, 200)
  assert.equal(log(), '')
})
