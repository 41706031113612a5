import assert from 'node:assert/strict'
import { constants, type ServerHttp2Stream } from 'node:http2'
import test, { describe } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { Failure, type FailureCode } from '../../dns/failure.ts'
import { aRecord, hex, question, response } from '../harness/messages.ts'
import { type HttpsTestServer, httpsServer, tlsServer } from '../harness/servers.ts'
import { until } from '../harness/until.ts'
import type { Outcome } from '../harness/upstream.ts'
import {
  ADDRESS,
  answer,
  answering,
  ask,
  asking,
  clock,
  forward,
  holding,
  inform,
  OK,
  send,
  serving,
  silent,
  upstreamTo,
} from './doh-harness.ts'
import { GOOD } from './servers.ts'

const NO_ANSWERS: readonly { what: string; serve: HttpsTestServer['serve']; failure?: FailureCode }[] = [
  { what: 'a page', serve: (stream) => send(stream, { ':status': 200, 'content-type': 'text/html' }, '<html>') },
  { what: 'no media type', serve: (stream, query) => send(stream, { ':status': 200 }, response(query, {})) },
  { what: 'a redirection', serve: (stream) => send(stream, { ':status': 302, location: 'https://evil.example/dns-query' }) },
  { what: 'no content', serve: (stream) => send(stream, { ...OK, ':status': 204 }) },
  { what: 'an empty answer', serve: (stream) => send(stream, OK) },
  { what: 'another success', serve: (stream, query) => send(stream, { ...OK, ':status': 206 }, response(query, {})) },
  {
    what: 'an error of the server, with an answer in it',
    serve: (stream, query) => send(stream, { ...OK, ':status': 500 }, response(query, {})),
  },
  {
    what: 'more than a message can have',
    serve: (stream, query) => send(stream, OK, Buffer.concat([response(query, {}), Buffer.alloc(70_000)])),
  },
  { what: 'content without end', serve: (stream) => flood(stream) },
  {
    what: 'an answer that is compressed',
    serve: (stream, query) => send(stream, { ...OK, 'content-encoding': 'gzip' }, gzipSync(response(query, { answers: [aRecord()] }))),
  },
  { what: 'another question', serve: (stream) => send(stream, OK, response(question({ name: 'evil.example', id: 0 }), {})) },
  {
    what: 'another id',
    serve: (stream, query) => {
      const message = response(query, { answers: [aRecord()] })
      message.writeUInt16BE(1, 0)
      send(stream, OK, message)
    },
  },
  { what: 'octets behind the answer', serve: (stream, query) => send(stream, OK, Buffer.concat([response(query, {}), hex('00')])) },
  { what: 'half of an answer', serve: (stream, query) => send(stream, OK, response(query, { answers: [aRecord()] }).subarray(0, -5)) },
  {
    what: 'a truncated answer',
    serve: (stream, query) => send(stream, OK, response(query, { flags: 0x8380 })),
    failure: 'upstream_truncated',
  },
  {
    what: 'less than it has announced',
    serve: (stream, query) => send(stream, { ...OK, 'content-length': 1000 }, response(query, { answers: [aRecord()] })),
  },
  { what: 'interim responses without end', serve: (stream) => inform(stream, 20) },
]

function flood(stream: ServerHttp2Stream): void {
  const more = (): void => {
    if (!stream.destroyed) stream.write(Buffer.alloc(10_000), () => setImmediate(more))
  }
  stream.respond(OK)
  more()
}

describe('an https upstream takes for a failure, at once and without asking again,', () => {
  for (const { what, serve, failure = 'upstream_malformed' } of NO_ANSWERS) {
    test(what, async () => {
      await using server = await serving(serve)
      const { upstream, counts } = upstreamTo(server.endpoint)
      const { failure: got, ms } = await ask(upstream)
      assert.equal(got?.code, failure)
      assert.ok(ms < 1000)
      server.serve = answer
      // the connection is as good as before
      assert.ok((await ask(upstream)).answer)
      assert.deepEqual([server.queries.length, server.sessions.length, counts.failed], [2, 1, [failure]])
      await upstream.close()
    })
  }

  // RFC 9113 §7: all codes but REFUSED_STREAM
  for (const code of [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13]) {
    test(`a stream that is reset with code ${code}`, async () => {
      await using server = await serving((stream) => stream.close(code))
      const { upstream } = upstreamTo(server.endpoint)
      assert.equal((await ask(upstream)).failure, Failure.upstream_malformed)
      server.serve = (stream, query) => {
        stream.respond(OK)
        stream.write(response(query, { answers: [aRecord()] }).subarray(0, 20))
        setImmediate(() => stream.close(code))
      }
      assert.equal((await ask(upstream)).failure, Failure.upstream_malformed)
      server.serve = answer
      assert.ok((await ask(upstream)).answer)
      assert.deepEqual([server.queries.length, server.sessions.length], [3, 1])
      await upstream.close()
    })
  }
})

describe('an https upstream asks once more, on another connection,', () => {
  test('what the server has refused (REFUSED_STREAM)', async () => {
    await using server = await serving((stream) => stream.close(constants.NGHTTP2_REFUSED_STREAM))
    const { serve } = server
    server.serve = (stream, query) => {
      server.serve = answer
      serve(stream, query)
    }
    const { upstream } = upstreamTo(server.endpoint)
    assert.ok((await ask(upstream)).answer)
    assert.deepEqual([server.queries.length, server.sessions.length], [2, 2])
    await upstream.close()
  })

  test('and no more than once', async () => {
    await using server = await serving((stream) => stream.close(constants.NGHTTP2_REFUSED_STREAM))
    const { upstream, counts } = upstreamTo(server.endpoint)
    assert.equal((await ask(upstream)).failure, Failure.upstream_network)
    assert.deepEqual([server.queries.length, counts.sent], [2, 2])
    await upstream.close()
  })

  test('what is above the last stream of a GOAWAY, and waits for the answers to the others', async () => {
    await using server = await holding(10)
    const { held } = server
    const { upstream, counts } = upstreamTo(server.endpoint)
    const outcomes = asking(upstream, 10)
    await until(() => held.length === 10)
    server.sessions[0]?.goaway(constants.NGHTTP2_NO_ERROR, held[5]?.id)
    await until(() => server.queries.length === 14)
    for (const [i, stream] of held.entries()) if (i < 6) answer(stream, server.queries[i] as Buffer)
    assert.ok((await outcomes).every(({ message }) => message?.includes(ADDRESS)))
    assert.deepEqual([server.queries.length, server.sessions.length, counts.failed], [14, 2, []])
    await until(() => counts.connections === 1)
    await upstream.close()
  })

  test('nothing, where a GOAWAY covers all: those are answered, the next question goes elsewhere', async () => {
    await using server = await holding(10)
    const { held } = server
    const { upstream, counts } = upstreamTo(server.endpoint)
    const outcomes = asking(upstream, 10)
    await until(() => held.length === 10)
    // RFC 9113 §6.8: how a server begins to shut down
    server.sessions[0]?.goaway(constants.NGHTTP2_NO_ERROR, 2 ** 31 - 1)
    await until(() => server.sessions[0]?.closed === true || counts.sent === 10)
    let asked = 0
    for (; server.sessions.length < 2; asked++) assert.ok((await ask(upstream)).answer)
    for (const [i, stream] of held.entries()) answer(stream, server.queries[i] as Buffer)
    assert.ok((await outcomes).every(({ message }) => message?.includes(ADDRESS)))
    // what was on its way as the GOAWAY came was never a request, and is asked elsewhere
    assert.equal(server.queries.length, 10 + asked)
    assert.deepEqual(counts.failed, [])
    await upstream.close()
  })

  test('what a GOAWAY with an error leaves unanswered', async () => {
    await using server = await holding(10)
    const { held } = server
    const { upstream } = upstreamTo(server.endpoint)
    const outcomes = asking(upstream, 10)
    await until(() => held.length === 10)
    server.sessions[0]?.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM, held[9]?.id)
    assert.ok((await outcomes).every(({ message }) => message?.includes(ADDRESS)))
    assert.deepEqual([server.queries.length, server.sessions.length], [20, 2])
    await upstream.close()
  })

  for (const how of ['reset', 'FIN'] as const) {
    test(`what is unanswered, or half answered, as the connection ends by ${how}`, async () => {
      await using server = await holding(10)
      const { held } = server
      let socket = null as null | { resetAndDestroy(): unknown; end(): unknown }
      server.listener.on('connection', (raw) => {
        socket ??= raw
      })
      const { upstream, counts } = upstreamTo(server.endpoint)
      const outcomes = asking(upstream, 10)
      await until(() => held.length === 10)
      held[3]?.respond(OK)
      held[4]?.respond(OK)
      held[4]?.write(hex('0000'))
      await turn()
      if (how === 'reset') socket?.resetAndDestroy()
      else socket?.end()
      assert.ok((await outcomes).every(({ message }) => message?.includes(ADDRESS)))
      assert.deepEqual([server.queries.length, server.sessions.length, counts.failed], [20, 2, []])
      await upstream.close()
    })
  }

  test('what cannot be sent any longer, as the server has broken the rules of HTTP/2', async () => {
    await using server = await tlsServer(silent, { ...GOOD, ALPNProtocols: ['h2'] })
    server.listener.on('secureConnection', (socket) => {
      // SETTINGS, and later CONTINUATION of nothing (RFC 9113 §6.10)
      socket.write(hex('000000 04 00 00000000'))
      socket.once('data', () => socket.write(hex('000001 09 04 00000001 88')))
    })
    const { upstream } = upstreamTo(server.endpoint)
    const outcomes: Promise<Outcome>[] = []
    while (server.sockets.length < 30) {
      outcomes.push(ask(upstream, { budgetMs: 5000 }))
      await turn()
    }
    for (const { failure } of await Promise.all(outcomes)) assert.equal(failure, Failure.upstream_network)
    await upstream.close()
  })

  test('what meets octets that are no frames', async () => {
    await using server = await tlsServer(silent, { ...GOOD, ALPNProtocols: ['h2'] })
    server.listener.on('secureConnection', (socket) => socket.write(Buffer.alloc(100, 255)))
    const { upstream, counts } = upstreamTo(server.endpoint)
    assert.equal((await ask(upstream)).failure, Failure.upstream_network)
    assert.equal(server.sockets.length, 2)
    // at once: it is not asked as long as its socket has not closed
    assert.equal((await ask(upstream)).failure, Failure.upstream_network)
    assert.equal(server.sockets.length, 4)
    await until(() => counts.connections === 0)
    await upstream.close()
  })
})

describe('an https upstream, where a server is silent,', () => {
  test('fails at the deadline, resets the stream, and takes another connection', async () => {
    await using server = await holding(1)
    const { held } = server
    const { upstream, counts } = upstreamTo(server.endpoint)
    const { failure, ms } = await ask(upstream, { budgetMs: 300 })
    assert.equal(failure, Failure.upstream_timeout)
    assert.ok(ms >= 300 && ms < 1000, `${ms} ms`)
    await until(() => held[0]?.closed === true)
    assert.equal(held[0]?.rstCode, constants.NGHTTP2_CANCEL)
    assert.ok((await ask(upstream)).answer)
    assert.equal(server.sessions.length, 2)
    await until(() => counts.connections === 1)
    await upstream.close()
  })

  test('resets only the stream where others are answered, so that it holds no place', async () => {
    await using server = await holding(1, { settings: { maxConcurrentStreams: 2 } })
    const { held } = server
    const { upstream } = upstreamTo(server.endpoint, { connections: 1 })
    const late = ask(upstream, { budgetMs: 300 })
    await until(() => held.length === 1)
    while (held[0]?.closed !== true) assert.ok((await ask(upstream)).answer)
    assert.equal((await late).failure, Failure.upstream_timeout)
    assert.ok((await asking(upstream, 10)).every(({ answer }) => answer !== null))
    assert.equal(server.sessions.length, 1)
    await upstream.close()
  })

  test('resets a stream that is given up before it is sent, and outlives the connection', async () => {
    await using server = await serving(answer)
    let socket = null as null | { resetAndDestroy(): unknown }
    server.listener.on('connection', (raw) => {
      socket ??= raw
    })
    const { upstream, dependencies } = upstreamTo(server.endpoint)
    assert.ok((await ask(upstream)).answer)
    server.serve = (stream) => {
      stream.respond(OK)
      stream.write(hex('0000'))
    }
    const open = ask(upstream)
    await until(() => server.queries.length === 2)
    const brief = ask(upstream, { budgetMs: 100 })
    forward(200)
    dependencies.wheel.advance(clock())
    assert.equal((await brief).failure, Failure.upstream_timeout)
    await until(() => server.queries.length === 3)
    for (let i = 0; i < 20; i++) await turn()
    server.serve = answer
    // an error of a stream to which nobody listens would end the process
    socket?.resetAndDestroy()
    assert.ok((await open).answer)
    await upstream.close()
  })

  test('and gives no window, needs none', async () => {
    await using server = await httpsServer(answering, { ...GOOD, settings: { initialWindowSize: 0 } })
    const { upstream, counts } = upstreamTo(server.endpoint)
    for (let i = 0; i < 3; i++) assert.ok((await ask(upstream)).answer)
    assert.deepEqual([server.sessions.length, counts.failed], [1, []])
    await upstream.close()
  })

  test('and stops in the middle of an answer, does the same', async () => {
    await using server = await serving((stream, query) => {
      stream.respond(OK)
      stream.write(response(query, { answers: [aRecord()] }).subarray(0, 20))
    })
    const { upstream } = upstreamTo(server.endpoint)
    assert.equal((await ask(upstream, { budgetMs: 300 })).failure, Failure.upstream_timeout)
    server.serve = answer
    assert.ok((await ask(upstream)).answer)
    await upstream.close()
  })
})
