import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { Field } from '../../net/fields.ts'
import { Flusher } from '../../net/flusher.ts'
import { OutputBudget } from '../../net/output-budget.ts'
import { Wheel } from '../../net/wheel.ts'
import { DohService } from '../../transports/doh/exchange.ts'
import { Http2Front } from '../../transports/doh/http2.ts'
import { DohRules, NO_OFFER } from '../../transports/doh/request.ts'
import { HTTP2_LIMITS } from '../../transports/http2/limits.ts'
import { PREFACE } from '../../transports/http2/session.ts'
import { TestSocket } from '../harness/test-socket.ts'
import { data, headers, SETTINGS, SETTINGS_ACK } from './http2/frames.ts'

const POST: readonly Field[] = [
  [':method', 'POST'],
  [':scheme', 'https'],
  [':authority', 'dns.example'],
  [':path', '/dns-query'],
  ['content-type', 'application/dns-message'],
]
const WINDOW_UPDATE = 8
const GOAWAY = 7

test('what is held of requests that are not complete fits one window of the connection, and counts in the budget', async () => {
  const wheel = new Wheel(() => 0)
  const service = new DohService(new DohRules({ ...NO_OFFER, paths: ['/dns-query'] }, { covers: () => true, web: null }), {
    acceptor: { accept: () => assert.fail('nothing is complete') },
    clock: () => 0,
    wheel,
    meter: { dropped: () => {} } as never,
  })
  const budget = new OutputBudget(1)
  const front = new Http2Front(service, { clock: () => 0, wheel, flusher: new Flusher(), budget, ...service } as never)
  front.configure({ idleMs: 60_000, inFlight: 100 })
  const socket = new TestSocket(100_000_000)
  const peer = { address: '192.0.2.1', octets: new Uint8Array(16), port: 1, holder: null, refusal: null }
  front.serve(socket.asSocket(), peer, { altSvc: null, terms: { access: { has: () => true } } })
  socket.push(Buffer.concat([PREFACE, SETTINGS, SETTINGS_ACK]))
  const send = async (id: number, octets: number) => {
    const frames = Array.from({ length: Math.ceil(octets / 16_384) }, (_, i) =>
      data(id, Buffer.alloc(Math.min(16_384, octets - 16_384 * i))),
    )
    socket.push(Buffer.concat([headers(id, POST, 0), ...frames]))
    for (let i = 0; i < 5; i++) await turn()
  }
  for (const id of [1, 3, 5]) await send(id, 65_534)
  const credits = socket.frameTypes.filter((type) => type === WINDOW_UPDATE).length
  assert.equal(service.open.size, 3)
  await send(7, 65_534)
  // all of the 256 MiB but what is held
  assert.equal(budget.take(268_435_456 - 4 * 65_534), true)
  assert.equal(budget.take(1), false)
  assert.equal(socket.frameTypes.filter((type) => type === WINDOW_UPDATE).length, credits)
  await send(9, HTTP2_LIMITS.connectionWindow - 4 * 65_534 + 1)
  assert.ok(socket.frameTypes.includes(GOAWAY), 'beyond the window')
})
