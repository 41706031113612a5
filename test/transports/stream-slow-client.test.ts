import assert from 'node:assert/strict'
import test from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { Query } from '../../dns/query.ts'
import { readQuery } from '../../dns/query-reader.ts'
import { Flusher } from '../../net/flusher.ts'
import { OutputBudget } from '../../net/output-budget.ts'
import { Wheel } from '../../net/wheel.ts'
import { StreamConnection } from '../../transports/connection.ts'
import { client, question, readAnswer, record, response } from '../harness/messages.ts'
import { frame } from '../harness/servers.ts'
import { TestSocket } from '../harness/test-socket.ts'

/** RFC 6895 §3.1: for private use, so that any octets are well-formed. */
const OPAQUE = 65_280
const IDLE_MS = 7000
/** So that the thread may hold a thousand octets. */
const MANY_THREADS = 268_435

/** A connection on a clock that is turned by hand, whose client has asked so many questions and takes no octet. */
function serve(questions: number, { threads = 1 }: { threads?: number } = {}) {
  const dropped: string[] = []
  const queries: Query[] = []
  const budget = new OutputBudget(threads)
  const wheel = new Wheel(() => 0)
  const socket = new TestSocket(100)
  socket.isFull = true
  const dependencies = {
    acceptor: { accept: (query: Query) => void queries.push(query) },
    clock: () => 0,
    wheel,
    flusher: new Flusher(),
    budget,
    meter: { dropped: (failure: { code: string }) => void dropped.push(failure.code) } as never,
  }
  const settings = { idleMs: IDLE_MS, inFlight: 100 }
  const connection = new StreamConnection(socket.asSocket(), client('tcp'), { settings, dependencies, onClose: () => {} })
  socket.emit('data', Buffer.concat(Array.from({ length: questions }, () => frame(question({ name: 'example.com', type: OPAQUE })))))
  return { connection, socket, dropped, queries, budget, wheel }
}

function answer(query: Query | undefined, octets: number): void {
  assert.ok(query !== undefined)
  assert.equal(readQuery(query), null)
  const filler = record({ type: OPAQUE, rdata: Buffer.alloc(octets) })
  query.reply.deliver(query, readAnswer(query, response(query.wire, { answers: [filler] })))
}

test('a client that does not take its answers is cut off when its idle time is over, and holds nothing afterwards', async () => {
  const { socket, dropped, queries, budget, wheel } = serve(2, { threads: MANY_THREADS })
  for (const query of queries) answer(query, 400)
  await turn()
  wheel.advance(IDLE_MS - 10)
  assert.deepEqual([socket.destroyed, dropped], [false, []])
  wheel.advance(IDLE_MS + 10)
  assert.deepEqual([socket.destroyed, dropped], [true, ['slow_reader']])
  await turn()
  assert.deepEqual([budget.take(1000), wheel.size], [true, 0])
})

test('who goes beyond what the process may hold for its clients is cut off at once, and counted once', async () => {
  const { socket, dropped, queries, budget, wheel } = serve(4, { threads: MANY_THREADS })
  answer(queries[0], 700)
  assert.deepEqual(dropped, [])
  for (const query of queries.slice(1)) answer(query, 700)
  assert.deepEqual([socket.destroyed, dropped], [true, ['output_limit']])
  await turn()
  assert.deepEqual([budget.take(1000), wheel.size], [true, 0])
})

// RFC 7766 §6.2.4
test('what is answered after a client has gone is held by nobody', async () => {
  const { socket, dropped, queries, budget, wheel } = serve(4, { threads: MANY_THREADS })
  socket.destroy()
  await turn()
  for (const query of queries) answer(query, 700)
  await turn()
  assert.deepEqual([socket.sent.length, dropped, budget.take(1000), wheel.size], [0, [], true, 0])
})
