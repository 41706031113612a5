import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect as http2Connect } from 'node:http2'
import { connect } from 'node:net'
import test, { describe } from 'node:test'
import { CLIENTS, exchange, openTcp, openTls, type Reaction } from '../harness/clients.ts'
import { prefixes, runGateway } from '../harness/gateway.ts'
import { aRecord, hex, question, response, vector } from '../harness/messages.ts'
import { metric } from '../harness/metrics.ts'
import { dnsServer, frame, type Handler, holding } from '../harness/servers.ts'
import { until } from '../harness/until.ts'

const answering: Handler = (query, reply) => reply(response(query, { answers: [aRecord()] }))
const EXAMPLE = question({ name: 'www.example.com', opt: '' })

function summary(reaction: Reaction): { rcode: number; ede: number | null } | Reaction {
  if (reaction.kind !== 'answer') return reaction
  const { message } = reaction
  const ede = message.indexOf(hex('000f'), message.indexOf(hex('00002904d0')) + 11)
  return { rcode: (message[3] ?? 0) & 15, ede: ede < 0 ? null : message.readUInt16BE(ede + 4) }
}

describe('an upstream that goes away', () => {
  for (const client of CLIENTS) {
    test(`is SERVFAIL with an explanation over ${client.name}, and is asked again when it is back`, async () => {
      const upstream = await dnsServer(() => {})
      await using gateway = await runGateway([upstream.endpoint], { timeouts: { queryMs: 1500, handshakeMs: 5000, drainMs: 5000 } })
      const waiting = client.send(gateway, EXAMPLE)
      await until(() => upstream.udp.queries.length > 0)
      await upstream[Symbol.asyncDispose]()
      const lost = summary(await waiting)
      assert.ok('rcode' in lost && lost.rcode === 2 && (lost.ede === 22 || lost.ede === 23), JSON.stringify(lost))
      const back = await dnsServerOn(upstream.endpoint.port)
      // another question: that this one failed is remembered for a moment (RFC 9520 §3.2)
      assert.deepEqual(summary(await client.send(gateway, question({ name: 'again.example.com', opt: '' }))), { rcode: 0, ede: null })
      await back[Symbol.asyncDispose]()
    })
  }

  test('and no upstream at all are answered at once', async () => {
    await using gateway = await runGateway([])
    for (const client of CLIENTS) assert.deepEqual(summary(await client.send(gateway, EXAMPLE)), { rcode: 2, ede: 22 })
  })
})

describe('access', () => {
  test('keeps plain DNS from who is not on its list, and leaves encrypted DNS open', async () => {
    await using upstream = await dnsServer(answering)
    await using gateway = await runGateway([upstream.endpoint], {
      access: { dns: prefixes('192.0.2.0/24'), encrypted: prefixes('0.0.0.0/0'), tokenFile: null },
    })
    const [, tcp, dot] = CLIENTS
    assert.equal((await tcp?.send(gateway, EXAMPLE))?.kind, 'closed')
    assert.equal((await dot?.send(gateway, EXAMPLE))?.kind, 'answer')
    assert.equal(await metric(gateway, 'atlas_drops_total{reason="access_denied"}'), 1)
    assert.equal(upstream.udp.queries.length, 1)
  })

  test('of one listener goes before that of all', async () => {
    await using upstream = await dnsServer(answering)
    const closed = [
      {
        endpoint: { host: '127.0.0.1', port: 0 },
        access: prefixes('192.0.2.1'),
        proxyProtocol: null,
        clientCa: null,
        cleartext: false,
        byDefault: false,
      },
    ]
    await using gateway = await runGateway([upstream.endpoint], { listen: { dns: [], dot: closed, doq: [], doh: [], admin: null } })
    await assert.rejects(openTls(gateway))
  })
})

describe('drain()', () => {
  test('answers what is open, takes nothing new, and ends', async () => {
    const held: (() => void)[] = []
    await using upstream = await dnsServer(holding((send) => held.push(send)))
    await using gateway = await runGateway([upstream.endpoint])
    // a question each: the same of all would be asked once
    const replies = CLIENTS.map((client, i) => client.send(gateway, question({ name: `slow${i}.example.com`, opt: '' })))
    await until(() => held.length >= CLIENTS.length)
    const drained = gateway.gateway.drain()
    assert.equal((await fetch(`http://127.0.0.1:${gateway.admin.port}/readyz`)).status, 503)
    const refused = connect(gateway.dns.port, gateway.dns.host)
    await once(refused, 'error')
    for (const send of held) send()
    for (const reply of replies) assert.equal((await reply).kind, 'answer')
    await drained
  })

  test('tells stream clients that are waiting, and ends idle connections', async () => {
    const held: (() => void)[] = []
    await using upstream = await dnsServer(holding((send) => held.push(send)))
    await using gateway = await runGateway([upstream.endpoint])
    const idle = await openTcp(gateway)
    idle.resume()
    const reply = exchange(await openTcp(gateway), question({ name: 'slow.example.com', opt: '' }))
    await until(() => held.length > 0)
    const drained = gateway.gateway.drain()
    await once(idle, 'close')
    for (const send of held) send()
    const reaction = await reply
    assert.ok(reaction.kind === 'answer' && reaction.message.includes(hex('000b00020000')))
    await drained
  })

  test('ends at the deadline, whatever is open', async () => {
    await using upstream = await dnsServer(() => {})
    await using gateway = await runGateway([upstream.endpoint], { timeouts: { queryMs: 60_000, handshakeMs: 5000, drainMs: 300 } })
    const sockets = await Promise.all([openTcp(gateway), openTls(gateway)])
    for (const [i, socket] of sockets.entries()) {
      socket.on('error', () => {})
      socket.resume()
      socket.write(frame(question({ name: `${i}.example.com`, opt: '' })))
    }
    const session = http2Connect(`https://localhost:${gateway.doh.port}`, {
      ca: gateway.ca,
      lookup: (_host, _options, done) => done(null, [{ address: '127.0.0.1', family: 4 }]),
    })
    session.on('error', () => {})
    const stream = session.request({ ':path': `/dns-query?dns=${EXAMPLE.toString('base64url')}` })
    stream.on('error', () => {})
    await until(() => upstream.udp.queries.length >= 3)
    const started = performance.now()
    await gateway.gateway.drain()
    assert.ok(performance.now() - started < 3000)
    session.destroy()
  })

  test('and close() may be called again, in any order', async () => {
    await using gateway = await runGateway([])
    await gateway.gateway.drain()
    await gateway.gateway.close()
    await gateway.gateway.drain()
    await gateway.gateway.close()
  })
})

describe('the admin listener', () => {
  test('serves three paths to GET and HEAD', async () => {
    await using gateway = await runGateway([])
    const url = `http://127.0.0.1:${gateway.admin.port}`
    const status = async (path: string, method = 'GET') => (await fetch(url + path, { method })).status
    assert.equal(await status('/healthz'), 200)
    assert.equal(await status('/readyz'), 200)
    assert.equal(await status('/metrics'), 200)
    assert.equal(await status('/metrics', 'HEAD'), 200)
    // without a token nothing else is even known to be there
    assert.equal(await status('/metrics', 'POST'), 403)
    assert.equal(await status('/v1/status'), 403)
    assert.equal(await status('/metrics/'), 403)
  })

  test('counts queries, answers, failures and connections', async () => {
    await using upstream = await dnsServer(answering)
    await using gateway = await runGateway([upstream.endpoint])
    for (const client of CLIENTS) await client.send(gateway, EXAMPLE)
    await CLIENTS[0]?.send(gateway, vector('V24'))
    const socket = await openTls(gateway)
    socket.write(frame(EXAMPLE))
    await once(socket, 'data')
    assert.equal(await metric(gateway, 'atlas_queries_total{transport="udp"}'), 2)
    assert.equal(await metric(gateway, 'atlas_answers_total{transport="doh1",rcode="NOERROR",source="upstream"}'), 1)
    assert.equal(await metric(gateway, 'atlas_drops_total{reason="malformed_message"}'), 1)
    assert.equal(await metric(gateway, 'atlas_connections{transport="dot"}'), 1)
    assert.equal(await metric(gateway, 'atlas_handshakes_total{transport="dot",outcome="ok",version="TLSv1.3",resumed="false"}'), 2)
    assert.equal(await metric(gateway, 'atlas_query_seconds_count{transport="dot",source="upstream"}'), 2)
    // and what the gateway asks to know whether it is there
    assert.ok((await metric(gateway, 'atlas_upstream_answers_total{upstream="upstream0"}')) > CLIENTS.length)
    assert.equal(await metric(gateway, 'atlas_handshakes_total{transport="doq",outcome="ok",version="TLSv1.3",resumed="false"}'), 1)
    assert.equal(await metric(gateway, 'atlas_answers_total{transport="doh3",rcode="NOERROR",source="upstream"}'), 1)
    assert.ok((await metric(gateway, 'atlas_certificate_expiry_seconds{name="localhost"}')) > 390 * 86_400)
    assert.equal(await metric(gateway, 'atlas_queries_open'), 0)
    socket.destroy()
  })
})

describe('the query log', () => {
  test('is silent by default, and says who asked what when it is asked to', async () => {
    await using upstream = await dnsServer(answering)
    await using silent = await runGateway([upstream.endpoint])
    await CLIENTS[1]?.send(silent, EXAMPLE)
    assert.ok(!silent.log.join('').includes('example'))
    await using all = await runGateway([upstream.endpoint], { log: { level: 'info', queries: { kind: 'share', share: 1 } } })
    await CLIENTS[1]?.send(all, EXAMPLE)
    const line = JSON.parse(all.log.find((each) => each.includes('"query"')) ?? '{}') as Record<string, unknown>
    assert.deepEqual(
      [line.transport, line.client, line.name, line.type, line.rcode],
      ['tcp', '127.0.0.1', 'www.example.com.', 'A', 'NOERROR'],
    )
    await CLIENTS[1]?.send(all, question({ name: 'secret.Onion' }))
    assert.ok(all.log.some((each) => each.includes('"name":"onion."')))
    assert.doesNotMatch(all.log.join(''), /secret/)
    await using errors = await runGateway([upstream.endpoint], { log: { level: 'info', queries: { kind: 'errors' } } })
    await CLIENTS[1]?.send(errors, EXAMPLE)
    await CLIENTS[1]?.send(errors, vector('V24'))
    assert.equal(errors.log.filter((each) => each.includes('"query"')).length, 1)
  })
})

async function dnsServerOn(port: number): Promise<AsyncDisposable> {
  const { tcpServer, udpServer } = await import('../harness/servers.ts')
  const udp = await udpServer(answering, port)
  const tcp = await tcpServer(answering, port)
  return {
    async [Symbol.asyncDispose]() {
      await udp[Symbol.asyncDispose]()
      await tcp[Symbol.asyncDispose]()
    },
  }
}
