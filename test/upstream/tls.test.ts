import assert from 'node:assert/strict'
import { createHash, type X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net'
import test, { describe } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { TLSSocket, TlsOptions } from 'node:tls'
import { Failure } from '../../dns/failure.ts'
import type { Endpoint } from '../../net/address.ts'
import { monotonicClock } from '../../net/clock.ts'
import { createServer } from '../../upstream/dial.ts'
import { TlsDialer, type TlsTrust } from '../../upstream/dial-tls.ts'
import type { Dialer } from '../../upstream/dialer.ts'
import { StreamUpstream } from '../../upstream/stream.ts'
import { issue, type TestCertificate } from '../certs/issue.ts'
import { aRecord, hex, response } from '../harness/messages.ts'
import { type Handler, type TestServer, type TlsTestServer, tcpServer, tlsServer, udpServer } from '../harness/servers.ts'
import { until } from '../harness/until.ts'
import { ask, OwningUpstream, upstreamDependencies } from '../harness/upstream.ts'
import { leaf, root, terms, trust } from './servers.ts'

const answering: Handler = (query, reply) => reply(response(query, { answers: [aRecord()] }))
const GOOD = { cert: leaf.certPem, key: leaf.keyPem }

const other = await issue({ isCa: true, subject: 'CN=other' })
const selfSigned = await issue({ names: ['dns.example'], addresses: ['127.0.0.1'] })
const expired = await issue({ names: ['dns.example'], addresses: ['127.0.0.1'], issuer: root, from: -10, until: -1 })
const elsewhere = await issue({ names: ['elsewhere.example'], addresses: ['127.0.0.2'], issuer: root })
const nameless = await issue({ subject: 'CN=dns.example', issuer: root })
/** Has the name of the issuer of `leaf`, and another key. */
const namesake = await issue({ isCa: true, subject: 'CN=root' })
const plainIssuer = await issue({ subject: 'CN=no CA' })
const illegitimate = await issue({ addresses: ['127.0.0.1'], issuer: plainIssuer })
const foreign = await issue({ names: ['dns.example'], addresses: ['127.0.0.1'], issuer: other })

function pinOf({ publicKey }: X509Certificate): string {
  return createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('base64')
}

/** An upstream whose clock can be put forward. */
function upstreamTo(endpoint: Endpoint, parts: Partial<TlsTrust> & { ca?: string } = {}) {
  let ahead = 0
  const dependencies = { ...upstreamDependencies(), clock: () => monotonicClock() + ahead }
  const server = createServer(
    { name: 'test', protocol: 'tls', endpoint, terms: terms({ connectMs: 500 }), trust: trust(parts) },
    dependencies,
  )
  const forward = (ms: number): void => {
    ahead += ms
  }
  return { server, upstream: new OwningUpstream([server], dependencies), dependencies, forward }
}

describe('a tls upstream', () => {
  test('carries all questions over one connection, which speaks DoT to the name', async () => {
    await using server = await tlsServer(answering, GOOD)
    const { upstream } = upstreamTo(server.endpoint, { serverName: 'dns.example' })
    await Promise.all(Array.from({ length: 100 }, () => ask(upstream)))
    assert.deepEqual(
      server.sockets.map((socket) => [socket.getProtocol(), socket.alpnProtocol, (socket as { servername?: unknown }).servername]),
      [['TLSv1.3', 'dot', 'dns.example']],
    )
    assert.equal(server.queries.length, 100)
    await upstream.close()
  })

  test('sends no server name where it has none, and accepts that no protocol is selected', async () => {
    await using server = await tlsServer(answering, { ...GOOD, ALPNProtocols: undefined })
    const { upstream } = upstreamTo(server.endpoint)
    assert.ok((await ask(upstream)).answer)
    assert.deepEqual(
      server.sockets.map((socket) => [socket.alpnProtocol, (socket as { servername?: unknown }).servername]),
      [[false, false]],
    )
    await upstream.close()
  })

  test('pads every question to 128 octets or a multiple, with zeros, in the last option', async () => {
    await using server = await tlsServer(answering, GOOD)
    const { upstream } = upstreamTo(server.endpoint)
    for (let length = 1; length <= 60; length++) await ask(upstream, { name: `${'a'.repeat(length)}.${'b'.repeat(60)}.example` })
    for (const query of server.queries) {
      assert.equal(query.length % 128, 0)
      const optionsAt = query.indexOf(hex('00 0029 04d0 00000000')) + 11
      assert.deepEqual(query.subarray(optionsAt, optionsAt + 6), hex('000b0000 000c'))
      const padding = query.subarray(optionsAt + 8)
      assert.equal(query.readUInt16BE(optionsAt + 6), padding.length)
      assert.ok(padding.every((octet) => octet === 0))
    }
    assert.deepEqual(new Set(server.queries.map(({ length }) => length)), new Set([128, 256]))
    await upstream.close()
  })

  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    test(`resumes its ${maxVersion} session, for a day`, async () => {
      await using server = await tlsServer(answering, { ...GOOD, maxVersion })
      const { upstream, dependencies, forward } = upstreamTo(server.endpoint)
      const reconnect = async (): Promise<boolean | undefined> => {
        const socket = server.sockets.at(-1)
        if (socket !== undefined) {
          // the tickets have arrived when the answer has; the close must have arrived too
          socket.destroy()
          await sleep(30)
        }
        assert.ok((await ask(upstream)).answer)
        return server.sockets.at(-1)?.isSessionReused()
      }
      // a ticket is used once, and this server gives none when it resumes
      const reused = [await reconnect(), await reconnect(), await reconnect()]
      forward(86_400_000)
      reused.push(await reconnect(), await reconnect())
      assert.deepEqual(reused, [false, true, false, false, true])
      assert.deepEqual(dependencies.trust.said, [])
      await upstream.close()
    })
  }

  test('fails as over TCP when there is no TLS at the other end', async () => {
    for (const kind of ['closes', 'talks', 'is silent']) {
      const server = createTcpServer((socket) => {
        socket.on('error', () => {})
        if (kind === 'closes') socket.destroy()
        else if (kind === 'talks') socket.write('220 hello\r\n')
      }).listen(0, '127.0.0.1')
      await once(server, 'listening')
      const { server: only, dependencies } = upstreamTo({ host: '127.0.0.1', port: (server.address() as AddressInfo).port })
      assert.equal((await ask(only)).failure, Failure.upstream_network, kind)
      assert.deepEqual(dependencies.trust.said, [])
      await only.close()
      server.close()
    }
  })

  test('takes no version before TLS 1.2', async () => {
    await using server = await tlsServer(answering, { ...GOOD, minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'ALL:@SECLEVEL=0' })
    const { server: only } = upstreamTo(server.endpoint)
    assert.equal((await ask(only)).failure, Failure.upstream_network)
    await only.close()
  })
})

/** A TLS server, and one that answers over UDP on the port of the same number. */
async function tlsAndPlain(options: TlsOptions): Promise<{ tls: TlsTestServer; udp: TestServer }> {
  for (;;) {
    const tls = await tlsServer(answering, options)
    const udp = await udpServer(answering, tls.endpoint.port).catch(() => null)
    if (udp !== null) return { tls, udp }
    // somebody else has the UDP port of that number
    await tls[Symbol.asyncDispose]()
  }
}

interface Refusal {
  readonly what: string
  readonly shows: TestCertificate
  /** Certificates sent behind the leaf. */
  readonly chain?: string
  readonly trust?: Partial<TlsTrust>
  readonly reason: RegExp
  readonly maxVersion?: 'TLSv1.2'
}

const byName = { serverName: 'dns.example' }
const pinned = { pins: [pinOf(other.certificate)] }
const pinnedAlone = { ...pinned, verifiesChain: false }
const NO_PIN = /^no certificate of the chain has a pinned key$/
const refusals: readonly Refusal[] = [
  { what: 'an expired certificate', shows: expired, reason: /^certificate has expired$/ },
  { what: 'another name', shows: elsewhere, trust: byName, reason: /^Hostname\/IP does not match certificate's altnames: / },
  { what: 'another address', shows: elsewhere, reason: /^Hostname\/IP does not match certificate's altnames: / },
  // DOT-13
  { what: 'the name as common name only', shows: nameless, trust: byName, reason: /does not contain a DNS name$/ },
  { what: 'an unknown issuer', shows: foreign, reason: /^unable to verify the first certificate$/ },
  { what: 'no issuer', shows: selfSigned, reason: /^self-signed certificate$/ },
  { what: 'no pinned key', shows: leaf, trust: pinned, reason: NO_PIN },
  { what: 'no pinned key, and pins alone decide', shows: leaf, trust: pinnedAlone, reason: NO_PIN },
  { what: 'no pinned key, in TLS 1.2', shows: leaf, trust: pinnedAlone, maxVersion: 'TLSv1.2', reason: NO_PIN },
  {
    what: 'a copy of the pinned certificate that only has the name of its issuer',
    shows: leaf,
    chain: namesake.certPem,
    trust: { verifiesChain: false, pins: [pinOf(namesake.certificate)] },
    reason: NO_PIN,
  },
  {
    what: 'an issuer with a pinned key that is no CA',
    shows: illegitimate,
    chain: plainIssuer.certPem,
    trust: { verifiesChain: false, pins: [pinOf(plainIssuer.certificate)] },
    reason: NO_PIN,
  },
  {
    what: 'a pinned key under another name',
    shows: elsewhere,
    trust: { ...byName, pins: [pinOf(elsewhere.certificate)] },
    reason: /^Hostname\/IP does not match/,
  },
  { what: 'a pinned key of an unknown issuer', shows: foreign, trust: { ...byName, ...pinned }, reason: /^unable to verify/ },
]

describe('a tls upstream refuses, and asks nothing and nobody else, where the server shows', () => {
  for (const { what, shows, chain = '', trust: parts = {}, reason, ...options } of refusals) {
    test(what, async () => {
      const pair = await tlsAndPlain({ cert: shows.certPem + chain, key: shows.keyPem, ...options })
      await using server = pair.tls
      await using plain = pair.udp
      let connections = 0
      server.listener.on('connection', () => connections++)
      const { upstream, dependencies, forward } = upstreamTo(server.endpoint, parts)
      const outcomes = await Promise.all(Array.from({ length: 20 }, () => ask(upstream)))
      // at once, and without another handshake
      outcomes.push(await ask(upstream))
      assert.ok(outcomes.every(({ failure }) => failure === Failure.upstream_certificate))
      assert.equal(connections, 1)
      forward(1000)
      assert.equal((await ask(upstream)).failure, Failure.upstream_certificate)
      assert.equal(connections, 2)
      assert.equal(dependencies.trust.said.length, 1)
      assert.match(dependencies.trust.said[0] ?? '', reason)
      assert.deepEqual([server.queries.length, plain.queries.length], [0, 0])
      await upstream.close()
    })
  }
})

describe('a tls upstream with pins', () => {
  const alone = { verifiesChain: false }

  test('accepts the pinned key of a certificate that nobody issued, or that has expired', async () => {
    for (const shown of [selfSigned, expired]) {
      await using server = await tlsServer(answering, { cert: shown.certPem, key: shown.keyPem })
      const { upstream } = upstreamTo(server.endpoint, { ...alone, pins: [pinOf(root.certificate), pinOf(shown.certificate)] })
      assert.ok((await ask(upstream)).answer)
      await upstream.close()
    }
  })

  test('accepts the pinned key of the issuer, sent or trusted', async () => {
    const pins = [pinOf(other.certificate)]
    await using server = await tlsServer(answering, { cert: foreign.certPem + other.certPem, key: foreign.keyPem })
    const sent = upstreamTo(server.endpoint, { ...alone, pins })
    assert.ok((await ask(sent.upstream)).answer)
    await sent.upstream.close()
    await using brief = await tlsServer(answering, { cert: foreign.certPem, key: foreign.keyPem })
    const trusted = upstreamTo(brief.endpoint, { ca: other.certPem, pins })
    assert.ok((await ask(trusted.upstream)).answer)
    await trusted.upstream.close()
  })

  test('resumes a session of the pinned server', async () => {
    await using server = await tlsServer(answering, { cert: selfSigned.certPem, key: selfSigned.keyPem })
    const { upstream } = upstreamTo(server.endpoint, { ...alone, pins: [pinOf(selfSigned.certificate)] })
    await ask(upstream)
    server.sockets[0]?.destroy()
    await sleep(30)
    assert.ok((await ask(upstream)).answer)
    assert.equal(server.sockets[1]?.isSessionReused(), true)
    await upstream.close()
  })
})

for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`a tls upstream does not take a ${maxVersion} session for the key that was refused`, async () => {
    await using server = await tlsServer(answering, { cert: selfSigned.certPem, key: selfSigned.keyPem, maxVersion })
    const pins = [pinOf(selfSigned.certificate)]
    const { upstream, dependencies, forward } = upstreamTo(server.endpoint, { verifiesChain: false, pins })
    assert.ok((await ask(upstream)).answer)
    server.sockets[0]?.destroy()
    server.listener.setSecureContext({ ...GOOD, maxVersion })
    for (let i = 0; i < 3; i++) {
      await sleep(30)
      assert.equal((await ask(upstream)).failure, Failure.upstream_certificate)
      forward(1000)
    }
    assert.equal(dependencies.trust.said.length, 1)
    await upstream.close()
  })
}

test('a stream upstream sends nothing before its connection is ready', async () => {
  await using server = await tcpServer(answering)
  let makeReady = (): void => {}
  const dialer: Dialer = {
    padding: 0,
    refusal: null,
    dial: (sink) => {
      const socket = connect(server.endpoint)
      makeReady = () => sink.ready(socket)
      return { abort: () => socket.destroy() }
    },
    answered: () => {},
  }
  const upstream = new StreamUpstream(dialer, { name: 'test', terms: terms() }, upstreamDependencies())
  const outcome = ask(upstream)
  await sleep(50)
  assert.equal(server.queries.length, 0)
  makeReady()
  assert.ok((await outcome).answer)
  await upstream.close()
})

test('a tls upstream works again, and says so, once the certificate is put right', async () => {
  await using server = await tlsServer(answering, { cert: expired.certPem, key: expired.keyPem })
  const { upstream, dependencies, forward } = upstreamTo(server.endpoint)
  await ask(upstream)
  server.listener.setSecureContext(GOOD)
  assert.equal((await ask(upstream)).failure, Failure.upstream_certificate)
  forward(1000)
  assert.ok((await ask(upstream)).answer)
  assert.ok((await ask(upstream)).answer)
  assert.deepEqual(dependencies.trust.said, ['certificate has expired', ''])
  await upstream.close()
})

test('another server is asked at once when the certificate of the first is not accepted', async () => {
  await using first = await tlsServer(answering, { cert: expired.certPem, key: expired.keyPem })
  await using second = await tlsServer(answering, GOOD)
  const dependencies = upstreamDependencies()
  const servers = [first, second].map(({ endpoint }) =>
    createServer({ name: 'test', protocol: 'tls', endpoint, terms: terms({ connectMs: 500 }), trust: trust() }, dependencies),
  )
  const upstream = new OwningUpstream(servers, dependencies)
  const { answer, ms } = await ask(upstream)
  assert.ok(answer)
  assert.ok(ms < 300, `${ms} ms`)
  assert.equal(first.queries.length, 0)
  await upstream.close()
})

describe('a TLS dialer', () => {
  test('offers the protocols that it is told to', async () => {
    await using server = await tlsServer(answering, { ...GOOD, ALPNProtocols: ['http/1.1', 'h2'] })
    const options = { endpoint: server.endpoint, terms: terms(), trust: trust(), protocols: ['h2'] }
    const dialer = new TlsDialer(options, { ...upstreamDependencies(), clock: monotonicClock })
    const { promise, resolve, reject } = Promise.withResolvers<Socket>()
    dialer.dial({ ready: resolve, failed: (failure) => reject(new Error(failure.code)) })
    const socket = (await promise) as TLSSocket
    assert.equal(socket.alpnProtocol, 'h2')
    socket.destroy()
  })

  test('says nothing more of a dial that is given up, and leaves no connection behind', async () => {
    const open = new Set<Socket>()
    let accepted = 0
    const server = createTcpServer((socket) => {
      accepted++
      open.add(socket.on('error', () => {}).on('close', () => open.delete(socket)))
      socket.resume()
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const endpoint = { host: '127.0.0.1', port: (server.address() as AddressInfo).port }
    const dialer = new TlsDialer({ endpoint, terms: terms(), trust: trust() }, { ...upstreamDependencies(), clock: monotonicClock })
    const said: string[] = []
    const dial = dialer.dial({ ready: () => said.push('ready'), failed: () => said.push('failed') })
    await until(() => accepted > 0)
    dial.abort()
    dial.abort()
    await until(() => open.size === 0)
    server.close()
    await once(server, 'close')
    assert.deepEqual(said, [])
  })
})
