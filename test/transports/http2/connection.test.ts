import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { Failure } from '../../../dns/failure.ts'
import { Flusher } from '../../../net/flusher.ts'
import { OutputBudget } from '../../../net/output-budget.ts'
import { Wheel } from '../../../net/wheel.ts'
import { Http2Connection, type Http2ConnectionOptions } from '../../../transports/http2/connection.ts'
import { HTTP2_LIMITS, type Http2Limits } from '../../../transports/http2/limits.ts'
import { PREFACE } from '../../../transports/http2/session.ts'
import type { Http2Stream } from '../../../transports/http2/stream.ts'
import { until } from '../../harness/until.ts'
import { GET, headers, SETTINGS, SETTINGS_ACK, settings } from './frames.ts'

const IDLE_MS = 5000
const GOAWAY = 7
const INITIAL_WINDOW_SIZE = 4
/** So that each thread may hold a thousand octets. */
const MANY_THREADS = 268_435

let now: number
let wheel: Wheel
let server: Server
let client: Socket
/** The requests that wait for the test, and what was counted. */
let streams: Http2Stream[]
let dropped: string[]
let received: Buffer

beforeEach(() => {
  now = 1000
  wheel = new Wheel(() => now)
  streams = []
  dropped = []
  received = Buffer.alloc(0)
})
afterEach(() => {
  client.destroy()
  server.close()
})

/** A connection over loopback, on a clock that stands still. */
async function open({
  limits,
  ...rest
}: Partial<Omit<Http2ConnectionOptions, 'limits'>> & { limits?: Partial<Http2Limits> } = {}): Promise<void> {
  const options: Http2ConnectionOptions = {
    clock: () => now,
    wheel,
    flusher: new Flusher(),
    budget: new OutputBudget(1),
    limits: { ...HTTP2_LIMITS, ...limits },
    idleMs: IDLE_MS,
    maxStreams: 100,
    connects: false,
    handler: { mayAccept: true, request: (stream) => void streams.push(stream), requestTooLarge: () => {} },
    dropped: (failure: Failure) => void dropped.push(failure.code),
    ...rest,
  }
  server = createServer((socket) => {
    socket.on('error', () => {})
    new Http2Connection(socket, options).watch()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  client = connect((server.address() as AddressInfo).port, '127.0.0.1')
  client.on('error', () => {})
  client.on('data', (chunk: Buffer) => {
    received = Buffer.concat([received, chunk])
  })
  client.write(Buffer.concat([PREFACE, SETTINGS, SETTINGS_ACK]))
}

function goaways(): readonly (readonly [lastStream: number, code: number])[] {
  const found: [number, number][] = []
  for (let at = 0; at + 9 <= received.length; at += 9 + received.readUIntBE(at, 3))
    if (received[at + 3] === GOAWAY) found.push([received.readUInt32BE(at + 9), received.readUInt32BE(at + 13)])
  return found
}

async function request(id: number): Promise<Http2Stream> {
  const before = streams.length
  client.write(headers(id, GET))
  await until(() => streams.length > before)
  return streams.at(-1) ?? assert.fail()
}

const answer = (stream: Http2Stream, octets: number) =>
  stream.respond({ maxLength: 1, write: (bytes, at) => bytes.writeUInt8(0x88, at) }, Buffer.alloc(octets))

test('an idle connection ends with GOAWAY (H2-12), one with an open request does not', async () => {
  await open()
  const stream = await request(1)
  now += 10 * IDLE_MS
  wheel.advance(now)
  answer(stream, 10)
  await until(() => stream.closed)
  assert.deepEqual(goaways(), [])
  now += 1000
  wheel.advance(now)
  await once(client, 'end')
  assert.deepEqual(goaways(), [[1, 0]])
})

test('an old connection is drained (H2-67)', async () => {
  await open({ limits: { maxAgeMs: 3000 } })
  await request(1)
  now += 3000
  wheel.advance(now)
  await until(() => goaways().length > 0)
  assert.deepEqual(goaways(), [[2 ** 31 - 1, 0]])
})

test('so is one that has asked enough', async () => {
  await open({ limits: { maxStreams: 2 } })
  await request(1)
  await request(3)
  await until(() => goaways().length > 0)
  assert.deepEqual(goaways(), [[2 ** 31 - 1, 0]])
})

test('a client that reads nothing is cut off (H2-64)', async () => {
  await open()
  client.pause()
  client.write(settings([INITIAL_WINDOW_SIZE, 2 ** 30]))
  // window of the connection
  client.write(Buffer.from('00000408000000000040000000', 'hex'))
  const stream = await request(1)
  stream.sendHeaders([[':status', '200']], false)
  for (let turns = 0; turns < 500; turns++) {
    if (stream.write(Buffer.alloc(65_536))) continue
    await turn()
  }
  now += 29_000
  wheel.advance(now)
  assert.deepEqual(dropped, [])
  now += 2000
  wheel.advance(now)
  await until(() => dropped.length > 0)
  assert.deepEqual([...new Set(dropped)], ['slow_reader'])
})

test('what waits counts in the budget of the process, and ends who goes beyond', async () => {
  const budget = new OutputBudget(MANY_THREADS)
  await open({ budget })
  client.write(settings([INITIAL_WINDOW_SIZE, 0]))
  answer(await request(1), 900)
  await turn()
  assert.deepEqual(dropped, [])
  const second = await request(3)
  answer(second, 900)
  await once(client, 'close')
  assert.deepEqual(dropped, ['output_limit'])
  await turn()
  // all of it was given back
  assert.equal(budget.take(999), true)
})
