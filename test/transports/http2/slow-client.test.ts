import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { Failure } from '../../../dns/failure.ts'
import type { Field } from '../../../net/fields.ts'
import { Flusher } from '../../../net/flusher.ts'
import { OutputBudget } from '../../../net/output-budget.ts'
import { Wheel } from '../../../net/wheel.ts'
import { Http2Connection } from '../../../transports/http2/connection.ts'
import { HTTP2_LIMITS } from '../../../transports/http2/limits.ts'
import { PREFACE } from '../../../transports/http2/session.ts'
import type { Http2Stream } from '../../../transports/http2/stream.ts'
import { TestSocket } from '../../harness/test-socket.ts'
import { data, frame, GET, headers, POST, ping, SETTINGS, SETTINGS_ACK, settings, windowUpdate } from './frames.ts'

const IDLE_MS = 5000
const STALL_MS = HTTP2_LIMITS.stallMs
const INITIAL_WINDOW_SIZE = 4
const MAX_INCREMENT = 2 ** 31 - 1 - 65_535
const UNLIMITED = Buffer.concat([settings([INITIAL_WINDOW_SIZE, 2 ** 31 - 1]), windowUpdate(0, MAX_INCREMENT)])

interface Parts {
  /** Of the budget. */
  readonly octets?: number
  readonly idleMs?: number
}

/** A connection on a clock that is turned by hand, whose requests wait for the test. */
class Stand {
  now = 1000
  readonly wheel = new Wheel(() => this.now)
  readonly socket = new TestSocket()
  readonly streams: Http2Stream[] = []
  readonly dropped: string[] = []
  readonly budget: OutputBudget
  readonly connection: Http2Connection

  constructor({ octets = 1_000_000, idleMs = IDLE_MS }: Parts = {}) {
    this.budget = new OutputBudget(268_435_456 / octets)
    this.connection = new Http2Connection(this.socket.asSocket(), {
      clock: () => this.now,
      wheel: this.wheel,
      flusher: new Flusher(),
      budget: this.budget,
      limits: HTTP2_LIMITS,
      idleMs,
      maxStreams: 100,
      connects: false,
      handler: { mayAccept: true, request: (stream) => void this.streams.push(stream), requestTooLarge: () => {} },
      dropped: (failure: Failure) => void this.dropped.push(failure.code),
    })
  }

  /** Hands over what a client has sent, and lets the answers leave. */
  async receive(...frames: readonly Buffer[]): Promise<void> {
    this.socket.push(Buffer.concat(frames))
    await this.settle()
  }

  /** Until nothing is under way any more. */
  async settle(): Promise<void> {
    for (let i = 0; i < 40; i++) await turn()
  }

  async pass(ms: number): Promise<void> {
    for (const end = this.now + ms; this.now < end; ) {
      this.now = Math.min(end, this.now + 1000)
      this.wheel.advance(this.now)
      await this.settle()
    }
  }

  get sent(): Buffer {
    return this.socket.sent
  }

  get types(): number[] {
    return this.socket.frameTypes
  }

  answer(i: number, octets: number): void {
    this.streams[i]?.respond({ maxLength: 1, write: (bytes, at) => bytes.writeUInt8(0x88, at) }, Buffer.alloc(octets, i))
  }
}

const GOAWAY = 7

async function start(parts: Parts = {}): Promise<Stand> {
  const stand = new Stand(parts)
  await stand.receive(PREFACE, SETTINGS, SETTINGS_ACK)
  return stand
}

test('what is ready in one turn leaves in one write', async () => {
  const stand = await start()
  await stand.receive(headers(1, GET), headers(3, GET))
  const before = stand.socket.writes.length
  stand.answer(0, 100)
  stand.answer(1, 100)
  await stand.settle()
  assert.equal(stand.socket.writes.length, before + 1)
})

test('what is too much for one turn leaves in several', async () => {
  const stand = await start({ octets: 10_000_000 })
  await stand.receive(UNLIMITED, headers(1, GET))
  const before = stand.sent.length
  const [stream] = stand.streams
  stream?.sendHeaders([[':status', '200']], false)
  stream?.write(Buffer.alloc(2_000_000))
  stream?.end([])
  await stand.settle()
  assert.ok(stand.sent.length - before > 2_000_000)
  assert.ok(stand.socket.writes.every((chunk) => chunk.length < 600_000))
})

describe('a client that takes nothing', () => {
  /** The socket holds one answer and says that it is full; all streams have ended. */
  async function blocked(parts: Parts = {}): Promise<Stand> {
    const stand = await start(parts)
    await stand.pass(2000)
    await stand.receive(headers(1, GET))
    stand.socket.isFull = true
    stand.answer(0, 20_000)
    await stand.settle()
    assert.ok(stand.socket.writableNeedDrain)
    return stand
  }

  test('gets nothing more until it has taken that, and then all', async () => {
    const stand = await blocked()
    await stand.receive(headers(3, GET), headers(5, GET))
    stand.answer(1, 1000)
    stand.streams[2]?.sendHeaders([[':status', '200']], false)
    stand.streams[2]?.write(Buffer.alloc(1000, 2))
    await stand.settle()
    assert.equal(stand.sent.includes(Buffer.alloc(1000, 1)), false)
    stand.socket.takeAll()
    await stand.settle()
    assert.ok(stand.sent.includes(Buffer.alloc(1000, 1)))
    assert.ok(stand.sent.includes(Buffer.alloc(1000, 2)))
    assert.equal(stand.socket.writableLength, 0)
  })

  test('is not idle, and not thought slow for what was', async () => {
    const stand = await blocked()
    await stand.pass(STALL_MS - 1000)
    await stand.receive(headers(3, GET))
    stand.socket.takeAll()
    await stand.pass(IDLE_MS - 1000)
    assert.deepEqual([stand.dropped, stand.types.includes(GOAWAY)], [[], false])
  })

  test('is not read while more than 64 KiB wait, and is again when it has taken them', async () => {
    const stand = await blocked()
    const heads = async (first: number, count: number) => {
      for (let id = first; id < first + 2 * count; id += 2) await stand.receive(headers(id, GET))
      const fields: Field[] = [
        [':status', '200'],
        ['x', 'y'.repeat(2000)],
      ]
      for (const stream of stand.streams.slice(-count)) stream.sendHeaders(fields, true)
      await stand.settle()
    }
    await heads(3, 20)
    assert.equal(stand.socket.isPaused(), false)
    await heads(43, 20)
    assert.equal(stand.socket.isPaused(), true)
    stand.socket.takeAll()
    await stand.settle()
    assert.equal(stand.socket.isPaused(), false)
    assert.equal(stand.types.filter((type) => type === 1).length, 41)
  })

  test('is cut off after 30 s, whatever it may be otherwise', async () => {
    const stand = await blocked({ idleMs: 10 * STALL_MS })
    await stand.pass(STALL_MS - 1000)
    assert.deepEqual([stand.dropped, stand.socket.destroyed, stand.types.includes(GOAWAY)], [[], false, false])
    await stand.pass(2000)
    assert.deepEqual([stand.dropped, stand.socket.destroyed], [['slow_reader'], true])
  })

  test('is cut off after 30 s also when the socket has room for all that is to be said', async () => {
    const stand = await start()
    stand.socket.isFull = true
    await stand.pass(IDLE_MS)
    assert.deepEqual([stand.socket.writableNeedDrain, stand.socket.writableEnded], [false, true])
    await stand.pass(STALL_MS + 1000)
    assert.deepEqual([stand.dropped, stand.socket.destroyed, stand.wheel.size], [['slow_reader'], true, 0])
  })

  test('is cut off after 30 s also when it has broken a rule', async () => {
    const stand = await blocked()
    // DATA on stream 0
    await stand.receive(frame(0, 0, 0))
    assert.deepEqual(stand.dropped, ['http2_error'])
    await stand.pass(STALL_MS + 1000)
    assert.deepEqual([stand.dropped, stand.socket.destroyed], [['http2_error', 'slow_reader'], true])
  })

  test('hears why when it has broken a rule and takes what waits', async () => {
    const stand = await blocked()
    await stand.receive(frame(0, 0, 0))
    assert.equal(stand.socket.writableEnded, false)
    stand.socket.takeAll()
    await stand.settle()
    assert.deepEqual([stand.types.at(-1), stand.socket.writableEnded], [GOAWAY, true])
  })

  test('counts in the budget with what the socket holds, until it takes it', async () => {
    const stand = await start({ octets: 30_000 })
    await stand.receive(headers(1, GET), headers(3, GET))
    stand.socket.isFull = true
    stand.answer(0, 20_000)
    await stand.settle()
    assert.equal(stand.budget.take(9000), true)
    assert.equal(stand.budget.take(2000), false)
    stand.budget.give(11_000)
    stand.socket.takeAll()
    await stand.settle()
    assert.equal(stand.budget.take(30_000), true)
    stand.budget.give(30_000)
    stand.socket.isFull = true
    stand.answer(1, 29_990)
    await stand.settle()
    assert.deepEqual([stand.dropped, stand.socket.destroyed], [['output_limit'], true])
    await stand.settle()
    assert.equal(stand.budget.take(30_000), true)
  })
})

test('content that nobody has consumed counts in the budget', async () => {
  const stand = await start({ octets: 1000 })
  await stand.receive(headers(1, POST, 0), data(1, Buffer.alloc(900)))
  assert.deepEqual(stand.dropped, [])
  await stand.receive(data(1, Buffer.alloc(200)))
  assert.deepEqual([stand.dropped, stand.socket.destroyed], [['output_limit'], true])
})

describe('the time that a connection has', () => {
  test('begins anew with each request, and with nothing else', async () => {
    const stand = await start()
    await stand.pass(IDLE_MS - 1000)
    await stand.receive(headers(1, GET))
    stand.answer(0, 10)
    await stand.receive(ping('01234567'))
    await stand.pass(IDLE_MS - 1000)
    await stand.receive(ping('01234567'))
    assert.equal(stand.types.includes(GOAWAY), false)
    await stand.pass(1000)
    assert.deepEqual([stand.types.at(-1), stand.socket.writableEnded], [GOAWAY, true])
  })

  test('is that of the handshake when the client never begins', async () => {
    const stand = new Stand()
    await stand.receive(PREFACE)
    // longer than it may be idle, so that the handshake is what ends it
    await stand.receive(SETTINGS, headers(1, GET))
    await stand.pass(HTTP2_LIMITS.handshakeMs)
    assert.deepEqual(stand.dropped, ['http2_settings_timeout'])
  })

  test('is that of a field block as soon as one begins', async () => {
    const stand = await start({ idleMs: 10 * HTTP2_LIMITS.handshakeMs })
    await stand.pass(2000)
    await stand.receive(frame(1, 0, 1))
    await stand.pass(HTTP2_LIMITS.handshakeMs)
    assert.deepEqual(stand.dropped, ['http2_continuation_flood'])
  })

  test('is looked at every second while something is under way', async () => {
    const stand = await start()
    await stand.receive(headers(1, GET))
    const [stream] = stand.streams
    const heard: string[] = []
    const onAborted = () => void heard.push('aborted')
    if (stream !== undefined) stream.receiver = { onData() {}, onEnd() {}, onLate() {}, onWritable() {}, onAborted }
    await stand.pass(3 * IDLE_MS)
    assert.equal(stand.types.includes(GOAWAY), false)
    stand.socket.destroy()
    await stand.settle()
    assert.deepEqual([heard, stand.wheel.size], [['aborted'], 0])
  })
})

test('drain() says so at once', async () => {
  const stand = await start()
  stand.connection.drain()
  await stand.settle()
  assert.ok(stand.types.includes(GOAWAY))
})
