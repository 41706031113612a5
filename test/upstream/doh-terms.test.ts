import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { ServerHttp2Stream } from 'node:http2'
import { type AddressInfo, createServer as createTcp } from 'node:net'
import test, { describe } from 'node:test'
import { Failure } from '../../dns/failure.ts'
import { httpsServer } from '../harness/servers.ts'
import { until } from '../harness/until.ts'
import type { Outcome } from '../harness/upstream.ts'
import { answer, answering, ask, asking, forward, holding, serving, silent, upstreamTo } from './doh-harness.ts'
import { GOOD } from './servers.ts'

describe('an https upstream keeps to what the server and its terms allow:', () => {
  test('a stream at a time where the server has one, and other connections for the others', async () => {
    let now = 0
    let most = 0
    await using server = await serving(
      (stream, query) => {
        most = Math.max(most, ++now)
        setImmediate(() => {
          now--
          answer(stream, query)
        })
      },
      { settings: { maxConcurrentStreams: 1 } },
    )
    const { upstream, counts } = upstreamTo(server.endpoint, { connections: 3 })
    assert.ok((await ask(upstream)).answer)
    assert.ok((await asking(upstream, 50)).every(({ answer }) => answer !== null))
    assert.equal(server.sessions.length, 3)
    assert.ok(most <= 3, `${most} at a time`)
    assert.deepEqual(counts.failed, [])
    await upstream.close()
  })

  test('waits while the server has no stream at all, and goes on when it has', async () => {
    await using server = await httpsServer(answering, GOOD)
    const { upstream } = upstreamTo(server.endpoint, { connections: 1 })
    assert.ok((await ask(upstream)).answer)
    const [session] = server.sessions
    assert.ok(session)
    await new Promise((resolve) => session.settings({ maxConcurrentStreams: 0 }, resolve))
    const outcomes = asking(upstream, 10)
    const late = await ask(upstream, { budgetMs: 100 })
    assert.equal(late.failure, Failure.upstream_timeout)
    assert.equal(server.queries.length, 1)
    session.settings({ maxConcurrentStreams: 100 })
    assert.ok((await outcomes).every(({ answer }) => answer !== null))
    await upstream.close()
  })

  test('spills beyond the pipelining of a connection, then gives more to the least busy', async () => {
    await using server = await holding(100)
    const { held } = server
    const { upstream } = upstreamTo(server.endpoint, { connections: 2, pipelining: 10 })
    const outcomes = asking(upstream, 100)
    await until(() => held.length === 100)
    const perSession = new Map<unknown, number>()
    for (const { session } of held) perSession.set(session, (perSession.get(session) ?? 0) + 1)
    assert.deepEqual([...perSession.values()], [50, 50])
    for (const [i, stream] of held.entries()) answer(stream, server.queries[i] as Buffer)
    assert.ok((await outcomes).every(({ answer }) => answer !== null))
    await upstream.close()
  })

  test('takes 5,000 questions on a connection and no more', async () => {
    await using server = await httpsServer(silent, GOOD)
    const { upstream } = upstreamTo(server.endpoint, { connections: 1 })
    const outcomes = Array.from({ length: 5001 }, () => ask(upstream))
    assert.equal((await outcomes[5000])?.failure, Failure.overloaded)
    await upstream.close()
    assert.ok((await Promise.all(outcomes.slice(0, 5000))).every(({ failure }) => failure === Failure.upstream_network))
  })

  test('replaces a connection that is old by one that is there already, and loses nothing', async () => {
    await using server = await httpsServer(answering, GOOD)
    const { upstream, counts } = upstreamTo(server.endpoint, { maxAgeMs: 300 })
    const outcomes: Outcome[] = []
    while (server.sessions.length < 3 || counts.connections > 1) outcomes.push(...(await asking(upstream, 10)))
    assert.deepEqual(counts.failed, [])
    assert.equal(counts.sent, outcomes.length)
    assert.equal(server.sessions[0]?.closed, true)
    await upstream.close()
  })

  test('keeps the old one where no other can be had', async () => {
    await using server = await httpsServer(answering, GOOD)
    const { upstream } = upstreamTo(server.endpoint, { maxAgeMs: 60_000, idleMs: 3_600_000 })
    await ask(upstream)
    const [session] = server.sessions
    let attempts = 0
    server.listener.on('connection', (socket) => {
      attempts++
      socket.destroy()
    })
    for (const expected of [1, 2]) {
      forward(66_001)
      await until(() => attempts === expected)
      assert.ok((await ask(upstream)).answer)
    }
    assert.equal(session?.destroyed, false)
    await upstream.close()
  })

  test('closes an idle connection, properly', async () => {
    await using server = await httpsServer(answering, GOOD)
    const { upstream, counts } = upstreamTo(server.endpoint, { idleMs: 5000 })
    const ends: string[] = []
    server.listener.on('secureConnection', (socket) => {
      for (const event of ['end', 'error', 'close']) socket.on(event, () => ends.push(event))
    })
    await ask(upstream)
    forward(4000)
    await ask(upstream)
    forward(4000)
    assert.ok((await ask(upstream)).answer)
    assert.equal(server.sessions.length, 1)
    forward(6000)
    await until(() => ends.includes('close') && counts.connections === 0)
    assert.ok(!ends.includes('error'))
    assert.ok((await ask(upstream)).answer)
    assert.equal(server.sessions.length, 2)
    await upstream.close()
  })

  test('resumes its session', async () => {
    await using server = await httpsServer(answering, GOOD)
    const reused: boolean[] = []
    server.listener.on('secureConnection', (socket) => reused.push(socket.isSessionReused()))
    const { upstream, counts } = upstreamTo(server.endpoint)
    await ask(upstream)
    server.sessions[0]?.close()
    await until(() => counts.connections === 0)
    assert.ok((await ask(upstream)).answer)
    assert.deepEqual(reused, [false, true])
    await upstream.close()
  })

  test('drains: answers what is open, then closes', async () => {
    await using server = await holding(1)
    const { held } = server
    const { upstream, counts } = upstreamTo(server.endpoint)
    const outcome = ask(upstream)
    await until(() => held.length === 1)
    const drained = upstream.drain(5000)
    answer(held[0] as ServerHttp2Stream, server.queries[0] as Buffer)
    assert.ok((await outcome).answer)
    await drained
    assert.equal(counts.connections, 0)
    assert.equal((await ask(upstream)).failure, Failure.upstream_network)
  })

  test('gives up a connection that is not established in time', async () => {
    const deaf = createTcp().listen(0, '127.0.0.1')
    await once(deaf, 'listening')
    const { port } = deaf.address() as AddressInfo
    const { upstream } = upstreamTo({ host: '127.0.0.1', port }, { connectMs: 200 })
    const { failure, ms } = await ask(upstream)
    assert.equal(failure, Failure.upstream_network)
    assert.ok(ms < 1000, `${ms} ms`)
    await upstream.close()
    deaf.close()
  })
})
