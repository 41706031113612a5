import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, before, describe, type TestContext } from 'node:test'
import { createServer as createTls } from 'node:tls'
import { ProbeClient } from '../../gateway/probe/ask.ts'
import { lazyAsk } from '../../gateway/probe/lazy-ask.ts'
import type { ProbeOutcome } from '../../gateway/probe/outcome.ts'
import { type ProbeTarget, type ProbeTransport, probeTargets } from '../../gateway/probe/target.ts'
import { encodeMessage } from '../../net/http3/message-writer.ts'
import type { QuicConnection } from '../../net/quic.ts'
import { framed, http1Server, http2Server, type Identity, selfSigned, tcpServer, tlsServer, udpServer } from '../cli/query-servers.ts'
import { LIMITS, prefixes, runGateway, type TestGateway } from '../harness/gateway.ts'
import { engine } from '../harness/quic.ts'
import { answerOf, TOKEN, targetAt } from './answering.ts'

const STREAMS: readonly ProbeTransport[] = ['tcp', 'dot', 'doh']
const answer = answerOf(3)
const never = new AbortController().signal
let keyDirectory: string
let identity: Identity
let client: ProbeClient

before(async () => {
  keyDirectory = mkdtempSync(join(tmpdir(), 'atlas-test-probe-'))
  identity = await selfSigned()
  client = new ProbeClient({ token: TOKEN, keyDirectory })
})

after(() => rmSync(keyDirectory, { recursive: true }))

const ask = (transport: ProbeTransport, port: number): Promise<ProbeOutcome> => client.ask(targetAt(transport, port), never)

/** On 127.0.0.1, until the test ends. */
async function listening(t: TestContext, server: ReturnType<typeof createServer>): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  return (server.address() as AddressInfo).port
}

type React = (connection: QuicConnection, stream: number, octets: Buffer) => void

async function quicServer(t: TestContext, protocol: 'doq' | 'h3', react: React): Promise<number> {
  const listener = await engine().listen({
    name: 'test',
    endpoint: { host: '127.0.0.1', port: 0 },
    protocol,
    identity: { chainPem: identity.cert, keyPem: identity.key },
    limits: { idleMs: 5000, streams: 10, window: 65_536 },
    connections: 10,
    acceptor: {
      arrived: (connection) => {
        let octets = Buffer.alloc(0)
        const received = (stream: number, bytes: Uint8Array, fin: boolean): void => {
          if (stream !== 0) return
          octets = Buffer.concat([octets, bytes])
          if (fin) react(connection, stream, octets)
        }
        return { established() {}, received, reset() {}, stalled() {}, closed() {} }
      },
    },
  })
  t.after(() => listener.close())
  return listener.endpoint.port
}

/** The content of a request: behind its headers, in a DATA frame of one octet's length. */
const http3Answer: React = (connection, stream, octets) => {
  const content = octets.subarray(octets.length - QUERY_LENGTH)
  const fields = [
    [':status', '200'],
    ['content-type', 'application/dns-message'],
  ] as const
  connection.send(stream, encodeMessage(fields, answer(content)), true)
}
/** Header, name, type and class. */
const QUERY_LENGTH = 12 + 48 + 4

/** A server for each transport that answers as worker 3 does. */
const SERVERS: Readonly<Record<ProbeTransport, (t: TestContext) => Promise<number>>> = {
  udp: (t) => udpServer(t, (message) => [answer(message)]),
  tcp: (t) => tcpServer(t, (message) => [framed(answer(message))]),
  dot: (t) => tlsServer(t, identity, (message) => [framed(answer(message))]),
  doh: (t) => http2Server(t, identity, (_, content) => ({ body: answer(content) })),
  doh3: (t) => quicServer(t, 'h3', http3Answer),
  doq: (t) => quicServer(t, 'doq', (connection, stream, octets) => connection.send(stream, framed(answer(octets.subarray(2))), true)),
}

describe('a probe', () => {
  for (const [transport, serve] of Object.entries(SERVERS) as [ProbeTransport, (typeof SERVERS)['udp']][]) {
    test(`hears who answers: ${transport}`, async (t) => {
      const outcome = await ask(transport, await serve(t))
      assert.ok(outcome.outcome === 'ok' && outcome.seconds > 0, JSON.stringify(outcome))
      assert.equal(outcome.worker, 3)
    })
  }

  test('loads its client when it is needed', async (t) => {
    const outcome = await lazyAsk({ token: TOKEN, keyDirectory })(targetAt('udp', await SERVERS.udp(t)), never)
    assert.equal(outcome.outcome, 'ok')
  })

  test('does not verify certificates, but asks for their name', async (t) => {
    const seen: unknown[] = []
    const port = await tlsServer(t, identity, (message, socket) => {
      seen.push(socket.servername)
      return [framed(answer(message))]
    })
    for (const host of ['dns.example', '127.0.0.1']) await client.ask(targetAt('dot', port, { host }), never)
    assert.deepEqual(seen, ['dns.example', false])
  })
})

describe('a probe has failed', () => {
  const expectFailed = async (outcome: Promise<ProbeOutcome>, reason: RegExp): Promise<void> => {
    const actual = await outcome
    assert.equal(actual.outcome, 'failed')
    assert.match('reason' in actual ? actual.reason : '', reason)
  }

  test('when nobody listens', async (t) => {
    const udp = await tcpServer(t, () => [])
    await expectFailed(ask('udp', udp), /^nobody listens: recvmsg ECONNREFUSED$/)
    const tcp = await udpServer(t, () => [])
    for (const transport of STREAMS) await expectFailed(ask(transport, tcp), /^nobody listens: connect ECONNREFUSED 127\.0\.0\.1:\d+$/)
  })

  test('when a socket is stuck: two seconds later', async (t) => {
    const silent = createSocket('udp4').bind(0, '127.0.0.1')
    await once(silent, 'listening')
    t.after(() => silent.close())
    const { port } = silent.address()
    // a connection that nobody accepts is complete for its client all the same
    const deaf = await listening(t, createServer())
    const outcomes = [...(['udp', 'doh3', 'doq'] as const).map((each) => ask(each, port)), ...STREAMS.map((each) => ask(each, deaf))]
    for (const outcome of outcomes) await expectFailed(outcome, /^no answer within 2 s$/)
  })

  test('on a wrong answer', async (t) => {
    const other = new ProbeClient({ token: TOKEN.replaceAll('0', '1'), keyDirectory })
    await expectFailed(
      other.ask(targetAt('udp', await SERVERS.udp(t)), never),
      /^expected the index of a worker: received an answer with RCODE 3$/,
    )
    const garbage = await tcpServer(t, () => [framed(Buffer.from('garbage that is long enough'))])
    await expectFailed(ask('tcp', garbage), /^the answer has another id/)
    const text = await tcpServer(t, (message) => [
      framed(Buffer.from(answer(message).toString('latin1').replace('\x013', '\x01x'), 'latin1')),
    ])
    await expectFailed(ask('tcp', text), /^expected the index of a worker: received another answer$/)
  })

  test('when TLS does not come about', async (t) => {
    const other = createTls({ ...identity, ALPNProtocols: ['other'] })
    other.on('tlsClientError', () => {})
    const port = await listening(t, other)
    for (const transport of ['dot', 'doh'] as const) await expectFailed(ask(transport, port), /alert no application protocol/)
    const garbage = await listening(
      t,
      createServer((socket) => socket.on('error', () => {}).write('garbage')),
    )
    await expectFailed(ask('dot', garbage), /^wrong version number|packet length/)
  })

  test('on an HTTP status that is no refusal', async (t) => {
    for (const serve of [http1Server, http2Server]) {
      await expectFailed(ask('doh', await serve(t, identity, () => ({ status: 500, body: Buffer.of() }))), /^HTTP status 500$/)
    }
  })

  test('when an answer ends in the middle', async (t) => {
    const port = await listening(
      t,
      createServer((socket) => socket.once('data', () => socket.end(Buffer.of(0, 99, 1)))),
    )
    await expectFailed(ask('tcp', port), /^the server closed the connection without an answer$/)
  })
})

describe('a probe is refused', () => {
  const expectRefused = async (outcome: Promise<ProbeOutcome>): Promise<void> => assert.equal((await outcome).outcome, 'refused')
  const targetsOf = ({ gateway }: TestGateway): readonly ProbeTarget[] =>
    probeTargets(
      { endpoints: gateway.facts.endpoints, http3: true },
      { identities: [], paths: ['/dns-query'], needsToken: false, cleartext: [], proxied: [], certified: [] },
    )

  test('by a server that accepts and closes', async (t) => {
    const port = await listening(
      t,
      createServer((socket) => socket.on('error', () => {}).destroy()),
    )
    for (const transport of STREAMS) await expectRefused(ask(transport, port))
    const late = await listening(
      t,
      createServer((socket) => socket.on('error', () => {}).once('data', () => socket.resetAndDestroy())),
    )
    for (const transport of STREAMS) await expectRefused(ask(transport, late))
  })

  test('by a server that closes behind the handshake', async (t) => {
    for (const protocol of ['dot', 'h2', 'http/1.1']) {
      const server = createTls({ ...identity, ALPNProtocols: [protocol] }, (socket) => socket.on('error', () => {}).destroy())
      server.on('tlsClientError', () => {})
      await expectRefused(ask(protocol === 'dot' ? 'dot' : 'doh', await listening(t, server)))
    }
  })

  test('by HTTP statuses that say so', async (t) => {
    for (const serve of [http1Server, http2Server]) {
      for (const status of [403, 503]) await expectRefused(ask('doh', await serve(t, identity, () => ({ status, body: Buffer.of() }))))
    }
  })

  test('by a QUIC connection that closes for want of room, not by one that has a fault', async (t) => {
    await expectRefused(ask('doq', await quicServer(t, 'doq', (connection) => connection.close(4))))
    await expectRefused(ask('doh3', await quicServer(t, 'h3', (connection) => connection.close(0x107))))
    assert.equal((await ask('doq', await quicServer(t, 'doq', (connection) => connection.close(1)))).outcome, 'failed')
    assert.equal((await ask('doh3', await quicServer(t, 'h3', (connection) => connection.close(0x102)))).outcome, 'failed')
  })

  test('by the access lists of a gateway', async () => {
    const nobody = prefixes('192.0.2.0/24')
    await using gateway = await runGateway([], { access: { dns: nobody, encrypted: nobody, tokenFile: null } })
    const targets = targetsOf(gateway).filter(({ transport }) => transport !== 'udp')
    assert.equal(targets.length, 5)
    // DoQ closes while the handshake is still under way, and which code arrives is a matter of chance
    const doq = targets.find(({ transport }) => transport === 'doq')
    assert.ok(doq)
    for (const target of [...targets, ...Array.from({ length: 8 }, () => doq)]) {
      const outcome = await client.ask(target, never)
      assert.equal(outcome.outcome, 'refused', `${target.transport}: ${JSON.stringify(outcome)}`)
    }
  })

  test('by the connection limit of a gateway', async (t) => {
    await using gateway = await runGateway([], {
      limits: { ...LIMITS, connectionsPerClient: 1, inFlightPerConnection: 1, idle: { streamMs: 30_000, httpMs: 30_000, quicMs: 30_000 } },
    })
    const socket = connect(gateway.dns)
    await once(socket, 'connect')
    t.after(() => socket.destroy())
    for (const target of targetsOf(gateway)) {
      if (target.transport !== 'udp') assert.equal((await client.ask(target, never)).outcome, 'refused', target.transport)
    }
  })
})

test('a probe ends at once when it is told to', async (t) => {
  const silent = createSocket('udp4').bind(0, '127.0.0.1')
  await once(silent, 'listening')
  t.after(() => silent.close())
  const deaf = await listening(t, createServer())
  const startedAt = performance.now()
  for (const transport of Object.keys(SERVERS) as ProbeTransport[]) {
    const stop = new AbortController()
    const outcome = client.ask(targetAt(transport, STREAMS.includes(transport) ? deaf : silent.address().port), stop.signal)
    stop.abort()
    assert.equal((await outcome).outcome, 'failed')
  }
  assert.ok(performance.now() - startedAt < 1500)
})
