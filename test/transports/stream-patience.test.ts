import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { Answer } from '../../dns/answer.ts'
import { Failure } from '../../dns/failure.ts'
import type { Query } from '../../dns/query.ts'
import { Flusher } from '../../net/flusher.ts'
import { OutputBudget } from '../../net/output-budget.ts'
import { StreamConnection } from '../../transports/connection.ts'
import { HandClock } from '../harness/lab.ts'
import { client, vector } from '../harness/messages.ts'
import { frame } from '../harness/servers.ts'
import { TestSocket } from '../harness/test-socket.ts'

const QUERY = frame(vector('V02'))

/** A connection whose every query is answered at once, on a clock that is turned by hand. */
function connection(idleMs = 30_000) {
  const hand = new HandClock()
  const dropped: string[] = []
  const socket = new TestSocket()
  const dependencies = {
    acceptor: { accept: (query: Query) => query.reply.deliver(query, Answer.ofFailure(Failure.upstream_failed)) },
    clock: () => hand.now,
    wheel: hand.makeWheel(),
    flusher: new Flusher(),
    budget: new OutputBudget(1),
    meter: { dropped: (failure: { code: string }) => void dropped.push(failure.code) } as never,
  }
  const { workload } = new StreamConnection(socket.asSocket(), client('dot'), {
    settings: { idleMs, inFlight: 100 },
    dependencies,
    onClose: () => {},
  })
  const send = async (octets: Uint8Array) => {
    socket.push(octets)
    for (let i = 0; i < 5; i++) await turn()
  }
  /** Whether it has ended after so long. */
  const endsIn = (ms: number) => {
    hand.advance(ms)
    return socket.writableEnded
  }
  return { socket, workload, dropped, send, endsIn }
}

describe('a connection', () => {
  test('on which no query comes ends after ten seconds, and that is counted', () => {
    const { dropped, endsIn } = connection()
    assert.deepEqual([endsIn(9900), endsIn(200), dropped], [false, true, ['query_timeout']])
  })

  test('is not kept open by octets that come one by one', async () => {
    const { dropped, send, endsIn } = connection()
    for (let i = 0; i < 9; i++) {
      await send(QUERY.subarray(i, i + 1))
      assert.equal(endsIn(1000), false)
    }
    assert.deepEqual([endsIn(1100), dropped], [true, ['query_timeout']])
  })

  test('is idle as long as it may be once it has asked, and no reason is counted then', async () => {
    const { socket, workload, dropped, send, endsIn } = connection()
    assert.equal(endsIn(9000), false)
    await send(QUERY)
    assert.deepEqual([socket.writes.length, workload], [1, { questions: 0, asked: 1 }])
    assert.deepEqual([endsIn(29_900), endsIn(200), dropped], [false, true, []])
  })

  test('that leaves a query half sent is idle too, but not for a good reason', async () => {
    const { dropped, send, endsIn } = connection()
    await send(Buffer.concat([QUERY, QUERY.subarray(0, 9)]))
    assert.deepEqual([endsIn(29_900), endsIn(200), dropped], [false, true, ['query_timeout']])
  })

  test('has less for its first query where the idle time is shorter', () => {
    const { endsIn } = connection(2000)
    assert.deepEqual([endsIn(1900), endsIn(200)], [false, true])
  })
})
