import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { createSecureContext } from 'node:tls'
import { clientTlsPolicy } from '../../certs/tls-policy.ts'
import { Failure } from '../../dns/failure.ts'
import { createServer } from '../../upstream/dial.ts'
import { issue, type TestCertificate } from '../certs/issue.ts'
import { aRecord, response } from '../harness/messages.ts'
import { type Handler, type TlsTestServer, tlsServer } from '../harness/servers.ts'
import { until } from '../harness/until.ts'
import { leaf, root, terms, trust } from './servers.ts'
import { type StreamStand, standWith } from './stream-stand.ts'

const answering: Handler = (query, reply) => reply(response(query, { answers: [aRecord()] }))
const clients = await issue({ isCa: true, subject: 'CN=clients' })
const ours = await issue({ subject: 'CN=gateway', issuer: clients })
const stray = await issue({ subject: 'CN=gateway' })
const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const
type Version = (typeof VERSIONS)[number]

/** Asks for a certificate of `clients`. */
function demandingServer(maxVersion: Version): Promise<TlsTestServer> {
  const demands = { requestCert: true, rejectUnauthorized: true, ca: clients.certPem, maxVersion }
  return tlsServer(answering, { cert: leaf.certPem, key: leaf.keyPem, ...demands })
}

function connectionsOf({ listener }: TlsTestServer): () => number {
  let connections = 0
  listener.on('connection', () => connections++)
  return () => connections
}

function showing(certificate: TestCertificate | null, { endpoint }: TlsTestServer): StreamStand {
  const shown = certificate !== null && { cert: certificate.certPem, key: certificate.keyPem }
  const context = createSecureContext({ ...clientTlsPolicy(), ca: root.certPem, ...shown })
  const options = { name: 'test', protocol: 'tls', endpoint, terms: terms(), trust: trust({ context }) } as const
  return standWith((dependencies) => createServer(options, dependencies))
}

for (const version of VERSIONS) {
  describe(`a tls upstream that wants a certificate of us, in ${version}`, () => {
    test('gets it, and knows us by it when a session is resumed', async () => {
      await using server = await demandingServer(version)
      const shown: unknown[] = []
      server.listener.on('secureConnection', (socket) => shown.push(socket.getPeerCertificate().subject?.CN, socket.isSessionReused()))
      const { upstream, ask, dependencies } = showing(ours, server)
      assert.ok((await ask()).answer)
      for (const socket of server.connections) socket.destroy()
      await until(() => dependencies.meter.counts.connections === 0)
      assert.ok((await ask()).answer)
      assert.deepEqual(shown, ['gateway', false, 'gateway', true])
      assert.deepEqual(dependencies.trust.said, [])
      await upstream.close()
    })

    test('refuses us without it: that is said once, and costs a handshake a second', async () => {
      await using server = await demandingServer(version)
      const connections = connectionsOf(server)
      const { upstream, ask, forward, dependencies } = showing(null, server)
      for (let round = 1; round <= 3; round++) {
        const outcomes = await Promise.all(Array.from({ length: 20 }, () => ask()))
        outcomes.push(await ask(), await ask())
        assert.ok(outcomes.every(({ failure }) => failure === Failure.upstream_network))
        assert.equal(connections(), round)
        forward(1000)
      }
      assert.equal(dependencies.trust.said.length, 1)
      assert.match(
        dependencies.trust.said[0] ?? '',
        version === 'TLSv1.3'
          ? /^the server refuses us: .*alert certificate required$/
          : /^the server refuses us: .*alert handshake failure$/,
      )
      assert.equal(server.queries.length, 0)
      await upstream.close()
    })

    test('closes the connection because of ours: it is left alone for a moment that grows', async () => {
      await using server = await demandingServer(version)
      const connections = connectionsOf(server)
      const { upstream, ask, forward } = showing(stray, server)
      for (let i = 0; i < 8; i++) {
        assert.equal((await ask()).failure, Failure.upstream_network)
        forward(1000)
      }
      const before = connections()
      for (let i = 0; i < 100; i++) {
        forward(10)
        assert.equal((await ask()).failure, Failure.upstream_network)
      }
      assert.ok(connections() - before <= 4, `${connections() - before} handshakes in a second`)
      assert.equal(server.queries.length, 0)
      await upstream.close()
    })
  })
}

test('a tls upstream that refused us says nothing before it has answered, and then that it accepts us', async () => {
  await using server = await demandingServer('TLSv1.3')
  const { upstream, ask, forward, dependencies } = showing(null, server)
  await ask()
  forward(1000)
  await ask()
  assert.equal(dependencies.trust.said.length, 1)
  Object.assign(server.listener, { requestCert: false, rejectUnauthorized: false })
  forward(1000)
  assert.ok((await ask()).answer)
  assert.deepEqual(dependencies.trust.said.slice(1), [''])
  await upstream.close()
})
