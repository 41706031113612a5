import assert from 'node:assert/strict'
import { once } from 'node:events'
import test, { describe } from 'node:test'
import type { ConnectionOptions } from 'node:tls'
import { type Identity, parseIdentity } from '../../certs/identity.ts'
import { IdentityStore } from '../../certs/store.ts'
import { tlsPolicy } from '../../certs/tls-policy.ts'
import { issue, rsa, type TestCertificateParts } from './issue.ts'
import { connectTls, serveTls, shownTo } from './tls-client.ts'

const POLICY = tlsPolicy({ minVersion: 'TLSv1.3' })
const root = await issue({ subject: 'CN=test root', isCa: true })
const ca = root.certPem

const first = await identityFor({ names: ['first.test', 'both.test'], addresses: ['127.0.0.1', '2001:db8::1'] })
const second = await identityFor({ names: ['second.test', 'both.test', '*.second.test'], until: 10 })
const third = await identityFor({ names: ['exact.second.test'] })

async function identityFor(parts: TestCertificateParts): Promise<Identity> {
  const { certPem, keyPem } = await issue({ issuer: root, ...parts })
  return parseIdentity({ chainPem: certPem, keyPem, source: { cert: 'c', key: 'k', origin: 'test' } })
}

function storeOf(identities: readonly Identity[], extraNames: readonly string[] = []): IdentityStore {
  return new IdentityStore(identities, { policy: POLICY, extraNames })
}

test('IdentityStore chooses by SNI: the exact name, then a wildcard, then the first identity', async () => {
  const store = storeOf([first, second, third])
  await using server = await serveTls(store.options, (...given) => store.contextFor(...given))
  const accepted = [
    ['first.test', first],
    ['SECOND.test', second],
    ['both.test', first],
    ['a.second.test', second],
    ['exact.second.test', third],
  ] as const
  for (const [servername, identity] of accepted) {
    assert.equal(await shownTo(server.port, { ca, servername }), identity.fingerprint256, servername)
  }
  for (const servername of ['unknown.test', 'a.b.second.test']) {
    const shown = await shownTo(server.port, { ca, servername, checkServerIdentity: () => undefined })
    assert.equal(shown, first.fingerprint256, servername)
  }
  assert.equal(await shownTo(server.port, { ca }), first.fingerprint256, 'no SNI: the client knows an address only')
})

const NEVER = (): never => assert.fail('there is nothing to choose from')

test('IdentityStore.contextFor() leaves it to the server for whatever is no name', () => {
  const store = storeOf([first, second])
  for (const name of [undefined, '', '.', '..', '*', '*.', '\0', 'x'.repeat(70_000), '127.0.0.1', '*.second.test.evil']) {
    assert.equal(store.contextFor(name, NEVER), undefined)
  }
  assert.notEqual(store.contextFor('second.test.', NEVER), undefined)
})

test('IdentityStore.covers() knows names, wildcards, addresses and extra names, in any notation', () => {
  const store = storeOf([first, second], ['Public.example.'])
  const ours = [
    'first.test',
    'FIRST.test.',
    'a.second.test',
    'public.EXAMPLE',
    '127.0.0.1',
    '2001:db8::1',
    '2001:DB8:0::0:1',
    '::ffff:127.0.0.1',
  ]
  const foreign = [
    '',
    '.',
    'test',
    'a.first.test',
    'a.b.second.test',
    '.second.test',
    'xfirst.test',
    '127.0.0.2',
    '::1',
    'a.public.example',
    'first.test..',
  ]
  for (const host of ours) assert.equal(store.covers(host), true, host)
  for (const host of foreign) assert.equal(store.covers(host), false, host)
})

test('IdentityStore.replace() serves new handshakes anew and leaves open sessions alone', async () => {
  const store = storeOf([first])
  await using server = await serveTls(store.options, (...given) => store.contextFor(...given))
  const open = await connectTls(server.port, { ca, servername: 'first.test' })
  const before = store.options
  assert.equal(store.options, before)
  const renewed = await identityFor({ names: ['first.test'] })
  store.replace([renewed])
  assert.notEqual(store.options, before)
  assert.deepEqual(store.options.cert, [renewed.chainPem])
  assert.equal(store.covers('both.test'), false)
  await using fresh = await serveTls(store.options, (...given) => store.contextFor(...given))
  assert.equal(await shownTo(fresh.port, { ca, servername: 'first.test' }), renewed.fingerprint256)
  server.sockets[0]?.write('still here')
  const [data] = await once(open, 'data')
  assert.equal(String(data), 'still here')
  open.destroy()
})

describe('IdentityStore with ECDSA and RSA', async () => {
  const roots = { ec: root, rsa: await issue({ subject: 'CN=RSA root', isCa: true, algorithm: rsa(2048) }) }
  const both = [roots.ec.certPem, roots.rsa.certPem]
  const intermediate = await issue({ subject: 'CN=RSA intermediate', isCa: true, issuer: roots.rsa, algorithm: rsa(2048) })
  const ec = await identityFor({ names: ['a.test', 'b.test'], addresses: ['127.0.0.1'] })
  const ofRsa = async (names: readonly string[]): Promise<Identity> => {
    const { certPem, keyPem } = await issue({ names, addresses: ['127.0.0.1'], issuer: intermediate, algorithm: rsa(2048) })
    const source = { cert: 'c', key: 'k', origin: 'test' }
    return parseIdentity({ chainPem: certPem + intermediate.certPem, keyPem, source })
  }
  const same = await ofRsa(['a.test', 'b.test'])
  const other = await ofRsa(['b.test', 'c.test'])
  const ONLY_RSA = { sigalgs: 'rsa_pss_rsae_sha256:rsa_pkcs1_sha256' }
  const ONLY_ECDSA = { sigalgs: 'ecdsa_secp256r1_sha256' }
  const policy = tlsPolicy({ minVersion: 'TLSv1.2' })

  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    test(`gives each client what it can verify, by ${maxVersion}, in whatever order they are configured`, async () => {
      for (const identities of [
        [ec, same],
        [same, ec],
      ]) {
        const store = new IdentityStore(identities, { policy, extraNames: [] })
        assert.equal(store.isSingle, true)
        assert.equal(store.fallback, identities[0], 'QUIC has one only')
        await using server = await serveTls(store.options)
        const shown = (options: ConnectionOptions) => shownTo(server.port, { ca: both, maxVersion, ...options })
        for (const servername of ['a.test', undefined]) {
          const named = servername === undefined ? {} : { servername }
          assert.equal(await shown({ ...named, ...ONLY_RSA }), same.fingerprint256)
          assert.equal(await shown({ ...named, ...ONLY_ECDSA }), ec.fingerprint256)
          assert.equal(await shown(named), ec.fingerprint256, 'who can do both gets the faster one')
        }
        // each with the chain above it
        assert.equal(await shown({ servername: 'a.test', ca: roots.rsa.certPem, ...ONLY_RSA }), same.fingerprint256)
      }
    })
  }

  test('chooses among those that have the name', async () => {
    const store = new IdentityStore([ec, other], { policy, extraNames: [] })
    assert.equal(store.isSingle, false)
    await using server = await serveTls(store.options, (...given) => store.contextFor(...given))
    const shown = (servername: string, options: ConnectionOptions = {}) => shownTo(server.port, { ca: both, servername, ...options })
    assert.equal(await shown('b.test', ONLY_RSA), other.fingerprint256)
    assert.equal(await shown('b.test', ONLY_ECDSA), ec.fingerprint256)
    assert.equal(await shown('b.test'), ec.fingerprint256)
    assert.equal(await shown('c.test'), other.fingerprint256)
    assert.equal(await shown('a.test'), ec.fingerprint256)
    await assert.rejects(shown('a.test', ONLY_RSA), /handshake failure/)
  })

  test('serves the earlier of two of the same kind', () => {
    const store = new IdentityStore([ec, same, other], { policy, extraNames: [] })
    for (const name of ['a.test', 'b.test']) assert.equal(store.contextFor(name, NEVER), undefined)
    assert.notEqual(store.contextFor('c.test', NEVER), undefined)
  })
})

test('IdentityStore without an identity is an error, and replace() with none changes nothing', () => {
  const missing = { code: 'ATLAS_CERTIFICATE', message: /there is no certificate/ }
  assert.throws(() => storeOf([]), missing)
  const store = storeOf([first])
  assert.throws(() => store.replace([]), missing)
  assert.equal(store.covers('first.test'), true)
})

test('tlsPolicy() speaks TLS 1.3 only, unless 1.2 is asked for', async () => {
  await using strict = await serveTls(storeOf([first]).options)
  await assert.rejects(connectTls(strict.port, { ca, servername: 'first.test', maxVersion: 'TLSv1.2' }), /protocol version/)
  const policy = tlsPolicy({ minVersion: 'TLSv1.2' })
  await using lenient = await serveTls(new IdentityStore([first], { policy, extraNames: [] }).options)
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    const socket = await connectTls(lenient.port, { ca, servername: 'first.test', maxVersion })
    assert.equal(socket.getProtocol(), maxVersion)
    socket.destroy()
  }
})

test('tlsPolicy() with TLS 1.2 takes ECDHE with an AEAD and refuses everything older', async () => {
  const policy = tlsPolicy({ minVersion: 'TLSv1.2' })
  await using server = await serveTls(new IdentityStore([first], { policy, extraNames: [] }).options)
  const client = { ca, servername: 'first.test', maxVersion: 'TLSv1.2' } as const
  for (const ciphers of ['ECDHE-ECDSA-AES128-GCM-SHA256', 'ECDHE-ECDSA-CHACHA20-POLY1305', 'ECDHE-ECDSA-AES256-GCM-SHA384']) {
    const socket = await connectTls(server.port, { ...client, ciphers })
    assert.equal(socket.getCipher().name, ciphers)
    socket.destroy()
  }
  for (const ciphers of ['ECDHE-ECDSA-AES128-SHA', 'ECDHE-ECDSA-AES128-SHA256', 'ECDHE-ECDSA-AES128-CCM']) {
    await assert.rejects(connectTls(server.port, { ...client, ciphers }), /handshake failure/, ciphers)
  }
})

test('tlsPolicy() offers X25519MLKEM768, X25519 and P-256, and no other group', async () => {
  await using server = await serveTls(storeOf([first]).options)
  const groups = (POLICY.ecdhCurve ?? '').split(':')
  assert.deepEqual(groups.slice(-2), ['X25519', 'P-256'])
  for (const ecdhCurve of groups) (await connectTls(server.port, { ca, servername: 'first.test', ecdhCurve })).destroy()
  await assert.rejects(connectTls(server.port, { ca, servername: 'first.test', ecdhCurve: 'P-384' }), /handshake failure/)
})

test('tlsPolicy() lets a session resume, whichever identity SNI has chosen, and for at most seven days', async () => {
  const store = storeOf([first, second])
  await using server = await serveTls(store.options, (...given) => store.contextFor(...given))
  for (const servername of ['first.test', 'second.test']) {
    const opening = await connectTls(server.port, { ca, servername, host: '127.0.0.1' })
    const session = opening.getSession()
    assert.ok(session !== undefined)
    opening.destroy()
    const again = await connectTls(server.port, { ca, servername, session })
    assert.equal(again.isSessionReused(), true, servername)
    again.destroy()
  }
  assert.ok((POLICY.sessionTimeout ?? Infinity) <= 604_800)
})

test('IdentityStore.demanding() is the same until something changes, and then has the new identity', async () => {
  const store = storeOf([first])
  const clientCa = { id: 'a', roots: [ca] }
  const before = store.demanding(clientCa)
  assert.equal(store.demanding(clientCa), before)
  store.replace([second])
  const { options } = store.demanding(clientCa)
  assert.notEqual(options, before.options)
  await using server = await serveTls(options)
  const { certPem, keyPem } = await issue({ issuer: root, subject: 'CN=client' })
  assert.equal(await shownTo(server.port, { ca, servername: 'second.test', cert: certPem, key: keyPem }), second.fingerprint256)
})
