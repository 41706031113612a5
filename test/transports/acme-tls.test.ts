import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { connect as connectTcp } from 'node:net'
import { join } from 'node:path'
import test, { describe } from 'node:test'
import { connect } from 'node:tls'
import type { Config, ListenConfig } from '../../gateway/config/config.ts'
import type { Endpoint } from '../../net/address.ts'
import { issue } from '../certs/issue.ts'
import { assertProves, challengeFor, look, shownOn } from '../harness/challenges.ts'
import { dropsBetween, untilNothingIsLeft } from '../harness/faults.ts'
import { prefixes, runGateway, type TestGateway, testConfig } from '../harness/gateway.ts'
import { temporaryDirectory } from '../harness/temporary.ts'

const NAME = 'dns.example.net'
/** Without QUIC, where connections stay for a while. */
const { listen, access, tls, doh } = testConfig([])
const CONFIG: Partial<Config> = { listen: { ...listen, doq: [] }, doh: { ...doh, http3: false } }
const ELSEWHERE = { ...access, encrypted: prefixes('192.0.2.0/24') }

async function present({ gateway }: TestGateway) {
  const challenge = challengeFor(NAME)
  await gateway.solvers.tlsAlpn.present(challenge)
  return challenge
}

/** The certificate that others are shown under a name: its names. */
async function usual({ host, port }: Endpoint, protocol: string, servername: string): Promise<string | undefined> {
  const socket = connect({ host, port, servername, ALPNProtocols: [protocol], rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  const { subjectaltname } = socket.getPeerCertificate()
  socket.destroy()
  return subjectaltname
}

describe('a handshake of acme-tls/1', () => {
  test('is one like others in the metrics, and its end no failure', async () => {
    await using gateway = await runGateway([], CONFIG)
    const challenge = await present(gateway)
    const before = await untilNothingIsLeft(gateway)
    await assertProves(await look(gateway.dot, NAME), challenge)
    await assertProves(await look(gateway.doh, NAME), challenge)
    const after = await untilNothingIsLeft(gateway)
    assert.deepEqual(dropsBetween(before, after), {})
    assert.equal(after.sum('atlas_handshakes_total') - before.sum('atlas_handshakes_total'), 2)
  })

  test('may come from anywhere where it is after TLS that clients are refused: over HTTPS', async () => {
    await using gateway = await runGateway([], { ...CONFIG, access: ELSEWHERE })
    const challenge = await present(gateway)
    await assertProves(await look(gateway.doh, NAME), challenge)
    const before = await untilNothingIsLeft(gateway)
    const { host, port } = gateway.dot
    const socket = connect({ host, port, servername: NAME, ALPNProtocols: ['acme-tls/1'] })
    const [error] = (await once(socket, 'error')) as [Error & { code: string }]
    assert.equal(error.code, 'ECONNRESET')
    assert.deepEqual(dropsBetween(before, await untilNothingIsLeft(gateway)), { access_denied: 1 })
  })

  test('is understood behind a load balancer that says whose it is', async () => {
    const places: readonly ListenConfig[] = [{ ...(listen.dot[0] as ListenConfig), proxyProtocol: prefixes('127.0.0.0/8') }]
    await using gateway = await runGateway([], {
      ...CONFIG,
      listen: { ...listen, doq: [], dot: places, doh: places },
      access: ELSEWHERE,
    })
    const challenge = await present(gateway)
    for (const { host, port } of [gateway.dot, gateway.doh]) {
      const raw = connectTcp(port, host)
      raw.write('PROXY TCP4 192.0.2.9 127.0.0.1 4660 443\r\n')
      const socket = connect({ socket: raw, servername: NAME, ALPNProtocols: ['acme-tls/1'], rejectUnauthorized: false })
      await assertProves(await shownOn(socket), challenge)
    }
  })

  for (const minVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    test(`of ${minVersion} is shown its certificate, and others theirs, with several to choose from`, async (t) => {
      const directory = temporaryDirectory(t)
      const certificates = await Promise.all(
        [['first.test'], ['*.example.net', NAME]].map(async (names, i) => {
          const { certPem, keyPem } = await issue({ names })
          const [cert, key] = [join(directory, `${i}.pem`), join(directory, `${i}.key`)]
          writeFileSync(cert, certPem)
          writeFileSync(key, keyPem)
          return { cert, key, origin: 'test' }
        }),
      )
      await using gateway = await runGateway([], { ...CONFIG, tls: { ...tls, minVersion, certificates } })
      const version = { minVersion, maxVersion: minVersion }
      assert.equal(await look(gateway.doh, NAME, version), null)
      const challenge = await present(gateway)
      const wildcard = 'DNS:*.example.net, DNS:dns.example.net'
      for (const [place, protocol] of [
        [gateway.dot, 'dot'],
        [gateway.doh, 'h2'],
      ] as const) {
        await assertProves(await look(place, NAME, version), challenge)
        // a certificate is ours for these, and no challenge is pending
        for (const name of ['www.example.net', 'first.test']) assert.equal(await look(place, name, version), null)
        assert.equal(await usual(place, protocol, NAME), wildcard)
        assert.equal(await usual(place, protocol, 'first.test'), 'DNS:first.test')
      }
    })
  }

  test('gets the challenge also after the certificates have changed', async () => {
    await using gateway = await runGateway([], CONFIG)
    const challenge = await present(gateway)
    await assertProves(await look(gateway.doh, NAME), challenge)
    const { outcome } = await gateway.reload({ public: { ...testConfig([]).public, name: 'new.example' } })
    assert.equal(outcome, 'applied')
    await assertProves(await look(gateway.doh, NAME), challenge)
    assert.match((await usual(gateway.doh, 'h2', 'new.example')) ?? '', /DNS:new\.example/)
  })
})
