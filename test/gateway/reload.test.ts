import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, writeFileSync } from 'node:fs'
import { connect as http2Connect } from 'node:http2'
import { Socket } from 'node:net'
import { join } from 'node:path'
import test, { describe } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as tlsConnect } from 'node:tls'
import { AdminClient } from '../../gateway/admin/client.ts'
import type { UpstreamStatus } from '../../gateway/admin/control.ts'
import type { Endpoint } from '../../net/address.ts'
import { issue } from '../certs/issue.ts'
import { CLIENTS, exchange, openTls } from '../harness/clients.ts'
import { prefixes, runGateway, type TestGateway, TLS, testConfig, upstreamConfig } from '../harness/gateway.ts'
import { dotAt, free, http1At, isRefused, Keeper, shown } from '../harness/keeper.ts'
import { aRecord, question, response, wireName } from '../harness/messages.ts'
import { rcode } from '../harness/pipeline.ts'
import { dialQuic } from '../harness/quic.ts'
import { ANYWHERE, answering, ask, at, changesOf, everyClientIsAnswered, listen } from '../harness/reload.ts'
import { dnsServer, frame, type Handler, holding } from '../harness/servers.ts'
import { temporaryDirectory } from '../harness/temporary.ts'
import { until } from '../harness/until.ts'

describe('a reload', () => {
  test('of the same configuration changes nothing and says so', async () => {
    await using upstream = await dnsServer(answering)
    await using gateway = await runGateway([upstream.endpoint])
    const kept = await dotAt(gateway, gateway.dot)
    const before = gateway.gateway.facts
    assert.deepEqual(await gateway.reload({}), { outcome: 'unchanged', changes: [], restartOnly: [], warnings: [] })
    assert.deepEqual(gateway.gateway.facts, before)
    await kept.ask(ask())
    kept.socket.destroy()
    await everyClientIsAnswered(gateway)
  })

  test('adds listeners and drains those that are gone; what stays is not touched', async () => {
    const held: (() => void)[] = []
    await using upstream = await dnsServer(holding((send) => held.push(send)))
    await using gateway = await runGateway([upstream.endpoint], listen({ dot: [ANYWHERE, ANYWHERE], doh: [ANYWHERE, ANYWHERE] }))
    const { endpoints } = gateway.gateway.facts
    const [stays, goes] = endpoints.dot as [Endpoint, Endpoint]
    const [, gone] = endpoints.doh as [Endpoint, Endpoint]
    const kept = await dotAt(gateway, stays)
    const leaving = await dotAt(gateway, goes)
    const doq = await dialQuic({ endpoint: gateway.doq, ca: gateway.ca, protocol: 'doq' })
    await doq.ready.promise
    const http2 = http2Connect(`https://127.0.0.1:${gone.port}`, { ca: gateway.ca })
    await once(http2, 'connect')
    const idle = await http1At(gateway, gone)
    const goaway = once(http2, 'goaway')
    leaving.socket.write(frame(ask('slow')))
    await until(() => held.length === 1)
    const added = await free()
    const outcome = await gateway.reload(listen({ dot: [at(stays), at(added)], doh: [at(endpoints.doh[0] as Endpoint)], doq: [] }))
    assert.deepEqual(outcome.outcome, 'applied', JSON.stringify(outcome))
    assert.deepEqual(gateway.gateway.facts.endpoints.dot, [stays, added])
    const fresh = await dotAt(gateway, added)
    await fresh.ask(ask())
    // RFC 9113 §6.8, RFC 9250 §4.3: NO_ERROR; RFC 9112 §9.6
    await goaway
    assert.equal((await doq.ended.promise).code, 0)
    await idle.closed()
    assert.ok(await isRefused(goes))
    // what was asked before is answered, with the word that it was the last (RFC 7828 §3.3.2)
    held[0]?.()
    const last = await leaving.next()
    assert.ok(last.includes(Buffer.from('000b00020000', 'hex')), 'edns-tcp-keepalive with TIMEOUT 0')
    await leaving.closed()
    await kept.ask(ask())
    for (const { socket } of [kept, fresh]) socket.destroy()
    http2.destroy()
    await doq[Symbol.asyncDispose]()
  })

  test('takes who may not ask any more off their connections, and lets the others be', async () => {
    await using upstream = await dnsServer(answering)
    await using gateway = await runGateway([upstream.endpoint])
    const [dot, http1] = [await dotAt(gateway, gateway.dot), await http1At(gateway, gateway.doh)]
    const access = { dns: prefixes('127.0.0.0/8'), encrypted: prefixes('192.0.2.0/24'), tokenFile: null }
    assert.deepEqual(changesOf(await gateway.reload({ access })), [
      { path: 'access.encrypted', from: 'any', to: null },
      { path: 'access.encrypted', from: null, to: '192.0.2.0/24' },
    ])
    await dot.closed()
    await http1.closed()
    assert.equal((await exchange(await openTls(gateway).catch(() => new Socket().destroy()), ask())).kind, 'closed')
    assert.equal((await CLIENTS.find(({ name }) => name === 'udp')?.send(gateway, ask()))?.kind, 'answer')
    await gateway.reload({ access: testConfig([]).access })
    await everyClientIsAnswered(gateway)
  })

  test('asks other upstreams; what was asked before is answered by the one that was asked', async () => {
    const held: (() => void)[] = []
    await using before = await dnsServer(holding((send) => held.push(send)))
    await using after = await dnsServer(answering)
    await using gateway = await runGateway([before.endpoint])
    const kept = await dotAt(gateway, gateway.dot)
    kept.socket.write(frame(ask('slow')))
    await until(() => held.length === 1)
    const { upstreams } = testConfig([after.endpoint])
    const rest = { weight: 1, connections: 16, pipelining: 200, maxAge: '1h', idle: '30s', randomizeCase: false }
    const formOf = ({ port }: Endpoint) => ({ name: 'upstream0', url: `udp://127.0.0.1:${port}`, ...rest })
    assert.deepEqual(changesOf(await gateway.reload({ upstreams })), [
      { path: 'upstreams', from: formOf(before.endpoint), to: null },
      { path: 'upstreams', from: null, to: formOf(after.endpoint) },
    ])
    await kept.ask(ask())
    assert.equal(after.udp.queries.length, 1)
    held[0]?.()
    await kept.next()
    kept.socket.destroy()
  })

  test('sends names elsewhere, and does not answer them with what the servers before have said', async () => {
    const says =
      (address: string): Handler =>
      (query, reply) =>
        reply(response(query, { answers: [aRecord(address)] }))
    await using first = await dnsServer(says('192.0.2.1'))
    await using second = await dnsServer(says('192.0.2.2'))
    const cache = { memory: 1_048_576, serveStaleMs: 0, prefetch: false, persist: false }
    await using gateway = await runGateway([first.endpoint, second.endpoint], { cache })
    const kept = await dotAt(gateway, gateway.dot)
    const answerTo = async (name: string) => ((await kept.ask(question({ name, opt: '' }))).includes(Buffer.from([192, 0, 2, 1])) ? 1 : 2)
    assert.deepEqual([await answerTo('www.corp.example'), await answerTo('www.example')], [1, 1])
    const routes = [{ suffix: new Uint8Array(wireName('corp.example')), upstreams: ['upstream1'] }]
    assert.deepEqual(changesOf(await gateway.reload({ routes })), [
      { path: 'routes', from: null, to: { suffix: 'corp.example.', upstreams: ['upstream1'] } },
    ])
    assert.deepEqual([await answerTo('WWW.Corp.example'), await answerTo('corp.example'), await answerTo('www.example')], [2, 2, 1])
    // the rest is still there: only what is sent elsewhere was asked again
    assert.deepEqual([first.udp.queries.length, second.udp.queries.length], [2, 2])
    await gateway.reload({ routes: [] })
    assert.equal(await answerTo('www.corp.example'), 1)
    assert.equal(first.udp.queries.length, 2)
    kept.socket.destroy()
  })

  test('has a special-use name asked of servers only while a route says so', async () => {
    await using upstream = await dnsServer(answering)
    await using gateway = await runGateway([upstream.endpoint])
    const kept = await dotAt(gateway, gateway.dot)
    const rcodeOf = async () => rcode(await kept.ask(question({ name: 'printer.home.arpa', opt: '' })))
    assert.equal(await rcodeOf(), 3)
    await gateway.reload({ routes: [{ suffix: new Uint8Array(wireName('home.arpa')), upstreams: ['upstream0'] }] })
    assert.equal(await rcodeOf(), 0)
    await gateway.reload({ routes: [] })
    assert.equal(await rcodeOf(), 3)
    assert.equal(upstream.udp.queries.length, 1)
    kept.socket.destroy()
  })

  test('keeps what is known when one of several servers changes, and begins anew when all do', async () => {
    await using first = await dnsServer(answering)
    await using second = await dnsServer(answering)
    await using third = await dnsServer(answering)
    const cache = { memory: 1_048_576, serveStaleMs: 0, prefetch: false, persist: false }
    await using gateway = await runGateway([first.endpoint, second.endpoint], { cache })
    const known = ask()
    await CLIENTS[0]?.send(gateway, known)
    await gateway.reload({ upstreams: testConfig([third.endpoint, first.endpoint]).upstreams })
    await CLIENTS[0]?.send(gateway, known)
    assert.deepEqual(
      [first, third].map(({ udp }) => udp.queries.length),
      [1, 0],
    )
    await gateway.reload({ upstreams: testConfig([second.endpoint]).upstreams })
    await CLIENTS[0]?.send(gateway, known)
    assert.equal(second.udp.queries.length, 1)
  })

  test('keeps the connection to an upstream that stays, wherever it is written now', async () => {
    await using upstream = await dnsServer(answering)
    await using other = await dnsServer(answering)
    const [stays, added] = [upstream, other].map(({ endpoint }, i) => upstreamConfig(endpoint, { name: `u${i}`, protocol: 'tcp' }))
    assert.ok(stays !== undefined && added !== undefined)
    await using gateway = await runGateway([], { upstreams: [stays] })
    await CLIENTS[0]?.send(gateway, ask())
    assert.equal((await gateway.reload({ upstreams: [{ ...stays, origin: 'a:7:7' }, added] })).outcome, 'applied')
    await CLIENTS[0]?.send(gateway, ask())
    assert.deepEqual([upstream.tcp.queries.length, upstream.tcp.peers.size], [2, 1])
  })

  test('has an upstream that is switched off answer from the cache only, also after a reload', async () => {
    await using upstream = await dnsServer(answering)
    const cache = { memory: 1_048_576, serveStaleMs: 0, prefetch: false, persist: false }
    await using gateway = await runGateway([upstream.endpoint], { cache })
    const admin = new AdminClient(join(gateway.state, 'admin.sock'))
    const known = ask()
    await CLIENTS[0]?.send(gateway, known)
    assert.equal((await admin.post<UpstreamStatus>('/v1/upstreams/upstream0/disable')).enabled, false)
    await gateway.reload({ edns: { padding: false, cookies: true, clientSubnet: 'off' } })
    const rcodes: number[] = []
    for (const message of [known, ask()]) {
      const reaction = await CLIENTS[1]?.send(gateway, message)
      rcodes.push(reaction?.kind === 'answer' ? (reaction.message[3] ?? 0) & 0xf : -1)
    }
    assert.deepEqual(rcodes, [0, 2])
    assert.equal(upstream.udp.queries.length, 1)
    await admin.post('/v1/upstreams/upstream0/enable')
    assert.equal((await CLIENTS[1]?.send(gateway, ask()))?.kind, 'answer')
    assert.equal(upstream.udp.queries.length, 2)
  })

  test('begins to keep the cache on disk, and takes away what was kept when that is over', async () => {
    await using upstream = await dnsServer(answering)
    const cache = { memory: 1_048_576, serveStaleMs: 0, prefetch: false, persist: false }
    await using gateway = await runGateway([upstream.endpoint], { cache })
    const snapshot = join(gateway.state, 'cache', 'snapshot.bin')
    await gateway.reload({ cache: { ...cache, persist: true } })
    const admin = new AdminClient(join(gateway.state, 'admin.sock'))
    await CLIENTS[0]?.send(gateway, ask())
    // a purge is written at once
    await admin.delete('/v1/cache/entries?name=nothing.example')
    assert.ok(existsSync(snapshot))
    await gateway.reload({ cache })
    await until(() => !existsSync(snapshot))
  })

  test('takes effect on limits, timeouts, padding, paths and logs', async () => {
    await using upstream = await dnsServer(() => {})
    await using gateway = await runGateway([upstream.endpoint])
    const outcome = await gateway.reload({
      timeouts: { queryMs: 150, handshakeMs: 5000, drainMs: 10_000 },
      limits: { ...testConfig([]).limits, connectionsPerClient: 1 },
      edns: { padding: false, cookies: true, clientSubnet: 'off' },
      doh: { paths: ['/other'], http3: false, json: true, landing: true, proxy: null, trustedProxies: [] },
      log: { level: 'info', queries: { kind: 'share', share: 1 } },
    })
    assert.deepEqual(
      changesOf(outcome).map(({ path, from, to }) => [path, from, to]),
      [
        ['doh.paths', '/dns-query', null],
        ['doh.paths', null, '/other'],
        ['doh.http3', true, false],
        ['timeouts.query', '4s', '150ms'],
        ['edns.padding', true, false],
        ['limits.connectionsPerClient', 100, 1],
        ['log.queries', 'none', 'all'],
      ],
    )
    const kept = await dotAt(gateway, gateway.dot)
    const start = performance.now()
    const answer = await kept.ask(ask())
    assert.equal((answer[3] ?? 0) & 0xf, 2)
    assert.ok(performance.now() - start < 2000)
    assert.ok(answer.length < 100, 'not padded')
    assert.ok(gateway.log.some((line) => line.includes('"msg":"query"')))
    // the one connection that a client may have
    await assert.rejects(openTls(gateway))
    kept.socket.destroy()
    await kept.closed()
    // the server has not heard of it yet
    const metrics = async () => (await fetch(`http://127.0.0.1:${gateway.admin.port}/metrics`)).text()
    await until(async () => (await metrics()).includes('atlas_connections{transport="dot"} 0'))
    const session = http2Connect(`https://127.0.0.1:${gateway.doh.port}`, { ca: gateway.ca })
    for (const [path, status] of [
      ['/dns-query', 404],
      ['/other', 400],
    ] as const) {
      const [headers] = (await once(session.request({ ':path': path }), 'response')) as [Record<string, unknown>]
      assert.equal(headers[':status'], status)
      assert.equal(headers['alt-svc'], undefined)
    }
    session.destroy()
    assert.ok(await quicIsRefused(gateway, gateway.doh, 'h3'))
  })

  test('presents the certificate that the files hold now; sessions that are open live on', async (t) => {
    const directory = temporaryDirectory(t)
    const files = { cert: join(directory, 'cert.pem'), key: join(directory, 'key.pem'), origin: 'test' }
    const write = async () => {
      const { certPem, keyPem, certificate } = await issue({ names: ['localhost'] })
      writeFileSync(files.cert, certPem)
      writeFileSync(files.key, keyPem)
      return certificate.fingerprint256
    }
    const before = await write()
    await using upstream = await dnsServer(answering)
    await using gateway = await runGateway([upstream.endpoint], { tls: { ...TLS, certificates: [files] } }, {})
    const kept = await shown(gateway)
    assert.equal(kept.getPeerX509Certificate()?.fingerprint256, before)
    const after = await write()
    assert.deepEqual(changesOf(await gateway.reload({})), [{ path: 'certificates', from: [before], to: [after] }])
    const fresh = await shown(gateway)
    assert.equal(fresh.getPeerX509Certificate()?.fingerprint256, after)
    await new Keeper(kept).ask(ask())
    // a half-written file changes nothing
    writeFileSync(files.key, '-----BEGIN PRIVATE KEY-----\n')
    const outcome = await gateway.reload({})
    assert.ok(outcome.outcome === 'refused')
    assert.deepEqual([outcome.code, outcome.message.includes(files.key)], ['ATLAS_CERTIFICATE', true])
    assert.equal((await shown(gateway)).getPeerX509Certificate()?.fingerprint256, after)
    for (const socket of [kept, fresh]) socket.destroy()
  })

  test('brings encryption to a gateway that had none, and takes it away', async () => {
    await using upstream = await dnsServer(answering)
    const plain = listen({ dot: [], doh: [], doq: [] })
    await using gateway = await runGateway([upstream.endpoint], plain)
    assert.equal((await gateway.reload(listen({}))).outcome, 'applied')
    const [dot] = gateway.gateway.facts.endpoints.dot as [Endpoint]
    const tls = tlsConnect({ ...dot, rejectUnauthorized: false })
    await once(tls, 'secureConnect')
    const kept = new Keeper(tls)
    await kept.ask(ask())
    assert.equal((await gateway.reload(plain)).outcome, 'applied')
    await kept.closed()
    assert.deepEqual(gateway.gateway.facts.endpoints.dot, [])
    assert.equal((await CLIENTS[0]?.send(gateway, ask()))?.kind, 'answer')
  })
})

async function quicIsRefused({ ca }: TestGateway, endpoint: Endpoint, protocol: 'doq' | 'h3'): Promise<boolean> {
  const client = await dialQuic({ endpoint, ca, protocol })
  const isServed = await Promise.race([client.ready.promise.then(() => true), client.ended.promise.then(() => false), sleep(300, false)])
  await client[Symbol.asyncDispose]()
  return !isServed
}
