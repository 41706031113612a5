import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import test, { after, before, describe } from 'node:test'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { issue, type TestCertificate } from '../../certs/issue.ts'
import { FakeExchange, runProxy, until } from './harness.ts'

/** An origin on 127.0.0.1 with this certificate, which says what name it was asked for. */
async function runHttpsOrigin({ certPem, keyPem }: TestCertificate) {
  const server = createServer({ cert: certPem, key: keyPem }, ({ socket, headers }, reply) => {
    reply.end(`${'servername' in socket ? socket.servername : ''} ${headers.host}`)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
    },
  }
}

describe('an origin on HTTPS', () => {
  const roots = getCACertificates('default')
  let ca: TestCertificate

  before(async () => {
    ca = await issue({ subject: 'CN=test CA', isCa: true })
    setDefaultCACertificates([...roots, ca.certPem])
  })
  after(() => setDefaultCACertificates(roots))

  async function ask(certificate: TestCertificate, host: string) {
    await using origin = await runHttpsOrigin(certificate)
    await using proxy = await runProxy(new URL(`https://${host}:${origin.port}`))
    const exchange = new FakeExchange()
    proxy.proxy.serve(exchange)
    await until(() => exchange.ended && proxy.proxy.size === 0)
    return { exchange, counts: proxy.counts }
  }

  test('is asked by its own name; Host is the one that the client asked for', async () => {
    const { exchange } = await ask(await issue({ names: ['localhost'], issuer: ca }), 'localhost')
    assert.deepEqual([exchange.status, exchange.content], [200, 'localhost dns.example'])
  })

  test('may be an address, for which there is no server name (RFC 6066 §3)', async () => {
    const { exchange } = await ask(await issue({ addresses: ['127.0.0.1'], issuer: ca }), '127.0.0.1')
    assert.deepEqual([exchange.status, exchange.content], [200, 'false dns.example'])
  })

  for (const [what, parts] of [
    ['of somebody else', { names: ['other.example'] }],
    ['that has expired', { names: ['localhost'], from: -9, until: -1 }],
    ['of a CA that nobody knows', { names: ['localhost'], issuer: undefined }],
  ] as const) {
    test(`is not asked when it has a certificate ${what}: 502`, async () => {
      const { exchange, counts } = await ask(await issue({ issuer: ca, ...parts }), 'localhost')
      assert.equal(exchange.status, 502)
      assert.deepEqual(counts, ['proxy_unreachable'])
    })
  }
})
