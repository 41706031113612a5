import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { Failure } from '../../dns/failure.ts'
import type { Endpoint } from '../../net/address.ts'
import { parseResolvConf } from '../../upstream/resolv-conf.ts'
import { aRecord, hex, question, response } from '../harness/messages.ts'
import { dnsServer, type Handler, type TestServer, tcpServer, udpServer } from '../harness/servers.ts'
import { until } from '../harness/until.ts'
import { ask, OwningUpstream, upstreamDependencies } from '../harness/upstream.ts'
import { serverFor, startServer } from './servers.ts'

const answering: Handler = (query, reply) => reply(response(query, { answers: [aRecord()] }))
const silent: Handler = () => {}
const failing: Handler = (query, reply) => reply(response(query, { flags: 0x8182 }))

for (const protocol of ['udp', 'tcp', 'tls', 'https', 'quic', 'h3'] as const) {
  // RFC 9250 §4.2.1, RFC 8484 §4.1: streams tell answers apart, the id is always 0
  const hasIds = protocol === 'udp' || protocol === 'tcp' || protocol === 'tls'
  const start = (handler: Handler): Promise<TestServer> => startServer(protocol, handler)

  describe(`a ${protocol} upstream`, () => {
    test('answers', async () => {
      await using server = await start(answering)
      const upstream = serverFor(protocol, server.endpoint)
      const { message } = await ask(upstream)
      assert.ok(message?.includes(hex('c0000201')))
      await upstream.close()
    })

    test('asks in its own words: fresh id, RD, our size, no option of the client', async () => {
      await using server = await start(answering)
      const upstream = serverFor(protocol, server.endpoint)
      await ask(upstream)
      const [sent] = server.queries
      assert.ok(sent)
      // RFC 8467 §4.1: 128 octets, in the option that comes last; RFC 7830 §6: never in the clear
      const padded = `000c0054 ${'00'.repeat(84)}`
      const opt = { udp: '', tcp: '000b0000', tls: `000b0000 000c0050 ${'00'.repeat(80)}`, https: padded, quic: padded, h3: padded }[
        protocol
      ]
      assert.deepEqual(sent, question({ name: 'example.com', id: hasIds ? sent.readUInt16BE(0) : 0, opt }))
      await upstream.close()
    })

    test('draws ids that nobody can guess, and never one twice at a time', { skip: !hasIds }, async () => {
      await using server = await start(answering)
      const upstream = serverFor(protocol, server.endpoint)
      await Promise.all(Array.from({ length: 300 }, () => ask(upstream)))
      const ids = server.queries.map((query) => query.readUInt16BE(0))
      const sequential = ids.filter((id, i) => i > 0 && id === (ids[i - 1] ?? 0) + 1).length
      assert.ok(sequential < 5)
      if (protocol !== 'udp') assert.equal(new Set(ids).size, 300)
      await upstream.close()
    })

    test('ignores answers under ids that it did not use', { skip: !hasIds }, async () => {
      await using server = await start((query, reply) => {
        const stray = response(query, { answers: [aRecord('203.0.113.66')] })
        stray.writeUInt16BE(query.readUInt16BE(0) ^ 1, 0)
        reply(stray)
        reply(response(query, { answers: [aRecord()] }))
      })
      const dependencies = upstreamDependencies()
      const upstream = serverFor(protocol, server.endpoint, dependencies)
      const { message } = await ask(upstream)
      assert.ok(message?.includes(hex('c0000201')))
      assert.equal(dependencies.meter.counts.ignored, 1)
      await upstream.close()
    })

    test('gives answers to who asked when they come in another order', async () => {
      const held: (() => void)[] = []
      await using server = await start((query, reply) => {
        const last = query[13 + 1] ?? 0
        held.push(() => reply(response(query, { answers: [aRecord(`192.0.2.${last}`)] })))
        if (held.length === 20) for (const send of held.toReversed()) send()
      })
      const upstream = serverFor(protocol, server.endpoint)
      await Promise.all(
        Array.from({ length: 20 }, async (_, i) => {
          const letter = String.fromCharCode(97 + i)
          const { message } = await ask(upstream, { name: `x${letter}.example` })
          assert.ok(message?.includes(Buffer.from([192, 0, 2, 97 + i])))
        }),
      )
      await upstream.close()
    })

    test('reports silence at the deadline', async () => {
      await using server = await start(silent)
      const upstream = serverFor(protocol, server.endpoint)
      const { failure, ms } = await ask(upstream, { budgetMs: 300 })
      assert.equal(failure, Failure.upstream_timeout)
      assert.ok(ms >= 300)
      await upstream.close()
    })

    // the QUIC library hears no ICMP: there it takes the time of a handshake (quic.test.ts)
    test('reports at once that nobody listens', { skip: !hasIds }, async () => {
      const server = await start(silent)
      await server[Symbol.asyncDispose]()
      const upstream = serverFor(protocol, server.endpoint)
      const { failure, ms } = await ask(upstream)
      assert.equal(failure, Failure.upstream_network)
      assert.ok(ms < 1000)
      await upstream.close()
    })

    test('reports a malformed answer', async () => {
      await using server = await start((query, reply) => reply(Buffer.concat([response(query, {}), hex('00')])))
      const upstream = serverFor(protocol, server.endpoint)
      assert.equal((await ask(upstream)).failure, Failure.upstream_malformed)
      await upstream.close()
    })

    test('fails what is in flight when it is closed', async () => {
      await using server = await start(silent)
      const upstream = serverFor(protocol, server.endpoint)
      const outcome = ask(upstream)
      await upstream.close()
      await upstream.close()
      assert.equal((await outcome).failure, Failure.upstream_network)
      assert.equal((await ask(upstream)).failure === null, false)
    })
  })
}

describe('a udp upstream', () => {
  test('keeps waiting after answers to another question', async () => {
    await using server = await udpServer((query, reply) => {
      // one more, and it would be asked again over TCP: udp.test.ts
      for (let i = 0; i < 19; i++)
        reply(response(question({ name: 'evil.example', id: query.readUInt16BE(0) }), { answers: [aRecord('203.0.113.66')] }))
      reply(response(query, { answers: [aRecord()] }))
    })
    const upstream = serverFor('udp', server.endpoint)
    assert.ok((await ask(upstream)).message?.includes(hex('c0000201')))
    await upstream.close()
  })

  test('uses many source ports, and new ones after a while', async () => {
    await using server = await udpServer(answering)
    const upstream = serverFor('udp', server.endpoint)
    // 32 at a time; none is used for more than a few hundred questions
    for (let round = 0; round < 100 && server.peers.size <= 40; round++) {
      await Promise.all(Array.from({ length: 200 }, () => ask(upstream)))
    }
    assert.ok(server.peers.size > 40, `${server.peers.size} ports`)
    await upstream.close()
  })

  test('asks again over TCP when the answer is truncated', async () => {
    await using server = await dnsServer(answering)
    server.udp.handler = (query, reply) => reply(response(query, { flags: 0x8380 }))
    const upstream = serverFor('udp', server.endpoint)
    assert.ok((await ask(upstream)).message?.includes(hex('c0000201')))
    assert.equal(server.tcp.queries.length, 1)
    await upstream.close()
  })
})

for (const protocol of ['tcp', 'tls', 'https', 'quic', 'h3'] as const) {
  const isQuic = protocol === 'quic' || protocol === 'h3'

  describe(`a ${protocol} upstream`, () => {
    test('shares one connection between all questions', async () => {
      await using server = await startServer(protocol, answering)
      const upstream = serverFor(protocol, server.endpoint)
      for (let i = 0; i < 10; i++) await Promise.all(Array.from({ length: 100 }, () => ask(upstream)))
      assert.equal(server.peers.size, 1)
      await upstream.close()
    })

    test('asks once more on a new connection what a closed one left unanswered', async () => {
      let seen = 0
      await using server = await startServer(protocol, (query, reply, connection) => {
        if (++seen <= 10) {
          if (seen === 10) connection.destroy()
          return
        }
        reply(response(query, { answers: [aRecord()] }))
      })
      const upstream = serverFor(protocol, server.endpoint)
      const outcomes = await Promise.all(Array.from({ length: 10 }, () => ask(upstream)))
      assert.ok(outcomes.every(({ answer }) => answer !== null))
      assert.equal(server.queries.length, 20)
      await upstream.close()
    })

    test('does not ask for ever when every connection is closed', async () => {
      await using server = await startServer(protocol, (_query, _reply, connection) => connection.destroy())
      const upstream = serverFor(protocol, server.endpoint)
      assert.equal((await ask(upstream)).failure, Failure.upstream_network)
      assert.equal(server.queries.length, 2)
      await upstream.close()
    })

    test('takes an answer to another question, or a truncated one, for a failure', async () => {
      await using server = await startServer(protocol, (query, reply) =>
        reply(response(question({ name: 'evil.example', id: query.readUInt16BE(0) }), {})),
      )
      const upstream = serverFor(protocol, server.endpoint)
      assert.equal((await ask(upstream)).failure, Failure.upstream_malformed)
      server.handler = (query, reply) => reply(response(query, { flags: 0x8380 }))
      assert.equal((await ask(upstream)).failure, Failure.upstream_truncated)
      await upstream.close()
    })

    // RFC 9250 §5.5.2: a protocol error on QUIC; RFC 7828 §3.1: the option is for DNS over TCP, HTTP/2 has GOAWAY
    test('leaves when the server says so (keepalive 0), after what is open is answered', {
      skip: isQuic || protocol === 'https',
    }, async () => {
      const leave = hex('00 0029 04d0 00000000 0006 000b00020000')
      await using server = await startServer(protocol, (query, reply) =>
        reply(response(query, { answers: [aRecord()], additionals: [leave] })),
      )
      const upstream = serverFor(protocol, server.endpoint)
      await ask(upstream)
      await ask(upstream)
      assert.equal(server.peers.size, 2)
      await upstream.close()
    })
  })
}

describe('ordered upstreams', () => {
  const ordered = (...endpoints: readonly Endpoint[]) => {
    const dependencies = upstreamDependencies()
    return new OwningUpstream(
      endpoints.map((endpoint) => serverFor('udp', endpoint, dependencies)),
      dependencies,
    )
  }

  test('ask the first one only, while it answers', async () => {
    await using first = await udpServer(answering)
    await using second = await udpServer(answering)
    const upstream = ordered(first.endpoint, second.endpoint)
    for (let i = 0; i < 20; i++) await ask(upstream)
    assert.equal(second.queries.length, 0)
    await upstream.close()
  })

  test('go on to the next when the first is silent, within its share of the budget', async () => {
    await using first = await udpServer(silent)
    await using second = await udpServer(answering)
    const upstream = ordered(first.endpoint, second.endpoint)
    const { answer, ms } = await ask(upstream)
    assert.ok(answer)
    assert.ok(ms >= 390 && ms < 800, `${ms} ms`)
    await upstream.close()
  })

  test('go on at once when the first fails or is not there', async () => {
    await using second = await udpServer(answering)
    for (const handler of [failing, null]) {
      const first = await udpServer(handler ?? silent)
      if (handler === null) await first[Symbol.asyncDispose]()
      const upstream = ordered(first.endpoint, second.endpoint)
      const { answer, ms } = await ask(upstream)
      assert.equal(answer?.rcode, 0)
      assert.ok(ms < 300, `${ms} ms`)
      await upstream.close()
      if (handler !== null) await first[Symbol.asyncDispose]()
    }
  })

  test('take the first usable answer, also from a server that is late', async () => {
    const late: (() => void)[] = []
    await using first = await udpServer((query, reply) => late.push(() => reply(response(query, { answers: [aRecord('192.0.2.77')] }))))
    await using second = await udpServer(() => late[0]?.())
    const upstream = ordered(first.endpoint, second.endpoint)
    assert.ok((await ask(upstream)).message?.includes(hex('c000024d')))
    await upstream.close()
  })

  test('send one question at most three times to one silent server', async () => {
    await using only = await udpServer(silent)
    const upstream = ordered(only.endpoint)
    const { failure } = await ask(upstream, { budgetMs: 2500 })
    assert.equal(failure, Failure.upstream_timeout)
    assert.equal(only.queries.length, 3)
    await upstream.close()
  })

  test('wait for a slow server until the deadline', async () => {
    const pending: (() => void)[] = []
    await using only = await udpServer((query, reply) => {
      pending.push(() => reply(response(query, { answers: [aRecord()] })))
      // the third send is the last one: from here on nothing but patience helps
      if (pending.length === 3) pending[0]?.()
    })
    const upstream = ordered(only.endpoint)
    assert.ok((await ask(upstream, { budgetMs: 3000 })).answer)
    await upstream.close()
  })

  test('ask a server again that could not be reached, and is back within the budget', async () => {
    for (const protocol of ['udp', 'tcp'] as const) {
      const before = await dnsServer(silent)
      await before[Symbol.asyncDispose]()
      const dependencies = upstreamDependencies()
      const upstream = new OwningUpstream([serverFor(protocol, before.endpoint, dependencies)], dependencies)
      const outcome = ask(upstream, { budgetMs: 3000 })
      await until(() => dependencies.meter.counts.failed.length > 0)
      await using back = await (protocol === 'udp' ? udpServer : tcpServer)(answering, before.endpoint.port)
      assert.ok((await outcome).answer, protocol)
      assert.equal(back.queries.length, 1)
      await upstream.close()
    }
  })

  test('do not wait for a server that stays away longer than it takes to restart', async () => {
    const away = await udpServer(silent)
    await away[Symbol.asyncDispose]()
    const upstream = ordered(away.endpoint)
    const { failure, ms } = await ask(upstream, { budgetMs: 4000 })
    assert.equal(failure, Failure.upstream_network)
    assert.ok(ms < 2000, `${ms} ms`)
    await upstream.close()
  })

  test('pass on at once what a server says when the others cannot be reached', async () => {
    const away = await udpServer(silent)
    await away[Symbol.asyncDispose]()
    await using second = await udpServer(failing)
    const upstream = ordered(away.endpoint, second.endpoint)
    const { answer, ms } = await ask(upstream)
    assert.equal(answer?.rcode, 2)
    assert.ok(ms < 300, `${ms} ms`)
    await upstream.close()
  })

  test('tell the explanation of a server when all of them fail', async () => {
    const bogus = hex('00 0029 04d0 00000000 0006 000f00020006')
    await using first = await udpServer((query, reply) => reply(response(query, { flags: 0x8182, additionals: [bogus] })))
    const upstream = ordered(first.endpoint, first.endpoint)
    const { answer } = await ask(upstream)
    assert.equal(answer?.rcode, 2)
    assert.equal(answer?.ede, 6)
    await upstream.close()
  })

  test('fail at once when there are none', async () => {
    assert.equal((await ask(ordered())).failure, Failure.upstream_none)
  })
})

test('parseResolvConf() takes the first three name servers and skips everything else', () => {
  const text =
    '# nameserver 1.1.1.1\n;nameserver 2.2.2.2\nsearch lan\nnameserver 9.9.9.9\n nameserver\tfe80::1%eth0 \nnameserver not-an-address\nnameserver ::1\nnameserver 8.8.8.8\noptions edns0\n'
  assert.deepEqual(
    parseResolvConf(text).map(({ host }) => host),
    ['9.9.9.9', 'fe80::1%eth0', '::1'],
  )
})
