import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { Failure } from '../../dns/failure.ts'
import { monotonicClock } from '../../net/clock.ts'
import type { Field } from '../../net/fields.ts'
import { encodeMessage } from '../../net/http3/message-writer.ts'
import { goaway } from '../../net/http3/own-control.ts'
import { FIRST_SERVER_UNIDIRECTIONAL } from '../../net/quic.ts'
import { aRecord, response } from '../harness/messages.ts'
import { type Asked, http3Answer, QuicTestServer, replying } from '../harness/quic-servers.ts'
import type { Handler } from '../harness/servers.ts'
import { until } from '../harness/until.ts'
import { ask, upstreamDependencies } from '../harness/upstream.ts'
import { leaf, quicServerFor } from './servers.ts'

const answering: Handler = (query, reply) => reply(response(query, { answers: [aRecord()] }))

async function start(react: (asked: Asked) => void = replying): Promise<QuicTestServer> {
  const server = await QuicTestServer.start({ protocol: 'h3', identity: { chainPem: leaf.certPem, keyPem: leaf.keyPem }, react })
  server.handler = answering
  return server
}

const good = (query: Buffer): Buffer => response(query, { answers: [aRecord()] })
const CANCELLED = 0x10c

/** Conformance R14, DOH-39. */
const refused: Readonly<Record<string, (query: Buffer) => Buffer>> = {
  'another content type': (query) => http3Answer(good(query), { fields: [['content-type', 'text/html']] }),
  'a redirect': (query) => http3Answer(good(query), { status: '302', fields: [['location', 'https://other.example/']] }),
  'no content': () => encodeMessage([[':status', '204']], Buffer.alloc(0)),
  'an error': (query) => http3Answer(good(query), { status: '500' }),
  'a content coding': (query) => http3Answer(good(query), { fields: [['content-encoding', 'gzip']] }),
  'more than a message can have': () => http3Answer(Buffer.alloc(70_000)),
  'more than a message can have, without saying so': () =>
    encodeMessage(
      [
        [':status', '200'],
        ['content-type', 'application/dns-message'],
      ],
      Buffer.alloc(70_000),
    ),
  'another id': (query) => {
    const message = good(query)
    message.writeUInt16BE(1, 0)
    return http3Answer(message)
  },
  'less than a header': () => http3Answer(Buffer.alloc(11)),
  'another length than it said': (query) => http3Answer(good(query)).subarray(0, -1),
}

describe('an h3 upstream', () => {
  test('asks by POST, with the length, for a DNS message', async () => {
    const requests: Asked[] = []
    await using server = await start((asked) => {
      requests.push(asked)
      replying(asked)
    })
    const upstream = quicServerFor('h3', server.endpoint, { url: 'https://dns.example:8443/some/path?x=y' })
    for (let length = 1; length <= 60; length++)
      assert.ok((await ask(upstream, { name: `${'a'.repeat(length)}.${'b'.repeat(60)}.example` })).answer)
    for (const { request, query } of requests) {
      assert.deepEqual(
        [request?.method, request?.scheme, request?.authority, request?.path],
        ['POST', 'https', 'dns.example:8443', '/some/path?x=y'],
      )
      assert.equal(request?.contentLength, query.length)
      const fields = ['accept', 'content-type', 'accept-encoding', 'cookie', 'user-agent'].map((name) => request?.fields.get(name))
      assert.deepEqual(fields, ['application/dns-message', 'application/dns-message', 'identity', null, null])
      // conformance DOH-09, PAD-07
      assert.equal(query.readUInt16BE(0), 0)
      assert.equal(query.length % 128, 0)
    }
    assert.deepEqual(new Set(requests.map(({ query }) => query.length)), new Set([128, 256]))
    await upstream.close()
  })

  for (const [what, reply] of Object.entries(refused)) {
    test(`takes ${what} for a failure, and the connection for a good one`, async () => {
      await using server = await start((asked) => {
        if (asked.query.includes('bad')) asked.quic.send(asked.stream, reply(asked.query), true)
        else replying(asked)
      })
      const upstream = quicServerFor('h3', server.endpoint)
      assert.equal((await ask(upstream, { name: 'bad.example' })).failure, Failure.upstream_malformed)
      // RFC 9114 §7.1: a frame that is cut off is an error of the connection
      const connections = what === 'another length than it said' ? 2 : 1
      assert.ok((await ask(upstream)).answer)
      assert.equal(server.links.length, connections)
      await upstream.close()
    })
  }

  test('stops a response that will not be used', async () => {
    const body = Buffer.alloc(10_000)
    await using server = await start(({ quic, stream }) => {
      const head: readonly Field[] = [
        [':status', '200'],
        ['content-type', 'text/html'],
      ]
      quic.send(stream, encodeMessage(head, body), false)
    })
    const upstream = quicServerFor('h3', server.endpoint)
    assert.equal((await ask(upstream)).failure, Failure.upstream_malformed)
    const [connection] = server.links
    while (connection?.resets.length === 0) {
      connection.quic.send(0, body, false)
      await turn()
    }
    assert.deepEqual(connection?.resets, [{ stream: 0, code: CANCELLED }])
    await upstream.close()
  })

  test('takes the age of a response off the times to live, and keeps nothing that is older', async () => {
    for (const [age, ttl] of [
      ['250', 50],
      ['250, 10', 50],
      ['soon', 300],
      ['300', 0],
      ['99999999999999', 0],
    ] as const) {
      await using server = await start(({ quic, stream, query }) =>
        quic.send(stream, http3Answer(good(query), { fields: [['age', age]] }), true),
      )
      const upstream = quicServerFor('h3', server.endpoint)
      const { answer } = await ask(upstream)
      // conformance NC-15: no freshness, no place in a cache
      assert.equal(answer?.freshness(monotonicClock()), ttl, age)
      await upstream.close()
    }
  })

  test('takes a response in any pieces, with others before it and trailers behind', async () => {
    await using server = await start(async ({ quic, stream, query }) => {
      const message = good(query)
      const head = encodeMessage(
        [
          [':status', '200'],
          ['content-type', 'Application/DNS-Message; x=y'],
        ],
        message.subarray(0, 7),
      )
      const rest = encodeMessage([], message.subarray(7)).subarray(4)
      const interim = encodeMessage([[':status', '103']], Buffer.alloc(0))
      const trailers = encodeMessage([['x-trailer', '1']], Buffer.alloc(0))
      for (const octet of Buffer.concat([interim, head, rest, trailers])) {
        quic.send(stream, Buffer.from([octet]), false)
        await turn()
      }
      quic.send(stream, Buffer.alloc(0), true)
    })
    const upstream = quicServerFor('h3', server.endpoint)
    const { answer, message } = await ask(upstream)
    assert.ok(answer)
    assert.ok(message?.includes(Buffer.from([192, 0, 2, 1])))
    await upstream.close()
  })

  test('asks elsewhere at once what comes behind GOAWAY, and has the rest answered', async () => {
    const held: Asked[] = []
    await using server = await start((asked) => {
      if (server.links.length > 1) replying(asked)
      else held.push(asked)
    })
    const upstream = quicServerFor('h3', server.endpoint)
    const outcomes = Promise.all(Array.from({ length: 10 }, () => ask(upstream)))
    await until(() => held.length >= 10)
    const [old] = server.links
    old?.quic.send(FIRST_SERVER_UNIDIRECTIONAL, Buffer.from(goaway(16)), false)
    await until(() => server.queries.length >= 16)
    assert.ok((await ask(upstream)).answer)
    assert.equal(old?.isClosed, false)
    for (const asked of held.filter(({ stream }) => stream < 16)) replying(asked)
    assert.ok((await outcomes).every(({ answer }) => answer !== null))
    assert.equal(await old?.closedWith.promise, 0x100)
    assert.deepEqual([server.queries.length, server.links.length], [17, 2])
    await upstream.close()
  })

  test('leaves a server alone for as long as it asks, on open connections too', async () => {
    await using server = await start(({ quic, stream, query }) =>
      quic.send(stream, http3Answer(good(query), { status: '503', fields: [['retry-after', '20']] }), true),
    )
    let ahead = 0
    const dependencies = { ...upstreamDependencies(), clock: () => monotonicClock() + ahead }
    const upstream = quicServerFor('h3', server.endpoint, { dependencies })
    assert.equal((await ask(upstream)).failure, Failure.upstream_malformed)
    server.react = replying
    ahead = 19_000
    assert.equal((await ask(upstream, { budgetMs: 30_000 })).failure, Failure.upstream_network)
    assert.equal(server.queries.length, 1)
    ahead = 20_100
    assert.ok((await ask(upstream, { budgetMs: 30_000 })).answer)
    await upstream.close()
  })

  /** RFC 9114 §8.1. */
  const violations: Readonly<Record<string, readonly [number, (asked: Asked) => void]>> = {
    'settings twice': [0x105, ({ quic }) => quic.send(FIRST_SERVER_UNIDIRECTIONAL, Buffer.from([4, 0]), false)],
    'the end of its control stream': [0x104, ({ quic }) => quic.send(FIRST_SERVER_UNIDIRECTIONAL, Buffer.alloc(0), true)],
    'content before fields': [0x105, ({ quic, stream }) => quic.send(stream, Buffer.from([0, 1, 0]), false)],
    'a push': [0x108, ({ quic, stream }) => quic.send(stream, Buffer.from([5, 1, 0]), false)],
  }
  for (const [what, [code, violate]] of Object.entries(violations)) {
    test(`closes the connection with 0x${code.toString(16)} when the server sends ${what}`, async () => {
      let left = 1
      await using server = await start((asked) => {
        if (left-- > 0) violate(asked)
        else replying(asked)
      })
      const upstream = quicServerFor('h3', server.endpoint)
      await ask(upstream)
      assert.equal(await server.links[0]?.closedWith.promise, code)
      assert.ok((await ask(upstream)).answer)
      await upstream.close()
    })
  }
})
