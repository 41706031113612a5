import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { after, before, describe } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { connect, type TLSSocket } from 'node:tls'
import { assertProves, challengeFor, look } from '../harness/challenges.ts'
import { CLIENTS, openHttp2 } from '../harness/clients.ts'
import { scrape } from '../harness/metrics.ts'
import { answering, ask } from '../harness/reload.ts'
import { dnsServer } from '../harness/servers.ts'
import { runThreads, type ThreadedGateway } from '../harness/threads.ts'

const WORKERS: readonly number[] = [0, 1]
const LISTENERS = ['dot', 'doh'] as const
const FAULTY = new URL('./faulty-worker.ts', import.meta.url)

/** Does it again and again until each worker has done a handshake on the listener. */
async function untilEach(gateway: ThreadedGateway, listener: (typeof LISTENERS)[number], act: () => Promise<void>): Promise<void> {
  const labels = `transport="${listener === 'doh' ? 'doh2' : listener}"`
  const counts = () => WORKERS.map((index) => gateway.counted(index, 'atlas_handshakes_total', labels))
  const first = counts()
  for (let now = first; now.some((count, index) => count === first[index]); now = counts()) await act()
}

function secure(gateway: ThreadedGateway, listener: (typeof LISTENERS)[number], protocols: readonly string[]): TLSSocket {
  const { host, port } = gateway[listener]
  return connect({ host, port, servername: 'localhost', ca: gateway.ca, ALPNProtocols: [...protocols] })
}

/** What a client that trusts the gateway's certificate comes to speak. */
async function negotiated(...args: Parameters<typeof secure>): Promise<string | false | null> {
  const socket = secure(...args)
  await once(socket, 'secureConnect')
  const { alpnProtocol } = socket
  // the server has its part of the handshake too
  await once(socket.end().resume(), 'close')
  return alpnProtocol
}

async function assertRefused(...args: Parameters<typeof secure>): Promise<void> {
  const [error] = (await once(secure(...args), 'error')) as [Error]
  assert.match(error.message, /alert number 120/)
}

describe('tls-alpn-01 with two workers', () => {
  let upstream: Awaited<ReturnType<typeof dnsServer>>
  let gateway: ThreadedGateway
  before(async () => {
    upstream = await dnsServer(answering)
    gateway = await runThreads([upstream.endpoint], {}, { script: FAULTY, supervision: { acknowledgeMs: 1000, pauseMs: 1 } })
  })
  after(async () => {
    await gateway[Symbol.asyncDispose]()
    await upstream[Symbol.asyncDispose]()
  })

  test('is answered by every worker and listener once present() has resolved, and by none after remove()', async () => {
    const solver = gateway.gateway.solvers.tlsAlpn
    const challenge = challengeFor('dns.example.net')
    const others = [challengeFor('192.0.2.1', 'ip'), challengeFor('2001:db8::1', 'ip')]
    for (const listener of LISTENERS) {
      await untilEach(gateway, listener, async () => assert.equal(await look(gateway[listener], 'dns.example.net'), null))
    }
    await Promise.all([challenge, ...others].map((each) => solver.present(each)))
    const before = await scrape(gateway)
    for (const listener of LISTENERS) {
      await untilEach(gateway, listener, async () => {
        await assertProves(await look(gateway[listener], 'dns.example.net'), challenge)
        // RFC 8738 §6
        for (const [i, name] of ['1.2.0.192.in-addr.arpa', `1.${'0.'.repeat(23)}8.b.d.0.1.0.0.2.ip6.arpa`].entries()) {
          await assertProves(await look(gateway[listener], name), others[i] ?? assert.fail())
        }
      })
      // as the server name is written on the way
      await assertProves(await look(gateway[listener], 'DNS.Example.NET'), challenge)
      for (const name of ['other.example.net', 'www.dns.example.net', 'localhost', '']) {
        assert.equal(await look(gateway[listener], name), null, name)
      }
    }
    const drops = (await scrape(gateway)).drops
    // those that were refused just now
    assert.deepEqual({ ...drops, handshake_failed: 0 }, { ...before.drops, handshake_failed: 0 })
    assert.equal((drops.handshake_failed ?? 0) - (before.drops.handshake_failed ?? 0), 8)

    await solver.remove(challenge)
    for (const listener of LISTENERS) {
      await untilEach(gateway, listener, async () => assert.equal(await look(gateway[listener], 'dns.example.net'), null))
      await assertProves(await look(gateway[listener], '1.2.0.192.in-addr.arpa'), others[0] ?? assert.fail())
    }
    for (const each of others) await solver.remove(each)
    for (const listener of LISTENERS) {
      await untilEach(gateway, listener, async () => assert.equal(await look(gateway[listener], '1.2.0.192.in-addr.arpa'), null))
    }
  })

  test('disturbs no other client, also where acme-tls/1 is offered beside another protocol', async () => {
    const solver = gateway.gateway.solvers.tlsAlpn
    const session = openHttp2(gateway)
    const status = async (): Promise<unknown> => {
      const request = session.request({ ':path': `/dns-query?dns=${ask().toString('base64url')}` }).resume()
      return new Promise((resolve, reject) => request.once('response', (fields) => resolve(fields[':status'])).once('error', reject))
    }
    assert.equal(await status(), 200)
    const challenge = challengeFor('localhost')
    await solver.present(challenge)
    try {
      assert.equal(await status(), 200)
      for (const client of CLIENTS) assert.equal((await client.send(gateway, ask())).kind, 'answer', client.name)
      for (const [listener, protocols, chosen] of [
        ['dot', ['acme-tls/1', 'dot'], 'dot'],
        ['doh', ['http/1.1', 'acme-tls/1', 'h2'], 'h2'],
        ['doh', ['http/1.1'], 'http/1.1'],
        ['dot', [], false],
      ] as const) {
        await untilEach(gateway, listener, async () => assert.equal(await negotiated(gateway, listener, protocols), chosen))
      }
      await assertRefused(gateway, 'dot', ['h2'])
      await assertRefused(gateway, 'doh', ['acme-tls/1', 'dot'])
      await assertRefused(gateway, 'doh', ['acme-tls/1', 'acme-tls/1'])
    } finally {
      await solver.remove(challenge)
    }
    assert.equal(await status(), 200)
    session.destroy()
  })

  test('is answered by a worker that has come in the meantime', async () => {
    const solver = gateway.gateway.solvers.tlsAlpn
    const challenge = challengeFor('dns.example.net')
    await solver.present(challenge)
    const first = gateway.worker(1)
    await first.terminate()
    while (gateway.worker(1) === first) await turn()
    await gateway.worker(1).started
    await untilEach(gateway, 'dot', async () => assertProves(await look(gateway.dot, 'dns.example.net'), challenge))
    await solver.remove(challenge)
  })

  test('of the same name twice shows the later one, then the other again', async () => {
    const solver = gateway.gateway.solvers.tlsAlpn
    const [one, two] = [challengeFor('dns.example.net'), challengeFor('dns.example.net')]
    await solver.present(one)
    await solver.present(two)
    await untilEach(gateway, 'doh', async () => assertProves(await look(gateway.doh, 'dns.example.net'), two))
    await solver.remove(two)
    await untilEach(gateway, 'doh', async () => assertProves(await look(gateway.doh, 'dns.example.net'), one))
    await solver.remove(one)
  })

  test('is not said to be ready where a worker has not acknowledged it', async () => {
    const solver = gateway.gateway.solvers.tlsAlpn
    const file = join(gateway.state, 'block-1')
    writeFileSync(file, '')
    while (existsSync(file)) await turn()
    const challenge = challengeFor('dns.example.net')
    await assert.rejects(solver.present(challenge), {
      code: 'ATLAS_CERTIFICATE',
      message: /^Cannot show the challenge for dns\.example\.net \(tls-alpn-01\): worker 1: no acknowledgement within 1000 ms$/,
    })
    await solver.remove(challenge)
    assert.deepEqual(solver.certificates, [])
    await gateway.worker(1).terminate()
  })
})
