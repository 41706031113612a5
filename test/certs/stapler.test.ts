import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import test, { describe, type TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { type ConnectionOptions, connect, createServer, type TLSSocket } from 'node:tls'
import { type Identity, parseIdentity } from '../../certs/identity.ts'
import type { StapleProblem } from '../../certs/ocsp/stapled.ts'
import { Stapler } from '../../certs/ocsp/stapler.ts'
import { IdentityStore } from '../../certs/store.ts'
import { tlsPolicy } from '../../certs/tls-policy.ts'
import { askAt, MUST_STAPLE, type OcspResponder, ocspResponder, ocspResponse } from '../harness/ocsp-responder.ts'
import { issue, rsa, type TestCertificateParts } from './issue.ts'

const [MINUTE_MS, HOUR_MS] = [60_000, 3_600_000]
const root = await issue({ subject: 'CN=test root', isCa: true })

async function identityFor(parts: TestCertificateParts): Promise<Identity> {
  const { certPem, keyPem } = await issue({ issuer: root, names: ['leaf.test'], ...parts })
  return parseIdentity({ chainPem: certPem + root.certPem, keyPem, source: { cert: 'c', key: 'k', origin: 'test' } })
}

interface Stand extends AsyncDisposable {
  readonly responder: OcspResponder
  readonly stapler: Stapler
  readonly identity: Identity
  readonly problems: readonly StapleProblem[]
  readonly revocations: readonly number[]
  /** Resolves when the staples are others the next time. */
  changed(): Promise<void>
  /** Resolves when it has failed, or was revoked, the next time. */
  told(): Promise<void>
  /** Lets time pass until the responder is asked, and returns how much that was. */
  untilAsked(): Promise<number>
}

/** A certificate whose responder says at first that it is good, for an hour more; time stands still. */
async function openStand(t: TestContext, { mustStaple = false } = {}): Promise<Stand> {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: Date.now() })
  const timers = t.mock.method(globalThis, 'setTimeout').mock
  // the HTTP client has shorter ones
  const waits = () => timers.calls.map((call) => Number(call.arguments[1])).filter((wait) => wait >= MINUTE_MS / 2)
  let passed = 0
  const responder = await ocspResponder()
  responder.answer = (request) => ocspResponse(request, { signer: root, from: 0, until: HOUR_MS })
  const identity = await identityFor({ extensions: [askAt(responder.url), ...(mustStaple ? [MUST_STAPLE] : [])] })
  const problems: StapleProblem[] = []
  const revocations: number[] = []
  let [change, word] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const tell = (): void => {
    word.resolve()
    word = Promise.withResolvers()
  }
  const stapler = new Stapler({
    changed: () => {
      change.resolve()
      change = Promise.withResolvers()
    },
    failed: (problem) => {
      problems.push(problem)
      tell()
    },
    revoked: (_, revokedAt) => {
      revocations.push(revokedAt)
      tell()
    },
  })
  return {
    responder,
    stapler,
    identity,
    problems,
    revocations,
    changed: () => change.promise,
    told: () => word.promise,
    async untilAsked() {
      while (waits().length <= passed) await turn()
      const wait = waits()[passed++] ?? 0
      const asked = responder.asked(responder.requests.length + 1)
      t.mock.timers.tick(Math.ceil(wait))
      await asked
      return wait
    },
    async [Symbol.asyncDispose]() {
      stapler.stop()
      await responder[Symbol.asyncDispose]()
    },
  }
}

describe('Stapler', () => {
  test('has the response of the responder, and a newer one before half of its life is over', async (t) => {
    await using stand = await openStand(t)
    const { stapler, identity, changed, untilAsked } = stand
    const first = changed()
    stapler.follow([identity])
    assert.equal(stapler.staples.length, 0)
    await first
    const [staple] = stapler.staples
    assert.equal(staple?.fingerprint256, identity.fingerprint256)
    assert.ok(staple.nextUpdate - Date.now() > HOUR_MS - 1000)
    const next = changed()
    const wait = await untilAsked()
    assert.ok(wait >= 0.4 * HOUR_MS - 1000 && wait <= 0.5 * HOUR_MS, String(wait))
    await next
    assert.ok((stapler.staples[0]?.nextUpdate ?? 0) > staple.nextUpdate)
  })

  test('asks once a day at least, however long a response is good', async (t) => {
    await using stand = await openStand(t)
    const { stapler, identity, responder, changed, untilAsked } = stand
    responder.answer = (request) => ocspResponse(request, { signer: root, until: 4000 * HOUR_MS })
    const first = changed()
    stapler.follow([identity])
    await first
    assert.equal(await untilAsked(), 24 * HOUR_MS)
  })

  test('does not press a responder that has no newer one yet', async (t) => {
    await using stand = await openStand(t)
    const { stapler, identity, responder, changed, untilAsked } = stand
    responder.answer = (request) => ocspResponse(request, { signer: root, from: -120 * HOUR_MS, until: 48 * HOUR_MS })
    const first = changed()
    stapler.follow([identity])
    await first
    const wait = await untilAsked()
    assert.ok(wait >= 4.7 * HOUR_MS && wait <= 4.8 * HOUR_MS, String(wait))
  })

  test('shows the last one until it ends while nobody answers, and asks again and again, but ever more seldom', async (t) => {
    await using stand = await openStand(t, { mustStaple: true })
    const { stapler, identity, responder, problems, changed, untilAsked } = stand
    const first = changed()
    stapler.follow([identity])
    await first
    responder.answer = () => 503
    await untilAsked()
    const waits: number[] = []
    for (let passed = 0; passed < 0.25 * HOUR_MS; passed += waits.at(-1) ?? 0) waits.push(await untilAsked())
    assert.equal(stapler.staples.length, 1)
    assert.deepEqual(problems, [
      { identity, isRefused: false, message: `Cannot staple: expected status 200: received 503: ${responder.url}` },
    ])
    for (const [i, wait] of waits.entries()) assert.ok(wait >= 2 ** i * 0.5 * MINUTE_MS && wait <= 2 ** i * MINUTE_MS, String(waits))
    // until it has ended
    const gone = changed()
    while (stapler.staples.length > 0) waits.push(await untilAsked())
    await gone
    assert.deepEqual(
      problems.map(({ isRefused }) => isRefused),
      [false, true],
    )
    for (let i = 0; i < 5; i++) waits.push(await untilAsked())
    assert.ok(Math.max(...waits) <= HOUR_MS)
    responder.answer = (request) => ocspResponse(request, { signer: root, from: 0 })
    const back = changed()
    await untilAsked()
    await back
    assert.equal(stapler.staples.length, 1)
  })

  test('shows none for what is revoked, says so once, and asks again', async (t) => {
    await using stand = await openStand(t)
    const { stapler, identity, responder, revocations, changed, told, untilAsked } = stand
    const first = changed()
    stapler.follow([identity])
    await first
    responder.answer = (request) => ocspResponse(request, { signer: root, status: 'revoked' })
    const [gone, said] = [changed(), told()]
    await untilAsked()
    await Promise.all([gone, said])
    assert.deepEqual([stapler.staples, revocations.length], [[], 1])
    for (let i = 0; i < 2; i++) assert.equal(await untilAsked(), HOUR_MS)
    assert.equal(revocations.length, 1)
    // the CA has only held it
    responder.answer = (request) => ocspResponse(request, { signer: root, from: 0 })
    const back = changed()
    await untilAsked()
    await back
    assert.equal(stapler.staples.length, 1)
  })

  test('forgets, and asks no more about, certificates that are not in use', async (t) => {
    await using stand = await openStand(t)
    const { stapler, identity, responder, changed } = stand
    const first = changed()
    stapler.follow([identity])
    await first
    stapler.follow([identity])
    stapler.follow([])
    assert.deepEqual(stapler.staples, [])
    t.mock.timers.tick(HOUR_MS)
    assert.equal(responder.requests.length, 1)
  })

  test('says what is missing where nobody can be asked', async (t) => {
    await using stand = await openStand(t)
    const { stapler, identity, problems } = stand
    const alone = parseIdentity({
      chainPem: identity.chainPem.slice(0, identity.chainPem.indexOf('-----END CERTIFICATE-----') + 25),
      keyPem: identity.keyPem,
      source: { cert: 'c', key: 'k', origin: 'test' },
    })
    stapler.follow([alone, await identityFor({ extensions: [MUST_STAPLE] }), await identityFor({})])
    assert.deepEqual(
      problems.map(({ message, isRefused }) => [message.replace(/http:.*/, 'http:…'), isRefused]),
      [
        ['Cannot staple: the chain does not have the issuer: http:…', false],
        ['Cannot staple: the certificate names no OCSP responder over HTTP', true],
      ],
    )
  })
})

describe('IdentityStore.staple()', () => {
  const policy = tlsPolicy({ minVersion: 'TLSv1.2' })
  const extraNames: readonly string[] = []

  /** The staple that a client of this name gets; null: none. */
  async function shownTo(port: number, options: ConnectionOptions): Promise<Buffer | null> {
    const socket = connect({ host: '127.0.0.1', port, ca: root.certPem, ...options })
    let shown: Buffer | null = null
    socket.on('OCSPResponse', (response: Buffer | null) => (shown = response))
    await once(socket, 'secureConnect')
    socket.destroy()
    return shown
  }

  test('has each certificate’s own staple shown to clients that ask for it, while it is good', async (t) => {
    const [first, second, bare] = await Promise.all(['first', 'second', 'bare'].map((name) => identityFor({ names: [`${name}.test`] })))
    const old = await identityFor({ names: ['first.test'], algorithm: rsa(2048) })
    assert.ok(first !== undefined && second !== undefined && bare !== undefined)
    const store = new IdentityStore([first, old, second, bare], { policy, extraNames })
    const staples = [first, old, second].map(({ fingerprint256 }) => ({
      fingerprint256,
      response: Buffer.from(fingerprint256),
      nextUpdate: Date.now() + HOUR_MS,
    }))
    store.staple(staples)
    const server = createServer(
      {
        ...store.options,
        SNICallback(this: TLSSocket, name, done) {
          done(
            null,
            store.contextFor(name, () => this.getSharedSigalgs()),
          )
        },
      },
      (socket) => socket.on('error', () => {}),
    )
    server.on('OCSPRequest', (certificate, _issuer, done) => done(null, store.stapleFor(certificate)))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    t.after(() => server.close())
    const { port } = server.address() as AddressInfo
    const sigalgs = 'rsa_pss_rsae_sha256'
    for (const [options, expected] of [
      [{ servername: 'first.test', requestOCSP: true }, first.fingerprint256],
      // one of two kinds of key
      [{ servername: 'first.test', requestOCSP: true, sigalgs }, old.fingerprint256],
      [{ servername: '', checkServerIdentity: () => undefined, requestOCSP: true }, first.fingerprint256],
      [{ servername: 'second.test', requestOCSP: true }, second.fingerprint256],
      [{ servername: 'second.test', requestOCSP: false }, null],
      [{ servername: 'bare.test', requestOCSP: true }, null],
    ] as const) {
      const shown = await shownTo(port, options)
      assert.equal(String(shown), String(expected), JSON.stringify(options))
    }
    store.staple(staples.map((staple) => ({ ...staple, nextUpdate: Date.now() - 1 })))
    assert.equal(await shownTo(port, { servername: 'first.test', requestOCSP: true }), null)
  })

  test('changes the options when there begin or cease to be staples, and not for another one', async () => {
    const identity = await identityFor({})
    const store = new IdentityStore([identity], { policy, extraNames })
    const seen = [store.options]
    const staple = { fingerprint256: identity.fingerprint256, response: Buffer.from('a'), nextUpdate: Infinity }
    for (const staples of [[staple], [{ ...staple, response: Buffer.from('b') }], []]) {
      store.staple(staples)
      seen.push(store.options)
    }
    assert.deepEqual([seen[1] === seen[0], seen[2] === seen[1], seen[3] === seen[2]], [false, true, false])
    assert.deepEqual(seen[3], seen[0])
    assert.equal(store.fallback, identity)
  })
})
