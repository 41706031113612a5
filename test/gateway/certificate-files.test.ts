import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { describe, type TestContext } from 'node:test'
import { type ConnectionOptions, connect } from 'node:tls'
import { checkGateway } from '../../gateway/assembly/check.ts'
import type { CertificateConfig, Config } from '../../gateway/config/config.ts'
import { issue, rsa, type TestCertificate, type TestCertificateParts } from '../certs/issue.ts'
import { PKCS12 } from '../certs/pkcs12-fixtures.ts'
import { runGateway, type TestGateway, testConfig } from '../harness/gateway.ts'
import { ANYWHERE, changesOf, listen } from '../harness/reload.ts'
import { temporaryDirectory } from '../harness/temporary.ts'
import { until } from '../harness/until.ts'

const LOOK_MS = 2000
const ONLY_DOT = listen({ doh: [], doq: [], dns: [], dot: [ANYWHERE] })

const root = await issue({ subject: 'CN=root', isCa: true })

async function certificate(parts: TestCertificateParts = {}): Promise<TestCertificate> {
  return issue({ names: ['localhost'], issuer: root, ...parts })
}

interface Pair {
  readonly files: { readonly cert: string; readonly key: string; readonly origin: string }
  write(certificate: TestCertificate): void
}

async function pairIn(t: TestContext, parts?: TestCertificateParts): Promise<Pair> {
  const directory = temporaryDirectory(t)
  const files = { cert: join(directory, 'cert.pem'), key: join(directory, 'key.pem'), origin: 'test:1:1' }
  const write = ({ certPem, keyPem }: TestCertificate): void => {
    writeFileSync(files.cert, certPem)
    writeFileSync(files.key, keyPem)
  }
  write(await certificate(parts))
  return { files, write }
}

function tlsOf(...certificates: readonly CertificateConfig[]): Pick<Config, 'tls'> {
  return { tls: { certificates, minVersion: 'TLSv1.2', acme: [], ticketKeyFile: null } }
}

/** The fingerprint of what DoT clients are shown. */
function shown({ dot }: TestGateway, options: ConnectionOptions = {}): Promise<string> {
  const socket = connect({ host: dot.host, port: dot.port, servername: 'localhost', ca: root.certPem, ...options })
  return new Promise((resolve, reject) => {
    socket.once('error', reject)
    socket.once('secureConnect', () => {
      resolve(socket.getPeerCertificate().fingerprint256)
      socket.destroy()
    })
  })
}

function logged({ log }: TestGateway, text: string): number {
  return log.filter((line) => line.includes(text)).length
}

describe('a gateway with certificates of files', () => {
  test('serves what is written over them without being told, and a reload finds nothing to do then', async (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] })
    const pair = await pairIn(t)
    const first = await certificate()
    pair.write(first)
    await using gateway = await runGateway([], { ...ONLY_DOT, ...tlsOf(pair.files) })
    const renewed = await certificate()
    pair.write(renewed)
    t.mock.timers.tick(LOOK_MS)
    await until(async () => (await shown(gateway)) === renewed.certificate.fingerprint256)
    assert.equal(logged(gateway, 'there is a new certificate'), 1)
    assert.equal((await gateway.reload({})).outcome, 'unchanged')
    // another configuration with the same certificate is no other certificate
    const timeouts = { queryMs: 3000, handshakeMs: 5000, drainMs: 10_000 }
    assert.deepEqual(
      changesOf(await gateway.reload({ timeouts })).map(({ path }) => path),
      ['timeouts.query'],
    )
    assert.equal(await shown(gateway), renewed.certificate.fingerprint256)
    // that they hold again what they held at the start is a change all the same
    pair.write(first)
    const change = { path: 'certificates', from: [renewed.certificate.fingerprint256], to: [first.certificate.fingerprint256] }
    assert.deepEqual(changesOf(await gateway.reload({})), [change])
    assert.equal(await shown(gateway), first.certificate.fingerprint256)
    // the watch goes on, with what the reload has found
    t.mock.timers.tick(LOOK_MS)
    pair.write(renewed)
    t.mock.timers.tick(LOOK_MS)
    await until(async () => (await shown(gateway)) === renewed.certificate.fingerprint256)
    assert.equal(logged(gateway, 'there is a new certificate'), 2)
  })

  test('keeps serving when they are broken, says so once, and refuses a reload', async (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] })
    const pair = await pairIn(t)
    await using gateway = await runGateway([], { ...ONLY_DOT, ...tlsOf(pair.files) })
    const before = await shown(gateway)
    writeFileSync(pair.files.key, 'nothing')
    const refused = () => logged(gateway, `Cannot use certificate: it is not PEM: ${pair.files.key} (test:1:1)`)
    await until(() => {
      t.mock.timers.tick(LOOK_MS)
      return refused() > 0
    })
    for (let look = 0; look < 5; look++) t.mock.timers.tick(LOOK_MS)
    const outcome = await gateway.reload({})
    assert.ok(outcome.outcome === 'refused')
    assert.equal(outcome.message, `Cannot use certificate: it is not PEM: ${pair.files.key} (test:1:1)`)
    assert.equal(await shown(gateway), before)
    assert.equal(refused(), 2, 'by the watch and by the reload')
  })

  test('starts with one that has expired, says so, and takes the next one', async (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] })
    const pair = await pairIn(t, { from: -20, until: -10 })
    await using gateway = await runGateway([], { ...ONLY_DOT, ...tlsOf(pair.files) })
    assert.equal(logged(gateway, 'Cannot use certificate: it expired on'), 2, 'as what is wrong with it, and as the alarm of the day')
    await assert.rejects(shown(gateway), { code: 'CERT_HAS_EXPIRED' })
    assert.equal((await gateway.reload({})).outcome, 'refused')
    const renewed = await certificate()
    pair.write(renewed)
    t.mock.timers.tick(LOOK_MS)
    await until(async () => (await shown(gateway, { rejectUnauthorized: false })) === renewed.certificate.fingerprint256)
  })

  test('does not start with one that is not for its key', async (t) => {
    const pair = await pairIn(t)
    writeFileSync(pair.files.key, (await certificate()).keyPem)
    await assert.rejects(runGateway([], { ...ONLY_DOT, ...tlsOf(pair.files) }), {
      code: 'ATLAS_CERTIFICATE',
      message: /the key does not match/,
    })
  })

  test('serves a PKCS #12 container, over QUIC too', async (t) => {
    const directory = temporaryDirectory(t)
    const [pfx, passwordFile] = [join(directory, 'own.p12'), join(directory, 'word')]
    writeFileSync(pfx, PKCS12.old)
    writeFileSync(passwordFile, 'secret\n')
    const certificates = tlsOf({ pfx, passwordFile, origin: 'test:1:1' })
    await using gateway = await runGateway([], { ...listen({ doh: [], dot: [ANYWHERE], doq: [ANYWHERE] }), ...certificates })
    assert.notEqual(gateway.doq.port, 0)
    const { dot } = gateway
    const socket = connect({ host: dot.host, port: dot.port, servername: 'fixture.test', rejectUnauthorized: false })
    await new Promise((resolve) => socket.once('secureConnect', resolve))
    const { subject, issuerCertificate } = socket.getPeerCertificate(true)
    assert.deepEqual([subject.O, issuerCertificate.subject.CN], ['fixture', 'fixture intermediate'])
    socket.destroy()
  })

  test('shows RSA to who knows nothing else, by names too', async (t) => {
    const [ecdsa, other] = [await pairIn(t, { names: ['localhost'] }), await pairIn(t, { names: ['other.test'] })]
    const both = await pairIn(t, { names: ['localhost', 'other.test'], algorithm: rsa(2048) })
    await using gateway = await runGateway([], { ...ONLY_DOT, ...tlsOf(ecdsa.files, other.files, both.files) })
    const RSA = { sigalgs: 'rsa_pss_rsae_sha256:rsa_pkcs1_sha256' }
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      const kinds = new Set<string>()
      for (const servername of ['localhost', 'other.test']) {
        const [usual, old] = [await shown(gateway, { servername, maxVersion }), await shown(gateway, { servername, maxVersion, ...RSA })]
        assert.notEqual(usual, old)
        kinds.add(usual).add(old)
      }
      assert.equal(kinds.size, 3, 'two by ECDSA, one by RSA')
    }
  })
})

describe('checkGateway()', () => {
  async function warningsFor(
    t: TestContext,
    parts: readonly TestCertificateParts[],
    rest: Partial<Config> = {},
  ): Promise<readonly string[]> {
    const files = await Promise.all(parts.map(async (each) => (await pairIn(t, each)).files))
    return checkGateway(testConfig([], { ...tlsOf(...files), ...rest }))
  }

  test('has nothing to say of good certificates', async (t) => {
    const named = { public: { ...testConfig([]).public, name: 'dns.example' } }
    assert.deepEqual(await warningsFor(t, [{ names: ['dns.example'] }, { names: ['dns.example'], algorithm: rsa(2048) }], named), [])
    assert.deepEqual(await warningsFor(t, [{ names: ['*.example'] }], named), [])
    assert.deepEqual(await warningsFor(t, [{ names: ['*.example'] }, { names: ['dns.example'] }], named), [], 'the wildcard has it')
    assert.deepEqual(await checkGateway(testConfig([], named)), [], 'the local CA has the name')
  })

  test('refuses what has expired and what is not valid yet', async (t) => {
    await assert.rejects(warningsFor(t, [{ from: -20, until: -10 }]), { code: 'ATLAS_CERTIFICATE', message: /it expired on/ })
    await assert.rejects(warningsFor(t, [{ from: 10, until: 20 }]), { code: 'ATLAS_CERTIFICATE', message: /it is not valid before/ })
  })

  test('warns of names that QUIC does not have', async (t) => {
    const parts = [{ names: ['a.test'] }, { names: ['a.test', 'b.test'] }, { names: [], addresses: ['192.0.2.1'] }]
    const expected =
      'tls: DNS over QUIC and HTTP/3 present the first certificate, whatever name a client asks for: it is not for b.test, 192.0.2.1'
    assert.deepEqual(await warningsFor(t, parts), [expected])
    const { doh } = testConfig([])
    assert.deepEqual(await warningsFor(t, parts, { ...listen({ doq: [] }), doh: { ...doh, http3: false } }), [])
  })

  test('warns of what ends soon, in proportion to its life', async (t) => {
    const [warning = '', ...none] = await warningsFor(t, [{ from: -77, until: 13 }])
    assert.match(warning, /cert\.pem \(test:1:1\): it expires in 12 days and has not been renewed$/)
    assert.deepEqual(none, [])
    assert.deepEqual(await warningsFor(t, [{ from: -1, until: 5 }]), [])
    assert.equal((await warningsFor(t, [{ from: -5, until: 1 }])).length, 1)
  })

  test('warns of a name that no certificate has, and of keys that browsers do not know', async (t) => {
    const named = { public: { ...testConfig([]).public, name: 'a.dns.example' } }
    assert.deepEqual(await warningsFor(t, [{ names: ['dns.example', '*.example'] }], named), [
      'public.name: no certificate is for a.dns.example, so clients that use this name will refuse the gateway',
    ])
    const [warning = ''] = await warningsFor(t, [{ names: ['localhost'], algorithm: { name: 'Ed25519' } }])
    assert.match(warning, /cert\.pem \(test:1:1\): its key is ed25519, which browsers and most phones cannot verify$/)
  })
})
