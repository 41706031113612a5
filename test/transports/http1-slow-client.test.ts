import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { Query } from '../../dns/query.ts'
import { readQuery } from '../../dns/query-reader.ts'
import { OutputBudget } from '../../net/output-budget.ts'
import { Wheel } from '../../net/wheel.ts'
import { DohService } from '../../transports/doh/exchange.ts'
import { Http1Front } from '../../transports/doh/http1.ts'
import { DohRules, NO_OFFER } from '../../transports/doh/request.ts'
import type { WebExchange } from '../../transports/web/exchange.ts'
import { question, readAnswer, record, response } from '../harness/messages.ts'
import { TestSocket } from '../harness/test-socket.ts'

/** RFC 6895 §3.1: for private use, so that any octets are well-formed. */
const OPAQUE = 65_280
const GET = `GET /dns-query?dns=${question({ name: 'example.com', type: OPAQUE }).toString('base64url')} HTTP/1.1\r\nhost: dns.example\r\n\r\n`
const IDLE_MS = 7000
/** So that the thread may hold a thousand octets. */
const MANY_THREADS = 268_435

async function serve({ threads = 1 }: { threads?: number } = {}) {
  const dropped: string[] = []
  const queries: Query[] = []
  const pages: WebExchange[] = []
  const budget = new OutputBudget(threads)
  const wheel = new Wheel(() => 0)
  const rules = new DohRules(
    { ...NO_OFFER, paths: ['/dns-query'] },
    { covers: () => true, web: { serve: (exchange) => void pages.push(exchange) } },
  )
  const service = new DohService(rules, {
    acceptor: { accept: (query) => void queries.push(query) },
    clock: () => 0,
    wheel,
    meter: { dropped: (failure: { code: string }) => void dropped.push(failure.code) } as never,
  })
  const front = new Http1Front(service, { budget })
  front.configure({ idleMs: IDLE_MS, inFlight: 100 })
  const socket = new TestSocket()
  front.serve(socket.asSocket(), { address: '192.0.2.1', port: 1234, holder: null, refusal: null } as never, {
    altSvc: null,
    terms: { access: { has: () => true } },
  })
  const ask = async (text = GET) => {
    socket.push(text)
    for (let i = 0; i < 5; i++) await turn()
  }
  return { front, socket, dropped, queries, pages, budget, ask }
}

type Stand = Awaited<ReturnType<typeof serve>>

async function answer({ queries, ask }: Stand, octets: number): Promise<void> {
  const query = queries.shift() ?? assert.fail()
  assert.equal(readQuery(query), null)
  const filler = record({ type: OPAQUE, rdata: Buffer.alloc(octets) })
  query.reply.deliver(query, readAnswer(query, response(query.wire, { answers: [filler] })))
  await ask('')
}

describe('a client that is silent', () => {
  test('between requests, has its idle time', async () => {
    const { ask, socket, dropped, ...rest } = await serve()
    await ask()
    await answer({ ask, socket, dropped, ...rest }, 10)
    assert.match(socket.sent.toString('latin1'), /^HTTP\/1\.1 200 /)
    assert.equal(socket.silenceMs, IDLE_MS + 1000)
    socket.emit('timeout')
    assert.deepEqual([socket.destroyed, dropped], [true, []])
  })

  test('while we owe it an answer, may wait for it', async () => {
    const { ask, socket, dropped } = await serve()
    await ask()
    socket.emit('timeout')
    assert.deepEqual([socket.destroyed, dropped], [false, []])
  })

  test('while a response waits for it, is cut off after 30 s', async () => {
    const stand = await serve()
    const { ask, socket, dropped } = stand
    socket.isFull = true
    await ask()
    await answer(stand, 10_000)
    assert.equal(socket.silenceMs, 30_000)
    socket.emit('timeout')
    assert.deepEqual([socket.destroyed, dropped], [true, ['slow_reader']])
  })

  test('in a tunnel, is the proxy’s', async () => {
    const { ask, socket, pages } = await serve()
    await ask('GET /chat HTTP/1.1\r\nhost: dns.example\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n')
    assert.equal(socket.silenceMs, 30_000)
    socket.emit('timeout')
    assert.equal(socket.destroyed, false)
    pages[0]?.respond(101, [], false)
    assert.equal(socket.silenceMs, 0)
  })
})

test('a client that goes leaves nothing behind, whatever is answered afterwards', async () => {
  const stand = await serve({ threads: MANY_THREADS })
  const { ask, socket, budget, front, queries } = stand
  socket.isFull = true
  await ask(GET + GET + GET)
  const [first, second, third] = queries.splice(0)
  assert.ok(first !== undefined && second !== undefined && third !== undefined)
  // this one waits for its turn
  queries.push(second)
  await answer(stand, 700)
  socket.destroy()
  await ask('')
  queries.push(first, third)
  await answer(stand, 700)
  await answer(stand, 700)
  assert.equal(budget.take(1000), true)
  await front.sent(60_000)
})

test('what a client does not take counts in the budget of the process, and ends who goes beyond', async () => {
  const stand = await serve({ threads: MANY_THREADS })
  const { ask, socket, dropped, budget } = stand
  await ask()
  await answer(stand, 700)
  assert.equal(budget.take(1000), true)
  budget.give(1000)
  socket.isFull = true
  await ask(GET + GET)
  await answer(stand, 700)
  assert.deepEqual(dropped, [])
  await answer(stand, 700)
  assert.deepEqual([dropped, socket.destroyed], [['output_limit'], true])
  assert.equal(budget.take(1000), true)
})

test('what cannot be parsed behind a request is counted once, however much follows', async () => {
  const { ask, dropped } = await serve()
  await ask(GET)
  for (let i = 0; i < 5; i++) await ask('nonsense\r\n\r\n')
  assert.deepEqual(dropped, ['http_bad_request'])
})
