import assert from 'node:assert/strict'
import { connect, type Socket } from 'node:net'
import test, { describe } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { UpstreamSink } from '../../dns/contracts.ts'
import { Failure } from '../../dns/failure.ts'
import { LiveSet } from '../../net/live-set.ts'
import { Inflight } from '../../upstream/inflight.ts'
import { aRecord, client, hex, parsedQuery, question, response } from '../harness/messages.ts'
import { type Handler, holding, tcpServer } from '../harness/servers.ts'
import { until } from '../harness/until.ts'
import { upstreamDependencies } from '../harness/upstream.ts'
import { startServer } from './servers.ts'
import { streamTo, streamWith, TestDialer } from './stream-stand.ts'

const answering: Handler = (query, reply) => reply(response(query, { answers: [aRecord()] }))
const DAY_MS = 86_400_000

/** What has come, by connection, and what is owed. */
function counting() {
  const ids = new Map<object, number[]>()
  const owed: (() => void)[] = []
  const handler: Handler = (query, reply, connection) => {
    const used = ids.get(connection) ?? []
    ids.set(connection, used)
    used.push(query.readUInt16BE(0))
    owed.push(() => reply(response(query, { answers: [aRecord()] })))
  }
  return { ids, owed, handler }
}

for (const protocol of ['tcp', 'tls'] as const) {
  describe(`a pool of ${protocol} connections`, () => {
    test('has as many questions on one as it may, then opens another, then gives the least busy more', async () => {
      const { ids, owed, handler } = counting()
      await using server = await startServer(protocol, handler)
      const { upstream, ask, dependencies } = streamTo(protocol, server.endpoint, { pipelining: 10, connections: 3 })
      const outcomes: ReturnType<typeof ask>[] = []
      const askMore = async (count: number): Promise<void> => {
        for (let i = 0; i < count; i++) {
          outcomes.push(ask())
          await until(() => server.queries.length === outcomes.length)
        }
      }
      const loads = (): number[] => Array.from(ids.values(), ({ length }) => length)
      await askMore(10)
      assert.equal(dependencies.meter.counts.connections, 1)
      for (const connections of [2, 3]) {
        await askMore(1)
        await until(() => dependencies.meter.counts.connections === connections)
        await askMore(10)
      }
      assert.deepEqual(loads(), [11, 11, 10])
      await askMore(30)
      assert.equal(server.peers.size, 3)
      assert.ok(Math.max(...loads()) <= Math.min(...loads()) + 1, `${loads()}`)
      for (const send of owed) send()
      assert.ok((await Promise.all(outcomes)).every(({ answer }) => answer !== null))
      await upstream.close()
    })

    test('exchanges a connection that is old for one that is ready, and lets it answer what it was asked', async () => {
      const held: (() => void)[] = []
      await using server = await startServer(
        protocol,
        holding((send) => held.push(send)),
      )
      const stand = streamTo(protocol, server.endpoint, { connections: 1, maxAgeMs: 60_000, idleMs: 600_000 })
      const { meter } = stand.dependencies
      await stand.ask()
      // nine tenths of the age, but for what this machine takes
      stand.forward(50_000)
      await turn()
      assert.equal(meter.counts.connections, 1)
      const slow = stand.ask({ name: 'slow.example', budgetMs: 60_000 })
      await until(() => held.length === 1)
      // something comes all the time: it is not replaced for being silent
      for (let ms = 50_000; ms < 67_000 && meter.counts.connections === 1; ms += 500) {
        stand.forward(500)
        assert.ok((await stand.ask()).answer)
      }
      await until(() => meter.counts.connections === 2)
      assert.ok((await stand.ask()).answer)
      assert.equal(server.peers.size, 2)
      held[0]?.()
      assert.ok((await slow).answer)
      await until(() => meter.counts.connections === 1)
      assert.ok((await stand.ask()).answer)
      assert.equal(server.peers.size, 2)
      await stand.upstream.close()
    })

    test('closes a connection that is idle, and opens one for the next question', async () => {
      await using server = await startServer(protocol, answering)
      const { upstream, ask, forward, dependencies } = streamTo(protocol, server.endpoint, { idleMs: 5000 })
      await ask()
      forward(4000)
      assert.ok((await ask()).answer)
      assert.equal(server.peers.size, 1)
      forward(4000)
      await turn()
      assert.equal(dependencies.meter.counts.connections, 1)
      forward(1100)
      await until(() => dependencies.meter.counts.connections === 0)
      assert.ok((await ask()).answer)
      assert.equal(server.peers.size, 2)
      await upstream.close()
    })

    test('closes it when the server says (RFC 7828), sooner or later than the terms do', async () => {
      for (const [idleMs, timeout] of [
        [30_000, '0014'],
        [500, '0014'],
      ] as const) {
        const option = hex(`00 0029 04d0 00000000 0006 000b0002${timeout}`)
        await using server = await startServer(protocol, (query, reply) =>
          reply(response(query, { answers: [aRecord()], additionals: [option] })),
        )
        const { upstream, ask, forward, dependencies } = streamTo(protocol, server.endpoint, { idleMs })
        await ask()
        forward(1000)
        await turn()
        assert.equal(dependencies.meter.counts.connections, 1)
        forward(1100)
        await until(() => dependencies.meter.counts.connections === 0)
        await upstream.close()
      }
    })

    test('drains: what is open is answered first, also on the connection that comes after a broken one', async () => {
      let seen = 0
      await using server = await startServer(protocol, (query, reply, connection) => {
        if (++seen === 1) connection.destroy()
        else reply(response(query, { answers: [aRecord()] }))
      })
      const { upstream, ask } = streamTo(protocol, server.endpoint)
      const outcome = ask()
      await upstream.drain(2000)
      assert.ok((await outcome).answer)
    })
  })
}

describe('a pool of connections', () => {
  test('has never an id twice on a connection, and no more than 10,000 questions: those beyond are refused at once', async () => {
    const { ids, owed, handler } = counting()
    await using server = await tcpServer(handler)
    const { upstream, dependencies } = streamTo('tcp', server.endpoint, { connections: 2 })
    const query = parsedQuery(question({ name: 'example.com' }), client('tcp'))
    query.deadline = dependencies.clock() + 50_000
    query.park()
    let answered = 0
    const failures: Failure[] = []
    const sink: UpstreamSink = { answered: () => answered++, failed: (_, failure) => failures.push(failure) }
    const askMore = (count: number): void => {
      for (let i = 0; i < count; i++) upstream.send(query, sink)
    }
    askMore(400)
    await until(() => dependencies.meter.counts.connections === 2)
    askMore(69_600)
    assert.equal(failures.length, 50_000)
    assert.ok(failures.every((failure) => failure === Failure.overloaded))
    await until(() => owed.length === 20_000)
    assert.deepEqual(
      Array.from(ids.values(), (used) => [used.length, new Set(used).size]),
      [
        [10_000, 10_000],
        [10_000, 10_000],
      ],
    )
    for (const send of owed.toReversed()) send()
    await until(() => answered === 20_000)
    assert.equal(failures.length, 50_000)
    await upstream.close()
  })

  test('opens as many connections at once as there are questions for', async () => {
    const dialer = new TestDialer()
    const { upstream, ask } = streamWith(dialer, { pipelining: 10, connections: 3 })
    const dialed = [1, 10, 11, 20, 21, 30, 31, 100].map((total, i, totals) => {
      for (let n = totals[i - 1] ?? 0; n < total; n++) void ask()
      return dialer.dials.length
    })
    assert.deepEqual(dialed, [1, 1, 2, 2, 3, 3, 3, 3])
    await upstream.close()
  })

  test('sends all that wait over the connection that is ready first', async () => {
    await using server = await tcpServer(answering)
    const dialer = new TestDialer()
    const { upstream, ask } = streamWith(dialer, { pipelining: 1, connections: 2 })
    const outcomes = [ask(), ask(), ask()]
    assert.equal(dialer.dials.length, 2)
    dialer.dials[1]?.sink.ready(await connected(server.endpoint))
    assert.ok((await Promise.all(outcomes)).every(({ answer }) => answer !== null))
    await upstream.close()
    assert.equal(dialer.dials[0]?.isAborted, true)
  })

  test('asks over the connection that it has while another is being opened, or cannot be', async () => {
    await using server = await tcpServer(answering)
    const dialer = new TestDialer()
    const { upstream, ask } = streamWith(dialer, { pipelining: 1, connections: 2 })
    const first = ask()
    dialer.dials[0]?.sink.ready(await connected(server.endpoint))
    assert.ok((await first).answer)
    const many = async (): Promise<boolean> => {
      const outcomes = await Promise.all(Array.from({ length: 20 }, () => ask()))
      return outcomes.every(({ answer }) => answer !== null)
    }
    assert.ok(await many())
    assert.equal(dialer.dials.length, 2)
    dialer.fail(1)
    assert.ok(await many())
    await upstream.close()
  })

  test('does not let more than 10,000 questions wait for a connection', async () => {
    const { upstream, ask } = streamWith(new TestDialer())
    const waiting = Array.from({ length: 10_000 }, () => ask())
    assert.equal((await ask()).failure, Failure.overloaded)
    await upstream.close()
    assert.ok((await Promise.all(waiting)).every(({ failure }) => failure === Failure.upstream_network))
  })

  test('lets a question wait for a connection as long as it has time, and a connection as long as it may take', async () => {
    const dialer = new TestDialer()
    const { upstream, ask, forward } = streamWith(dialer, { connectMs: 3000 })
    const [short, long] = [ask({ budgetMs: 1000 }), ask({ budgetMs: 9000 })]
    forward(1900)
    assert.equal((await short).failure, Failure.upstream_timeout)
    assert.equal(dialer.dials[0]?.isAborted, false)
    forward(1200)
    assert.equal((await long).failure, Failure.upstream_network)
    assert.equal(dialer.dials[0]?.isAborted, true)
    await upstream.close()
  })

  test('fails at once after a dial that failed, for a time that grows to a second, and forgets that with an answer', async () => {
    await using server = await tcpServer(answering)
    const dialer = new TestDialer()
    const { upstream, ask, forward, dependencies } = streamWith(dialer)
    for (const pauseMs of [50, 100, 200, 400, 800, 1000, 1000]) {
      const dials = dialer.dials.length
      const outcome = ask()
      dialer.fail(dials)
      assert.equal((await outcome).failure, Failure.upstream_network)
      forward(pauseMs - 30)
      assert.equal((await ask()).failure, Failure.upstream_network)
      assert.equal(dialer.dials.length, dials + 1)
      forward(30)
    }
    const outcome = ask()
    dialer.dials.at(-1)?.sink.ready(await connected(server.endpoint))
    assert.ok((await outcome).answer)
    assert.equal(dialer.answers, 1)
    for (const socket of server.connections) socket.destroy()
    await until(() => dependencies.meter.counts.connections === 0)
    const again = ask()
    dialer.fail(dialer.dials.length - 1)
    await again
    forward(50)
    void ask()
    assert.equal(dialer.dials.length, 10)
    await upstream.close()
  })

  test('keeps a connection that is old as long as no other can be opened', async () => {
    await using server = await tcpServer(answering)
    const dialer = new TestDialer()
    const { upstream, ask, forward } = streamWith(dialer, { maxAgeMs: DAY_MS, idleMs: 10 * DAY_MS })
    const first = ask()
    dialer.dials[0]?.sink.ready(await connected(server.endpoint))
    await first
    forward(1.2 * DAY_MS)
    assert.equal(dialer.dials.length, 2)
    dialer.fail(1)
    assert.ok((await ask()).answer)
    forward(6000)
    assert.equal(dialer.dials.length, 3)
    assert.ok((await ask()).answer)
    await upstream.close()
  })

  test('asks from the address of the terms', async () => {
    const from: (string | undefined)[] = []
    for (const protocol of ['tcp', 'tls'] as const) {
      await using server = await startServer(protocol, (query, reply, connection) => {
        from.push((connection as Socket).remoteAddress)
        reply(response(query, { answers: [aRecord()] }))
      })
      const { upstream, ask } = streamTo(protocol, server.endpoint, { source: '127.0.0.77' })
      assert.ok((await ask()).answer)
      await upstream.close()
    }
    assert.deepEqual(from, ['127.0.0.77', '127.0.0.77'])
  })
})

test('an id is not used again while its answer may still come (RFC 7766 §6.2.1)', () => {
  const { wheel } = upstreamDependencies()
  const inflight = new Inflight(wheel, { owner: { expired() {} }, limit: 65_000, busy: new LiveSet() })
  const query = parsedQuery(question({ name: 'example.com' }), client('tcp'))
  query.deadline = Number.MAX_SAFE_INTEGER
  const add = () => inflight.add(query, { answered() {}, failed() {} }, { now: 0, resent: false, edns: true, cookie: null, letterCase: 0 })
  const overdue = Array.from({ length: 30 }, add)
  for (const pending of overdue) inflight.giveUp(pending)
  const used = new Set(Array.from({ length: 60_000 }, () => add().id))
  assert.equal(used.size, 60_000)
  assert.ok(overdue.every(({ id }) => !used.has(id)))
  assert.deepEqual([inflight.size, inflight.overdue], [60_000, 30])
  inflight.takeAll()
})

async function connected(endpoint: { host: string; port: number }): Promise<Socket> {
  const socket = connect(endpoint)
  await until(() => !socket.connecting)
  return socket.on('error', () => {})
}
