import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { Failure } from '../../dns/failure.ts'
import { aRecord, hex, question, record, response } from '../harness/messages.ts'
import { type Asked, QuicTestServer, replying } from '../harness/quic-servers.ts'
import { frame, type Handler } from '../harness/servers.ts'
import { until } from '../harness/until.ts'
import { ask, upstreamDependencies } from '../harness/upstream.ts'
import { leaf, quicServerFor } from './servers.ts'

const answering: Handler = (query, reply) => reply(response(query, { answers: [aRecord()] }))
const PROTOCOL_ERROR = 2

async function start(react: (asked: Asked) => void = replying): Promise<QuicTestServer> {
  const server = await QuicTestServer.start({ protocol: 'doq', identity: { chainPem: leaf.certPem, keyPem: leaf.keyPem }, react })
  server.handler = answering
  return server
}

const good = (query: Buffer): Buffer => frame(response(query, { answers: [aRecord()] }))

function withId(query: Buffer, id: number): Buffer {
  const message = Buffer.from(response(query, { answers: [aRecord()] }))
  message.writeUInt16BE(id, 0)
  return frame(message)
}

const keepalive = hex('00 0029 04d0 00000000 0006 000b00020064')

/** RFC 9250 §4.3.3. */
const violations: Readonly<Record<string, (asked: Asked) => void>> = {
  'an id that is not 0': ({ quic, stream, query }) => quic.send(stream, withId(query, 0x1234), true),
  'two messages': ({ quic, stream, query }) => quic.send(stream, Buffer.concat([good(query), good(query)]), true),
  'an octet behind the message': ({ quic, stream, query }) => quic.send(stream, Buffer.concat([good(query), Buffer.from([0])]), true),
  'a FIN before the end of the message': ({ quic, stream, query }) => quic.send(stream, good(query).subarray(0, 20), true),
  'a FIN and nothing': ({ quic, stream }) => quic.send(stream, Buffer.alloc(0), true),
  'a message that has no header': ({ quic, stream }) => quic.send(stream, frame(Buffer.alloc(11)), true),
  'a stream of its own': ({ quic }) => quic.send(3, Buffer.from('x'), false),
  'edns-tcp-keepalive': ({ quic, stream, query }) =>
    quic.send(stream, frame(response(query, { answers: [aRecord()], additionals: [keepalive] })), true),
}

describe('a quic upstream', () => {
  for (const [what, violate] of Object.entries(violations)) {
    test(`closes with DOQ_PROTOCOL_ERROR when the server sends ${what}; what else was open is asked again`, async () => {
      const held: Asked[] = []
      await using server = await start((asked) => {
        if (asked.query.includes('bad')) violate(asked)
        else if (server.links.length === 1 && asked.query.includes('held')) held.push(asked)
        else replying(asked)
      })
      const dependencies = upstreamDependencies()
      const upstream = quicServerFor('quic', server.endpoint, { dependencies })
      const open = ask(upstream, { name: 'held.example' })
      await until(() => held.length > 0)
      const bad = ask(upstream, { name: 'bad.example', budgetMs: 3000 })
      assert.equal(await server.links[0]?.closedWith.promise, PROTOCOL_ERROR)
      assert.ok((await open).answer)
      // a stream of the server's has nothing to do with the question, which is asked once more
      const expected = what === 'a stream of its own' ? Failure.upstream_network : Failure.upstream_malformed
      assert.equal((await bad).failure, expected)
      assert.ok((await ask(upstream, { name: 'good.example' })).answer)
      await upstream.close()
    })
  }

  test('takes an answer octet by octet, and its FIN when it comes', async () => {
    let finish = (): void => {}
    await using server = await start(async ({ quic, stream, query }) => {
      for (const octet of good(query)) {
        quic.send(stream, Buffer.from([octet]), false)
        await turn()
      }
      finish = () => quic.send(stream, Buffer.alloc(0), true)
    })
    const upstream = quicServerFor('quic', server.endpoint)
    assert.ok((await ask(upstream)).answer)
    finish()
    server.react = replying
    for (let i = 0; i < 5; i++) assert.ok((await ask(upstream)).answer)
    assert.equal(server.links.length, 1)
    await upstream.close()
  })

  test('closes the connection on which more comes behind an answer that was taken', async () => {
    let more = (): void => {}
    await using server = await start(({ quic, stream, query }) => {
      quic.send(stream, good(query), false)
      more = () => quic.send(stream, good(query), true)
    })
    const upstream = quicServerFor('quic', server.endpoint)
    assert.ok((await ask(upstream)).answer)
    more()
    assert.equal(await server.links[0]?.closedWith.promise, PROTOCOL_ERROR)
    await upstream.close()
  })

  test('takes the largest messages, many at a time', async () => {
    const texts = Array.from({ length: 250 }, () =>
      record({ type: 16, rdata: Buffer.concat([Buffer.from([239]), Buffer.alloc(239, 'x')]) }),
    )
    await using server = await start()
    server.handler = (query, reply) => reply(response(query, { answers: texts }))
    const upstream = quicServerFor('quic', server.endpoint)
    const outcomes = await Promise.all(Array.from({ length: 10 }, () => ask(upstream, { type: 16, budgetMs: 10_000 })))
    assert.ok(outcomes.every(({ answer }) => (answer?.body.end ?? 0) > 60_000))
    await upstream.close()
  })

  test('closes the connection of a server that begins more answers than it ends', async () => {
    const begun = Buffer.concat([Buffer.from([0xff, 0xff]), Buffer.alloc(60_000)])
    let begin = 0
    // the server's own library holds 1 MiB of what was sent and has not left
    await using server = await start(({ quic, stream }) => void setTimeout(() => quic.send(stream, begun, false), 20 * begin++))
    const upstream = quicServerFor('quic', server.endpoint)
    const outcomes = Promise.all(Array.from({ length: 100 }, () => ask(upstream, { budgetMs: 15_000 })))
    await until(() => server.links.length > 0)
    // DOQ_EXCESSIVE_LOAD
    assert.equal(await server.links[0]?.closedWith.promise, 4)
    await upstream.close()
    assert.ok((await outcomes).every(({ failure }) => failure !== null))
  })

  test('is not told another question by a stream that was answered', async () => {
    await using server = await start(({ quic, stream }) => quic.send(stream, good(question({ name: 'evil.example', id: 0 })), true))
    const upstream = quicServerFor('quic', server.endpoint)
    // conformance VAL-08
    assert.equal((await ask(upstream)).failure, Failure.upstream_malformed)
    assert.equal(server.links[0]?.isClosed, false)
    await upstream.close()
  })
})
