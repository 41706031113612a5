import assert from 'node:assert/strict'
import { createSocket, type RemoteInfo } from 'node:dgram'
import { once } from 'node:events'
import test, { describe } from 'node:test'
import { decode } from 'dns-packet'
import { Failure } from '../../dns/failure.ts'
import type { Endpoint } from '../../net/address.ts'
import { monotonicClock } from '../../net/clock.ts'
import { createServer } from '../../upstream/dial.ts'

import { aRecord, hex, question, record, response } from '../harness/messages.ts'
import { dnsServer, type Handler, udpServer } from '../harness/servers.ts'
import { until } from '../harness/until.ts'
import { ask, OwningUpstream, upstreamDependencies } from '../harness/upstream.ts'
import { serverFor, terms } from './servers.ts'

const answering: Handler = (query, reply) => reply(response(query, { answers: [aRecord()] }))
const forged: Handler = (query, reply) => reply(response(query, { answers: [aRecord('203.0.113.66')] }))
const genuine = hex('c0000201')
const MINUTE = 60_000

function withRandomCase(endpoint: Endpoint) {
  return createServer({ name: 'test', protocol: 'udp', endpoint, terms: terms(), randomizeCase: true }, upstreamDependencies())
}

/** Of a question, as it stands. */
function nameOf(query: Buffer): Buffer {
  let end = 12
  while (query[end] !== 0) end += 1 + (query[end] ?? 0)
  return query.subarray(12, end + 1)
}

/** Of `counts` that should all be equal. */
function chiSquare(counts: readonly number[]): number {
  const expected = counts.reduce((sum, count) => sum + count, 0) / counts.length
  return counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0)
}

function histogram(values: Iterable<number>, buckets: number): number[] {
  const counts = Array.from({ length: buckets }, () => 0)
  for (const value of values) counts[value] = (counts[value] ?? 0) + 1
  return counts
}

/** Answers, and keeps who asked under which id. */
async function peerServer() {
  const socket = createSocket('udp4').bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const exchanges: { from: RemoteInfo; id: number }[] = []
  socket.on('message', (query, from) => {
    exchanges.push({ from, id: query.readUInt16BE(0) })
    socket.send(response(query, { answers: [aRecord()] }), from.port, from.address)
  })
  return {
    endpoint: { host: '127.0.0.1', port: socket.address().port },
    exchanges,
    async [Symbol.asyncDispose]() {
      await new Promise<void>((resolve) => void socket.close(() => resolve()))
    },
  }
}

describe('the letter case of names (0x20)', () => {
  const NAME = 'a-name-of-many-letters.and-labels.example'

  test('is drawn at random for every question, and nothing else of the name is', async () => {
    await using server = await udpServer(answering)
    const upstream = withRandomCase(server.endpoint)
    for (let i = 0; i < 200; i++) await ask(upstream, { name: NAME })
    const names = server.queries.map((query) => nameOf(query).toString('latin1'))
    assert.equal(new Set(names.map((name) => name.toLowerCase())).size, 1)
    assert.ok(new Set(names).size > 195)
    // 200 fair coins for each letter: 30 or 170 heads are not seen in a lifetime
    for (let i = 0; i < (names[0] ?? '').length; i++) {
      if (!/[a-z]/i.test(names[0]?.[i] ?? '')) continue
      const upper = names.filter((name) => /[A-Z]/.test(name[i] ?? '')).length
      assert.ok(upper > 30 && upper < 170, `${i}: ${upper}`)
    }
    await upstream.close()
  })

  test('is the client’s own where it is switched off', async () => {
    await using server = await udpServer(answering)
    const upstream = serverFor('udp', server.endpoint)
    await ask(upstream, { name: 'MiXed.example' })
    assert.ok(server.queries[0]?.includes('MiXed'))
    await upstream.close()
  })

  test('has to come back: an answer that has another is asked for again over TCP', async () => {
    await using server = await dnsServer(answering)
    server.udp.handler = (query, reply, connection) => {
      const lowered = Buffer.from(query)
      for (let i = 12; i < 12 + nameOf(query).length; i++)
        lowered[i] = String.fromCharCode(query[i] ?? 0)
          .toLowerCase()
          .charCodeAt(0)
      forged(lowered, reply, connection)
    }
    const upstream = withRandomCase(server.endpoint)
    const { message } = await ask(upstream, { name: NAME })
    assert.ok(message?.includes(genuine))
    assert.equal(server.udp.queries.length, 1)
    assert.equal(server.tcp.queries.length, 1)
    await upstream.close()
  })

  test('has to come back letter by letter', async () => {
    await using server = await dnsServer(answering)
    server.udp.handler = (query, reply, connection) => {
      const almost = Buffer.from(query)
      almost[12 + nameOf(query).length - 2] = (query[12 + nameOf(query).length - 2] ?? 0) ^ 0x20
      forged(almost, reply, connection)
    }
    const upstream = withRandomCase(server.endpoint)
    assert.ok((await ask(upstream, { name: NAME })).message?.includes(genuine))
    await upstream.close()
  })

  test('is not needed of a name without letters', async () => {
    await using server = await udpServer(answering)
    const upstream = withRandomCase(server.endpoint)
    for (const name of ['', '1.2.3.4']) assert.equal((await ask(upstream, { name })).answer?.rcode, 0)
    await upstream.close()
  })

  for (const rewritten of [false, true]) {
    test(`does not show in answers${rewritten ? ' that are written anew' : ''}`, async () => {
      const alias = Buffer.concat([hex('0577777777'), hex('77'), hex('c00c')])
      await using server = await udpServer((query, reply) => {
        const target = 12 + nameOf(query).length + 4 + 12
        const answers = [
          // names that point at the question, and an owner that repeats it
          record({ type: 5, rdata: alias }),
          aRecord('192.0.2.1', { owner: Buffer.from([0xc0, target]) }),
          ...(rewritten ? [aRecord('192.0.2.9', { owner: hex('04 65766964 00') })] : []),
        ]
        const additionals = [aRecord('192.0.2.2', { owner: nameOf(query) })]
        reply(response(query, { answers, additionals }))
      })
      const upstream = withRandomCase(server.endpoint)
      const { answer, message } = await ask(upstream, { name: 'Client.eXample-of-many-letters' })
      assert.ok(answer && message)
      const { questions, answers, additionals } = decode(message)
      const names = [...(questions ?? []), ...(answers ?? []), ...(additionals ?? [])].map(({ name }) => name)
      const own = 'Client.eXample-of-many-letters'
      assert.deepEqual(names, [own, own, `wwwww.${own}`, own, '.'])
      // what the cache keeps
      assert.ok(!Buffer.from(answer.body.bytes).includes(nameOf(server.queries[0] as Buffer)))
      await upstream.close()
    })
  }
})

describe('datagrams that answer nothing', () => {
  const evil = (query: Buffer): Buffer => response(question({ name: 'evil.example', id: query.readUInt16BE(0) }), { answers: [aRecord()] })

  test('are ignored up to nineteen; then all that waits at the port is asked over TCP, and the port is left', async () => {
    await using server = await dnsServer(answering)
    const guesses = new Map<string, number>([
      ['few', 19],
      ['many', 20],
    ])
    server.udp.handler = (query, reply) => {
      const [, count = 0] = [...guesses].find(([name]) => query.includes(name)) ?? []
      for (let i = 0; i < count; i++) reply(evil(query))
      // RFC 5452 §9.3: an answer that comes after so many is nobody’s any more
      reply(response(query, { answers: [aRecord('192.0.2.77')] }))
    }
    const dependencies = upstreamDependencies()
    const upstream = serverFor('udp', server.endpoint, dependencies)
    assert.ok((await ask(upstream, { name: 'few.example' })).message?.includes(hex('c000024d')))
    assert.equal(server.tcp.queries.length, 0)
    const before = dependencies.meter.counts.ignored
    assert.ok((await ask(upstream, { name: 'many.example' })).message?.includes(genuine))
    assert.ok(dependencies.meter.counts.ignored - before <= 20)
    assert.equal(server.tcp.queries.length, 1)
    await upstream.close()
  })

  test('lead to the right answer however many they are', async () => {
    await using server = await dnsServer(answering)
    server.udp.handler = (query, reply) => {
      for (let i = 1; i <= 1000; i++) {
        const guess = response(query, { answers: [aRecord('203.0.113.66')] })
        guess.writeUInt16BE((query.readUInt16BE(0) + i) & 0xffff, 0)
        reply(guess)
      }
      forged(query, reply, { destroy: () => {} })
    }
    const upstream = serverFor('udp', server.endpoint)
    assert.ok((await ask(upstream)).message?.includes(genuine))
    await upstream.close()
  })

  test('are of no effect while nothing waits', async () => {
    const stray: (() => void)[] = []
    await using server = await udpServer((query, reply, connection) => {
      stray.push(() => reply(evil(query)))
      answering(query, reply, connection)
    })
    const dependencies = upstreamDependencies()
    const upstream = serverFor('udp', server.endpoint, dependencies)
    // some fifty to a port
    for (let round = 1; round <= 200; round++) {
      await ask(upstream)
      for (const send of stray.splice(0)) for (let i = 0; i < 8; i++) send()
      await until(() => dependencies.meter.counts.ignored >= 8 * round)
    }
    assert.ok(server.peers.size <= 32, `${server.peers.size} ports`)
    await upstream.close()
  })

  test('may say that they are questions, or come from elsewhere: neither is an answer', async () => {
    const other = createSocket('udp4')
    await using server = await udpServer((query, reply) => {
      reply(query)
      const [port] = server.peers
      other.send(response(query, { answers: [aRecord('203.0.113.66')] }), port ?? 0, '127.0.0.1', () =>
        reply(response(query, { answers: [aRecord()] })),
      )
    })
    const dependencies = upstreamDependencies()
    const upstream = serverFor('udp', server.endpoint, dependencies)
    assert.ok((await ask(upstream)).message?.includes(genuine))
    assert.equal(dependencies.meter.counts.ignored, 1)
    other.close()
    await upstream.close()
  })
})

describe('ids and ports of 10,000 questions', () => {
  // bounds of χ² with 63, 31 and 7 degrees of freedom that chance exceeds less often than once in 10⁹ runs
  const BOUND_63 = 160
  const BOUND_31 = 110
  const BOUND_7 = 56

  test('cannot be predicted: every id and every port is as likely as any other, and soon the ports are others', async () => {
    const late = { ms: 0 }
    await using server = await peerServer()
    const clock = () => monotonicClock() + late.ms
    const upstream = serverFor('udp', server.endpoint, { ...upstreamDependencies(), clock })
    const ports: number[] = []
    for (let minute = 0; minute < 5; minute++) {
      late.ms = minute * MINUTE
      const seen = server.exchanges.length
      for (let i = 0; i < 10; i++) await Promise.all(Array.from({ length: 200 }, () => ask(upstream, { clock })))
      const used = server.exchanges.slice(seen).map(({ from }) => from.port)
      const open = [...new Set(used)]
      assert.equal(open.length, 32)
      const counts = histogram(
        used.map((port) => open.indexOf(port)),
        32,
      )
      assert.ok(chiSquare(counts) < BOUND_31, `${counts}`)
      ports.push(...open)
    }
    assert.ok(new Set(ports).size > 150)
    assert.ok(
      chiSquare(
        histogram(
          ports.map((port) => port & 7),
          8,
        ),
      ) < BOUND_7,
      `${ports}`,
    )
    const ids = server.exchanges.map(({ id }) => id)
    assert.equal(ids.length, 10_000)
    for (const shift of [0, 5, 10])
      assert.ok(
        chiSquare(
          histogram(
            ids.map((id) => (id >>> shift) & 63),
            64,
          ),
        ) < BOUND_63,
      )
    const steps = ids.slice(1).map((id, i) => (id - (ids[i] ?? 0)) & 63)
    assert.ok(chiSquare(histogram(steps, 64)) < BOUND_63)
    await upstream.close()
  })

  test('are not those of the client: its id is 0 over HTTP and QUIC', async () => {
    await using server = await udpServer(answering)
    const upstream = serverFor('udp', server.endpoint)
    await ask(upstream, { id: 0 })
    await ask(upstream, { id: 0 })
    const ids = server.queries.map((query) => query.readUInt16BE(0))
    assert.notDeepEqual(ids, [0, 0])
    await upstream.close()
  })
})

describe('the address to ask from', () => {
  test('is the one that is configured, with ports at random', async () => {
    await using server = await peerServer()
    const { endpoint } = server
    const options = { name: 'test', protocol: 'udp', endpoint, terms: terms({ source: '127.0.0.9' }), cookies: true } as const
    const upstream = createServer(options, upstreamDependencies())
    for (let i = 0; i < 50; i++) await ask(upstream)
    assert.deepEqual([...new Set(server.exchanges.map(({ from }) => from.address))], ['127.0.0.9'])
    assert.ok(new Set(server.exchanges.map(({ from }) => from.port)).size > 10)
    await upstream.close()
  })

  test('fails at once when this machine does not have it', async () => {
    await using server = await udpServer(answering)
    for (const source of ['192.0.2.1', '::1']) {
      const options = { name: 'test', protocol: 'udp', endpoint: server.endpoint, terms: terms({ source }), cookies: true } as const
      const upstream = createServer(options, upstreamDependencies())
      assert.equal((await ask(upstream)).failure, Failure.upstream_network)
      await upstream.close()
    }
  })
})

test('a question to a server that truncates and is silent over TCP is sent three times over each at most', async () => {
  await using server = await dnsServer(() => {})
  server.udp.handler = (query, reply) => reply(response(query, { flags: 0x8380 }))
  const dependencies = upstreamDependencies()
  const only = serverFor('udp', server.endpoint, dependencies)
  const { failure } = await ask(new OwningUpstream([only], dependencies), { budgetMs: 2500 })
  assert.equal(failure, Failure.upstream_timeout)
  assert.ok(server.udp.queries.length <= 3)
  assert.ok(server.tcp.queries.length <= 3)
  await only.close()
})
