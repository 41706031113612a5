import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { connect as http2Connect } from 'node:http2'
import { Socket } from 'node:net'
import { join } from 'node:path'
import test, { describe } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type TLSSocket, connect as tlsConnect } from 'node:tls'
import type { Change, ReloadOutcome } from '../../gateway/admin/control.ts'
import type { Config, ListenConfig } from '../../gateway/config/config.ts'
import { ConfigError } from '../../gateway/config/load.ts'
import type { Endpoint } from '../../net/address.ts'
import { issue } from '../certs/issue.ts'
import { CLIENTS, exchange, openTls } from '../harness/clients.ts'
import { prefixes, runGateway, type TestGateway, testConfig } from '../harness/gateway.ts'
import { dotAt, free, http1At, isRefused, Keeper, occupied, until } from '../harness/keeper.ts'
import { aRecord, question, response } from '../harness/messages.ts'
import { dialQuic } from '../harness/quic.ts'
import { dnsServer, frame, type Handler, holding } from '../harness/servers.ts'
import { temporaryDirectory } from '../harness/temporary.ts'
import { runThreads } from '../harness/threads.ts'

const answering: Handler = (query, reply) => reply(response(query, { answers: [aRecord()] }))
let asked = 0

function ask(prefix = 'q'): Buffer {
  return question({ name: `${prefix}${asked++}.example.com`, opt: '' })
}

function at(endpoint: Endpoint): ListenConfig {
  return { endpoint, access: null, byDefault: false }
}

const ANYWHERE = at({ host: '127.0.0.1', port: 0 })

function listen(changes: Partial<Config['listen']>): Pick<Config, 'listen'> {
  return { listen: { ...testConfig([]).listen, ...changes } }
}

async function everyClientIsAnswered(gateway: TestGateway): Promise<void> {
  for (const client of CLIENTS) assert.equal((await client.send(gateway, ask())).kind, 'answer', client.name)
}

function changesOf(outcome: ReloadOutcome): readonly Change[] {
  assert.ok('changes' in outcome, JSON.stringify(outcome))
  return outcome.changes
}

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

  test('that cannot bind an address is undone: nothing was closed, nothing new is open', async (t) => {
    await using upstream = await dnsServer(answering)
    await using gateway = await runGateway([upstream.endpoint], listen({ dot: [ANYWHERE, ANYWHERE] }))
    const before = gateway.gateway.facts
    const [stays, other] = before.endpoints.dot as [Endpoint, Endpoint]
    const kept = await dotAt(gateway, other)
    const [added, taken] = [await free(), await occupied(t)]
    const outcome = await gateway.reload({
      ...listen({ dot: [at(stays), at(added)], doh: [at(gateway.doh), at(taken)], dns: [], doq: [] }),
      timeouts: { queryMs: 100, handshakeMs: 5000, drainMs: 10_000 },
    })
    assert.ok(outcome.outcome === 'rolled-back')
    assert.equal(outcome.code, 'ATLAS_LISTEN')
    assert.match(outcome.message, new RegExp(`^Cannot listen for doh on 127\\.0\\.0\\.1:${taken.port}: the address is in use`))
    assert.deepEqual(gateway.gateway.facts, before)
    assert.ok(await isRefused(added))
    await kept.ask(ask())
    kept.socket.destroy()
    await everyClientIsAnswered(gateway)
    assert.deepEqual(await gateway.reload({ ...listen({ dot: [ANYWHERE, ANYWHERE] }), timeouts: testConfig([]).timeouts }), {
      outcome: 'unchanged',
      changes: [],
      restartOnly: [],
      warnings: [],
    })
  })

  test('with an error in the file is refused with every place that is wrong', async () => {
    await using upstream = await dnsServer(answering)
    const problems = [{ where: 'atlas.yaml:3:7', path: 'timeouts.query', message: 'expected a duration: received "soon"' }]
    let fails = false
    const load = () => {
      if (fails) throw new ConfigError(problems)
      return { config: testConfig([upstream.endpoint]), warnings: [] }
    }
    await using gateway = await runGateway([upstream.endpoint], {}, { source: { file: '/etc/atlas.yaml', load } })
    fails = true
    const message = 'atlas.yaml:3:7: timeouts.query: expected a duration: received "soon"'
    assert.deepEqual(await gateway.gateway.reload({ dryRun: false }), { outcome: 'refused', code: 'ATLAS_CONFIG', message, problems })
    assert.ok(gateway.log.some((line) => line.includes('atlas.yaml:3:7') && line.includes('the one in use stays')))
    await everyClientIsAnswered(gateway)
  })

  test('takes who may not ask any more off their connections, and lets the others be', async () => {
    await using upstream = await dnsServer(answering)
    await using gateway = await runGateway([upstream.endpoint])
    const [dot, http1] = [await dotAt(gateway, gateway.dot), await http1At(gateway, gateway.doh)]
    const access = { dns: prefixes('127.0.0.0/8'), encrypted: prefixes('192.0.2.0/24') }
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
    assert.deepEqual(changesOf(await gateway.reload({ upstreams })), [
      { path: 'upstreams', from: { name: 'upstream0', url: `udp://127.0.0.1:${before.endpoint.port}` }, to: null },
      { path: 'upstreams', from: null, to: { name: 'upstream0', url: `udp://127.0.0.1:${after.endpoint.port}` } },
    ])
    await kept.ask(ask())
    assert.equal(after.udp.queries.length, 1)
    held[0]?.()
    await kept.next()
    kept.socket.destroy()
  })

  test('takes effect on limits, timeouts, padding, paths and logs', async () => {
    await using upstream = await dnsServer(() => {})
    await using gateway = await runGateway([upstream.endpoint])
    const outcome = await gateway.reload({
      timeouts: { queryMs: 150, handshakeMs: 5000, drainMs: 10_000 },
      limits: { ...testConfig([]).limits, connectionsPerClient: 1 },
      edns: { padding: false, clientSubnet: 'off' },
      doh: { paths: ['/other'], http3: false },
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
    await using gateway = await runGateway([upstream.endpoint], { tls: { certificates: [files], minVersion: 'TLSv1.3' } }, {})
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

  test('to another public name makes the local CA anew, and says so before', async () => {
    await using upstream = await dnsServer(answering)
    await using gateway = await runGateway([upstream.endpoint])
    const { localCa } = gateway.gateway.facts
    const renamed = { public: { ...testConfig([]).public, name: 'dns.example.net' } }
    const planned = await gateway.reload(renamed, { dryRun: true })
    assert.ok(planned.outcome === 'planned')
    assert.match(planned.warnings.join(), /clients must trust it again/)
    assert.deepEqual(gateway.gateway.facts.localCa, localCa)
    assert.equal((await gateway.reload({})).outcome, 'applied')
    assert.notEqual(gateway.gateway.facts.localCa?.fingerprint, localCa?.fingerprint)
    const session = await shown(gateway)
    assert.match(session.getPeerX509Certificate()?.subjectAltName ?? '', /DNS:dns\.example\.net/)
    session.destroy()
  })

  test('that fails does not touch the local CA, whatever names it was for', async (t) => {
    await using upstream = await dnsServer(answering)
    await using gateway = await runGateway([upstream.endpoint])
    const { localCa } = gateway.gateway.facts
    const taken = await occupied(t)
    const renamed = { public: { ...testConfig([]).public, name: 'dns.example.net' }, ...listen({ dot: [at(gateway.dot), at(taken)] }) }
    assert.equal((await gateway.reload(renamed)).outcome, 'rolled-back')
    assert.deepEqual(gateway.gateway.facts.localCa, localCa)
    await everyClientIsAnswered(gateway)
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

  test('names what only a restart changes, and leaves it as it is', async () => {
    await using upstream = await dnsServer(answering)
    await using gateway = await runGateway([upstream.endpoint])
    const cache = { memory: 1_048_576, serveStaleMs: 60_000, prefetch: false, persist: false }
    const outcome = await gateway.reload({ workers: 4, cache })
    assert.ok(outcome.outcome === 'applied')
    assert.deepEqual(outcome.restartOnly, [
      { path: 'cache.memory', from: '0MiB', to: '1MiB' },
      { path: 'workers', from: 1, to: 4 },
    ])
    assert.deepEqual(outcome.changes, [{ path: 'cache.serveStale', from: '0s', to: '1m' }])
    await everyClientIsAnswered(gateway)
  })

  test('does not give an address from one protocol to another', async () => {
    await using upstream = await dnsServer(answering)
    await using gateway = await runGateway([upstream.endpoint])
    const outcome = await gateway.reload(listen({ dot: [], doh: [at(gateway.dot)] }))
    assert.ok(outcome.outcome === 'refused')
    assert.match(outcome.message, /^Cannot listen for doh on 127\.0\.0\.1:\d+: listen\.dot has it now/)
  })

  test('as a dry run says what it would do, and does nothing', async () => {
    await using upstream = await dnsServer(answering)
    await using gateway = await runGateway([upstream.endpoint])
    const before = gateway.gateway.facts
    const outcome = await gateway.reload(listen({ dot: [], doq: [] }), { dryRun: true })
    assert.ok(outcome.outcome === 'planned')
    assert.deepEqual(
      outcome.changes.map(({ path, to }) => [path, to]),
      [
        ['listen.dot', null],
        ['listen.doq', null],
      ],
    )
    assert.deepEqual(gateway.gateway.facts, before)
    await everyClientIsAnswered(gateway)
  })
})

describe('with several workers', () => {
  test('all of them serve as the new configuration says, or none', async (t) => {
    await using upstream = await dnsServer(answering)
    await using gateway = await runThreads([upstream.endpoint])
    const added = await free()
    const kept = await dotAt(gateway, gateway.dot)
    assert.equal((await gateway.reload(listen({ dot: [at(gateway.dot), at(added)], doq: [] }))).outcome, 'applied')
    const before = [0, 1].map((worker) => gateway.counted(worker, 'atlas_handshakes_total', 'transport="dot"'))
    await until(async () => {
      const client = await dotAt(gateway, added)
      await client.ask(ask())
      client.socket.destroy()
      return [0, 1].every((worker) => gateway.counted(worker, 'atlas_handshakes_total', 'transport="dot"') > (before[worker] as number))
    })
    // another process has it: the exclusive bind finds out, which that of the workers would not
    const taken = await occupied(t)
    const outcome = await gateway.reload(listen({ dot: [at(gateway.dot), at(taken)], doq: [] }))
    assert.equal(outcome.outcome, 'rolled-back')
    const again = await dotAt(gateway, added)
    await again.ask(ask())
    await kept.ask(ask())
    for (const { socket } of [kept, again]) socket.destroy()
  })
})

async function shown({ dot, ca }: TestGateway): Promise<TLSSocket> {
  const socket = tlsConnect({
    host: dot.host,
    port: dot.port,
    servername: 'localhost',
    ca,
    rejectUnauthorized: false,
    ALPNProtocols: ['dot'],
  })
  await once(socket, 'secureConnect')
  return socket
}

async function quicIsRefused({ ca }: TestGateway, endpoint: Endpoint, protocol: 'doq' | 'h3'): Promise<boolean> {
  const client = await dialQuic({ endpoint, ca, protocol })
  const isServed = await Promise.race([client.ready.promise.then(() => true), client.ended.promise.then(() => false), sleep(300, false)])
  await client[Symbol.asyncDispose]()
  return !isServed
}
