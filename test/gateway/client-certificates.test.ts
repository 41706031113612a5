import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, before, describe } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { type ConnectionOptions, connect as tlsConnect } from 'node:tls'
import { Rcode } from '../../dns/types.ts'
import { checkGateway } from '../../gateway/assembly/check.ts'
import type { ListenConfig } from '../../gateway/config/config.ts'
import type { Endpoint } from '../../net/address.ts'
import { digestOf } from '../../net/token.ts'
import { DAY_MS, issue, type TestCertificate } from '../certs/issue.ts'
import { CLIENTS, DOH_CLIENTS, DOH_TCP_CLIENTS, exchange, openHttp2, type Reaction } from '../harness/clients.ts'
import { LIMITS, prefixes, runGateway, type TestGateway, testConfig, upstreamConfig } from '../harness/gateway.ts'
import { dotAt } from '../harness/keeper.ts'
import { question } from '../harness/messages.ts'
import { dropped, metric, untilMetrics } from '../harness/metrics.ts'
import { ANYWHERE, answering, changesOf, listen } from '../harness/reload.ts'
import { dnsServer } from '../harness/servers.ts'

const QUERY = question({ name: 'www.example.com', opt: '' })
const GET = `/dns-query?dns=${QUERY.toString('base64url')}`
const CLIENT_AUTH = ['1.3.6.1.5.5.7.3.2']
const SERVER_AUTH = ['1.3.6.1.5.5.7.3.1']
const OVER_TLS = CLIENTS.filter(({ name }) => name === 'dot' || name.startsWith('doh1') || name.startsWith('doh2'))

const root = await issue({ isCa: true, subject: 'CN=clients' })
const otherRoot = await issue({ isCa: true, subject: 'CN=other clients' })
const intermediate = await issue({ isCa: true, subject: 'CN=intermediate', issuer: root })
const alice = await issue({ names: ['alice.example'], usage: CLIENT_AUTH, issuer: root })
const bob = await issue({ subject: 'CN=bob', issuer: root })
const carol = await issue({ subject: 'CN=carol', issuer: intermediate })
const dave = await issue({ subject: 'CN=dave', issuer: otherRoot })
const strangers: Readonly<Record<string, TestCertificate>> = {
  'of another CA': dave,
  'that is expired': await issue({ issuer: root, from: -3, until: -1 }),
  'that is not valid yet': await issue({ issuer: root, from: 1 }),
  'for servers': await issue({ issuer: root, usage: SERVER_AUTH }),
  'of its own': await issue({ subject: 'CN=alice' }),
}

const directory = mkdtempSync(join(tmpdir(), 'atlas-test-'))
after(() => rmSync(directory, { recursive: true }))

function write(name: string, ...certificates: readonly TestCertificate[]): string {
  const file = join(directory, name)
  writeFileSync(file, certificates.map(({ certPem }) => certPem).join(''))
  return file
}

/** A listener that asks for certificates below those in `file`. */
function wanting(file: string): ListenConfig {
  return { ...ANYWHERE, clientCa: { file, origin: 'atlas.yaml:3:5' } }
}

const ROOT_FILE = write('root.pem', root)
const OTHER_FILE = write('other.pem', otherRoot)

function credentialsOf({ certPem, keyPem }: TestCertificate, ...chain: readonly TestCertificate[]) {
  return { cert: [certPem, ...chain.map((each) => each.certPem)].join(''), key: keyPem }
}

/** The same gateway for clients that show this. */
function showing(gateway: TestGateway, ...[certificate, ...chain]: [TestCertificate, ...TestCertificate[]]): TestGateway {
  return { ...gateway, credentials: credentialsOf(certificate, ...chain) }
}

interface Visit {
  readonly reaction: Reaction
  readonly isResumed: boolean
  /** What it can be resumed with. */
  readonly session: Buffer | undefined
}

/** Asks over TLS at one of several listeners. */
async function visit({ ca }: TestGateway, { host, port }: Endpoint, options: ConnectionOptions): Promise<Visit> {
  const socket = tlsConnect({ host, port, servername: 'localhost', ca, ...options })
  let session: Buffer | undefined
  let isResumed = false
  socket.on('session', (ticket) => (session = ticket))
  socket.on('secureConnect', () => (isResumed = socket.isSessionReused()))
  const reaction = await exchange(socket, QUERY)
  return { reaction, isResumed, session }
}

/** How a handshake with these options ends: with an alert, or just so. */
async function refusal({ ca }: TestGateway, { host, port }: Endpoint, options: ConnectionOptions): Promise<string | null> {
  const socket = tlsConnect({ host, port, servername: 'localhost', ca, ...options })
  return new Promise((resolve) => {
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''))
    socket.on('close', () => resolve(null))
    socket.on('end', () => socket.end()).resume()
  })
}

const failedSeries = (transport: string) =>
  `atlas_handshakes_total{transport="${transport}",outcome="failed",version="none",resumed="false"}`
const failedOf = (gateway: TestGateway, transport: string) => metric(gateway, failedSeries(transport))

/** Who asked, as the query log has it. */
function askers({ log }: TestGateway): readonly (string | undefined)[] {
  const lines = log.map((line) => JSON.parse(line) as { name?: string; certificate?: string })
  return lines.filter(({ name }) => name === 'www.example.com.').map(({ certificate }) => certificate)
}

const LOG = { level: 'info', queries: { kind: 'share', share: 1 } } as const

for (const minVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
  describe(`a listener that wants certificates of its clients, from ${minVersion} on`, () => {
    let upstream: Awaited<ReturnType<typeof dnsServer>>
    let gateway: TestGateway
    const version = { minVersion, maxVersion: minVersion }

    before(async () => {
      upstream = await dnsServer(answering)
      const places = listen({ dot: [wanting(ROOT_FILE), ANYWHERE, wanting(OTHER_FILE)], doh: [wanting(ROOT_FILE)] })
      gateway = await runGateway([upstream.endpoint], { ...places, log: LOG, tls: { ...testConfig([]).tls, minVersion } }, { probing: {} })
    })
    after(async () => {
      await gateway[Symbol.asyncDispose]()
      await upstream[Symbol.asyncDispose]()
    })

    for (const { name, send } of OVER_TLS) {
      test(`answers who shows one over ${name}, and knows who it is`, async () => {
        for (const [who, called] of [
          [showing(gateway, alice), 'alice.example'],
          [showing(gateway, bob), 'bob'],
          [showing(gateway, carol, intermediate), 'carol'],
        ] as const) {
          assert.equal((await send(who, QUERY)).kind, 'answer', called)
          assert.equal(askers(gateway).at(-1), called)
        }
      })
    }

    for (const [kind, transport, protocol] of [
      ['dot', 'dot', 'dot'],
      ['doh', 'doh2', 'http/1.1'],
      ['doh', 'doh2', 'h2'],
    ] as const) {
      test(`ends the handshake of everybody else over ${protocol}, and counts it`, async () => {
        for (const [what, credentials] of [
          ['none', {}],
          ['without the intermediate', credentialsOf(carol)],
          ...Object.entries(strangers).map(([what, certificate]) => [what, credentialsOf(certificate)] as const),
        ] as const) {
          const [before, seen] = [await failedOf(gateway, transport), askers(gateway).length]
          const alert = await refusal(gateway, gateway[kind], { ...version, ...credentials, ALPNProtocols: [protocol] })
          // Node.js ends the connection without an alert where there is a certificate
          assert.equal(alert?.startsWith('ERR_SSL') ?? false, what === 'none', what)
          await untilMetrics(gateway, (now) => now.value(failedSeries(transport)) > before)
          assert.equal(askers(gateway).length, seen)
        }
      })
    }

    test('says that it wants one to who has none', async () => {
      const alert = minVersion === 'TLSv1.3' ? 'TLSV13_ALERT_CERTIFICATE_REQUIRED' : 'SSL/TLS_ALERT_HANDSHAKE_FAILURE'
      assert.equal(await refusal(gateway, gateway.dot, version), `ERR_SSL_${alert}`)
    })

    test('knows the client of a resumed session, which shows no certificate', async () => {
      const { session } = await visit(gateway, gateway.dot, { ...version, ...credentialsOf(alice) })
      assert.ok(session)
      const { isResumed, reaction } = await visit(gateway, gateway.dot, { ...version, session })
      assert.deepEqual([isResumed, reaction.kind], [true, 'answer'])
      assert.equal(askers(gateway).at(-1), 'alice.example')
    })

    test('resumes no session of another listener, and none of its is resumed there', async () => {
      const [own, unasking, other] = gateway.gateway.facts.endpoints.dot
      assert.ok(own !== undefined && unasking !== undefined && other !== undefined)
      const shown = new Map<Endpoint, ConnectionOptions>([
        [own, credentialsOf(alice)],
        [unasking, {}],
        [other, credentialsOf(dave)],
      ])
      for (const [from, credentials] of shown) {
        const { session } = await visit(gateway, from, { ...version, ...credentials })
        assert.ok(session)
        for (const [to, own] of shown) {
          const { isResumed, reaction } = await visit(gateway, to, { ...version, ...own, session })
          assert.deepEqual([isResumed, reaction.kind], [from === to, 'answer'])
          if (from !== to && to !== unasking) assert.equal((await visit(gateway, to, { ...version, session })).reaction.kind, 'closed')
        }
      }
    })

    test('serves no HTTP/3, and does not announce it', async (t) => {
      for (const [, ask] of DOH_TCP_CLIENTS) {
        const { status, headers } = await ask(showing(gateway, alice), { path: GET })
        assert.deepEqual([status, headers['alt-svc']], [200, undefined])
      }
      const socket = createSocket('udp4').bind(gateway.doh.port, gateway.doh.host)
      t.after(() => socket.close())
      await once(socket, 'listening')
    })

    test('is ready: that it refuses the self-probe is an answer', async () => {
      while ((await fetch(`http://127.0.0.1:${gateway.admin.port}/readyz`)).status !== 200) await turn()
    })
  })
}

test('a listener with several certificates of its own asks under each of their names', async () => {
  await using upstream = await dnsServer(answering)
  const own = await issue({ isCa: true, subject: 'CN=servers' })
  const certificates = await Promise.all(
    ['one.example', 'two.example'].map(async (name) => {
      const { certPem, keyPem } = await issue({ names: [name], issuer: own })
      const [cert, key] = [join(directory, `${name}.pem`), join(directory, `${name}.key`)]
      writeFileSync(cert, certPem)
      writeFileSync(key, keyPem)
      return { cert, key, origin: 'test' }
    }),
  )
  const tls = { ...testConfig([]).tls, certificates }
  await using gateway = await runGateway([upstream.endpoint], { ...listen({ dot: [wanting(ROOT_FILE), ANYWHERE], doq: [] }), tls })
  const [asking, unasking] = gateway.gateway.facts.endpoints.dot
  assert.ok(asking !== undefined && unasking !== undefined)
  for (const servername of ['one.example', 'two.example']) {
    const name = { servername, ca: own.certPem }
    const { reaction, session } = await visit(gateway, asking, { ...name, ...credentialsOf(alice) })
    assert.equal(reaction.kind, 'answer')
    assert.equal((await visit(gateway, asking, { ...name, ...credentialsOf(dave) })).reaction.kind, 'closed')
    assert.equal((await visit(gateway, asking, name)).reaction.kind, 'closed')
    const stolen = await visit(gateway, unasking, name)
    assert.ok(session !== undefined && stolen.session !== undefined)
    assert.equal((await visit(gateway, asking, { ...name, session: stolen.session })).reaction.kind, 'closed')
    assert.equal((await visit(gateway, unasking, { ...name, session })).isResumed, false)
  }
})

test('a listener beside it serves HTTP/3, and announces it', async () => {
  await using upstream = await dnsServer(answering)
  await using gateway = await runGateway([upstream.endpoint], listen({ doh: [wanting(ROOT_FILE), ANYWHERE] }), { probing: {} })
  const [, direct] = gateway.gateway.facts.endpoints.doh
  assert.ok(direct !== undefined)
  const beside = { ...gateway, doh: direct }
  for (const [version, ask] of DOH_CLIENTS) {
    const { status, headers } = await ask(beside, { path: GET })
    assert.equal(status, 200, version)
    assert.equal(headers['alt-svc'], version === 'HTTP/3' ? undefined : `h3=":${direct.port}"; ma=86400`)
  }
  for (const [, ask] of DOH_TCP_CLIENTS) assert.equal((await ask(showing(gateway, alice), { path: GET })).headers['alt-svc'], undefined)
  const socket = createSocket('udp4').bind(gateway.doh.port, gateway.doh.host)
  await once(socket, 'listening')
  socket.close()
  await untilMetrics(gateway, (now) => now.sum('atlas_probe_up') > 0)
  while ((await fetch(`http://127.0.0.1:${gateway.admin.port}/readyz`)).status !== 200) await turn()
})

describe('a client certificate', () => {
  test('is not outlived by its session', async (t) => {
    await using upstream = await dnsServer(answering)
    await using gateway = await runGateway([upstream.endpoint], { ...listen({ dot: [wanting(ROOT_FILE)] }), log: LOG })
    const brief = await issue({ subject: 'CN=brief', issuer: root, until: 1 })
    const { session } = await visit(gateway, gateway.dot, credentialsOf(brief))
    assert.ok(session)
    assert.equal((await visit(gateway, gateway.dot, { session })).isResumed, true)
    const before = await failedOf(gateway, 'dot')
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() + 2 * DAY_MS })
    assert.equal((await visit(gateway, gateway.dot, { session })).reaction.kind, 'closed')
    t.mock.timers.reset()
    assert.equal(await failedOf(gateway, 'dot'), before + 1)
    assert.deepEqual(askers(gateway), ['brief', 'brief'])
  })

  test('stands in for a token, and none is taken beside it', async () => {
    await using upstream = await dnsServer(answering)
    const tokenFile = join(directory, 'tokens.txt')
    writeFileSync(tokenFile, `token-holder sha256:${digestOf('k3j5')}\n`)
    const access = { dns: [], encrypted: prefixes('127.0.0.0/8'), tokenFile }
    const places = listen({ dot: [wanting(ROOT_FILE), ANYWHERE], doh: [wanting(ROOT_FILE)], doq: [] })
    await using gateway = await runGateway([upstream.endpoint], { ...places, access, log: LOG })
    const [asking, unasking] = gateway.gateway.facts.endpoints.dot
    assert.ok(asking !== undefined && unasking !== undefined)
    const servername = 'k3j5.dns.example'
    const checkServerIdentity = () => undefined
    assert.equal((await visit(gateway, asking, credentialsOf(alice))).reaction.kind, 'answer')
    assert.equal((await visit(gateway, asking, { servername, checkServerIdentity })).reaction.kind, 'closed')
    assert.equal((await visit(gateway, unasking, credentialsOf(alice))).reaction.kind, 'closed')
    assert.equal((await visit(gateway, unasking, { servername, checkServerIdentity })).reaction.kind, 'answer')
    assert.deepEqual(askers(gateway), ['alice.example', undefined])
    for (const [, ask] of DOH_TCP_CLIENTS)
      for (const path of [GET, GET.replace('?', '/k3j5?')]) assert.equal((await ask(showing(gateway, bob), { path })).status, 200)
    assert.deepEqual(askers(gateway).slice(2), ['bob', 'bob', 'bob', 'bob'])
  })

  test('has limits of its own, wherever it is used', async () => {
    await using upstream = await dnsServer(answering)
    const limits = { ...LIMITS, connectionsPerClient: 2 }
    await using gateway = await runGateway([upstream.endpoint], { ...listen({ dot: [wanting(ROOT_FILE)] }), limits })
    const from = (localAddress: string, certificate: TestCertificate) =>
      dotAt({ ...gateway, credentials: credentialsOf(certificate) }, gateway.dot, localAddress)
    const kept = [await from('127.0.0.2', alice), await from('127.0.0.3', alice)]
    for (const each of kept) await each.ask(QUERY)
    await (await from('127.0.0.4', alice)).closed()
    const other = await from('127.0.0.4', bob)
    await other.ask(QUERY)
    assert.equal(await dropped(gateway, 'connection_limit'), 1)
    for (const { socket } of [...kept, other]) socket.destroy()
  })

  test('opens another gateway to ours, as its upstream', async () => {
    await using upstream = await dnsServer(answering)
    await using far = await runGateway([upstream.endpoint], {
      ...listen({ dot: [wanting(ROOT_FILE)], doh: [wanting(ROOT_FILE)] }),
      log: LOG,
    })
    const [cert, key, ca] = ['near.pem', 'near.key', 'far.pem'].map((name) => join(directory, name)) as [string, string, string]
    writeFileSync(cert, bob.certPem)
    writeFileSync(key, bob.keyPem)
    writeFileSync(ca, far.ca)
    const trust = { serverName: 'localhost', ca: { file: ca, origin: 'test' } }
    for (const [endpoint, url] of [
      [far.dot, { protocol: 'tls' }],
      [far.doh, { protocol: 'https', path: '/dns-query' }],
    ] as const) {
      const [shown, silent] = [{ cert, key, origin: 'test' }, null].map((clientCertificate) =>
        upstreamConfig(endpoint, { ...url, ...trust, clientCertificate }),
      )
      assert.ok(shown !== undefined && silent !== undefined)
      const seen = askers(far).length
      await using near = await runGateway([], { upstreams: [shown] })
      assert.equal(rcodeOf(await CLIENTS[0]?.send(near, QUERY)), Rcode.NOERROR)
      assert.deepEqual(askers(far).slice(seen), ['bob'])
      await using stranger = await runGateway([], { upstreams: [silent] })
      assert.equal(rcodeOf(await CLIENTS[0]?.send(stranger, QUERY)), Rcode.SERVFAIL)
      assert.deepEqual(askers(far).slice(seen), ['bob'])
    }
  })
})

describe('a client CA', () => {
  test('is exchanged by a reload: connections of before end, and neither the former clients nor their sessions come in', async () => {
    await using upstream = await dnsServer(answering)
    const file = write('changing.pem', root)
    const places = listen({ dot: [wanting(file), ANYWHERE], doh: [wanting(file)], doq: [] })
    await using gateway = await runGateway([upstream.endpoint], places)
    const unasking = gateway.gateway.facts.endpoints.dot[1] ?? assert.fail()
    const former = await dotAt(showing(gateway, alice), gateway.dot)
    await former.ask(QUERY)
    const bystander = await dotAt(gateway, unasking)
    const http2 = openHttp2(showing(gateway, alice))
    await once(http2, 'connect')
    const ended = once(http2, 'close')
    const { session } = await visit(gateway, gateway.dot, credentialsOf(alice))
    assert.ok(session)
    assert.equal((await gateway.reload({})).outcome, 'unchanged')

    write('changing.pem', otherRoot)
    assert.deepEqual(changesOf(await gateway.reload({})), [{ path: 'listen', from: 'client CA files', to: 'other content' }])
    await former.closed()
    await ended
    assert.equal((await visit(gateway, gateway.dot, { ...credentialsOf(alice), session })).reaction.kind, 'closed')
    assert.equal((await visit(gateway, gateway.dot, credentialsOf(dave))).reaction.kind, 'answer')

    write('changing.pem', root, otherRoot)
    await gateway.reload({})
    for (const certificate of [alice, dave])
      assert.equal((await visit(gateway, gateway.dot, credentialsOf(certificate))).reaction.kind, 'answer')
    await bystander.ask(QUERY)
    bystander.socket.destroy()
  })

  test('that is asked for by a reload ends the connections of before, and one that is not any more leaves them', async () => {
    await using upstream = await dnsServer(answering)
    await using gateway = await runGateway([upstream.endpoint], listen({ dot: [ANYWHERE] }))
    const { dot } = gateway
    const place = { ...ANYWHERE, endpoint: dot }
    const unknown = await dotAt(gateway, dot)
    await unknown.ask(QUERY)
    assert.equal((await gateway.reload(listen({ dot: [{ ...wanting(ROOT_FILE), endpoint: dot }] }))).outcome, 'applied')
    await unknown.closed()
    const known = await dotAt(showing(gateway, alice), dot)
    await known.ask(QUERY)
    assert.equal((await gateway.reload(listen({ dot: [place] }))).outcome, 'applied')
    await known.ask(QUERY)
    known.socket.destroy()
    assert.equal((await visit(gateway, dot, {})).reaction.kind, 'answer')
  })

  test('whose file cannot be used is found before anything is touched', async () => {
    const [missing, empty] = [join(directory, 'missing.pem'), write('empty.pem')]
    const config = (file: string) => testConfig([], listen({ dot: [wanting(file)] }))
    const message = (file: string, reason: string) => `Cannot use CA file: ${reason}: ${file} (atlas.yaml:3:5)`
    for (const [file, reason] of [
      [missing, 'there is no such file'],
      [empty, 'it is not PEM'],
    ] as const) {
      assert.throws(() => checkGateway(config(file)), { code: 'ATLAS_CERTIFICATE', message: message(file, reason) })
      await assert.rejects(runGateway([], listen({ dot: [wanting(file)] })), { message: message(file, reason) })
    }
    await using gateway = await runGateway([], listen({ doh: [wanting(ROOT_FILE)] }))
    const outcome = await gateway.reload(listen({ doh: [wanting(missing)] }))
    assert.ok(outcome.outcome === 'refused')
    assert.equal(outcome.message, message(missing, 'there is no such file'))
  })
})

function rcodeOf(reaction: Reaction | undefined): number | null {
  return reaction?.kind === 'answer' ? (reaction.message[3] ?? 0) & 0xf : null
}
