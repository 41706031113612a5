import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import test, { after, before, describe } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { ConnectionOptions } from 'node:tls'
import { Rcode } from '../../dns/types.ts'
import type { Endpoint } from '../../net/address.ts'
import { digestOf } from '../../net/token.ts'
import { DAY_MS, issue, type TestCertificate } from '../certs/issue.ts'
import {
  alice,
  credentialsOf,
  dave,
  OTHER_FILE,
  QUERY,
  ROOT_FILE,
  refusal,
  root,
  showing,
  visit,
  wanting,
  write,
} from '../harness/client-certificates.ts'
import { CLIENTS, DOH_CLIENTS, DOH_TCP_CLIENTS, type Reaction } from '../harness/clients.ts'
import { LIMITS, prefixes, runGateway, type TestGateway, testConfig, upstreamConfig } from '../harness/gateway.ts'
import { dotAt } from '../harness/keeper.ts'
import { dropped, metric, untilMetrics } from '../harness/metrics.ts'
import { ANYWHERE, answering, listen } from '../harness/reload.ts'
import { dnsServer } from '../harness/servers.ts'

const GET = `/dns-query?dns=${QUERY.toString('base64url')}`
const SERVER_AUTH = ['1.3.6.1.5.5.7.3.1']
const OVER_TLS = CLIENTS.filter(({ name }) => name === 'dot' || name.startsWith('doh1') || name.startsWith('doh2'))

const intermediate = await issue({ isCa: true, subject: 'CN=intermediate', issuer: root })
const bob = await issue({ subject: 'CN=bob', issuer: root })
const carol = await issue({ subject: 'CN=carol', issuer: intermediate })
const strangers: Readonly<Record<string, TestCertificate>> = {
  'of another CA': dave,
  'that is expired': await issue({ issuer: root, from: -3, until: -1 }),
  'that is not valid yet': await issue({ issuer: root, from: 1 }),
  'for servers': await issue({ issuer: root, usage: SERVER_AUTH }),
  'of its own': await issue({ subject: 'CN=alice' }),
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
      return { cert: write(`${name}.pem`, certPem), key: write(`${name}.key`, keyPem), origin: 'test' }
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
    const tokenFile = write('tokens.txt', `token-holder sha256:${digestOf('k3j5')}\n`)
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
    const [cert, key, ca] = [write('near.pem', bob.certPem), write('near.key', bob.keyPem), write('far.pem', far.ca)]
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

function rcodeOf(reaction: Reaction | undefined): number | null {
  return reaction?.kind === 'answer' ? (reaction.message[3] ?? 0) & 0xf : null
}
