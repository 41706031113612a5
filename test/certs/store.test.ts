import assert from 'node:assert/strict'
import { once } from 'node:events'
import test from 'node:test'
import { expiriesOf, type Identity, parseIdentity } from '../../certs/identity.ts'
import { IdentityStore } from '../../certs/store.ts'
import { tlsPolicy } from '../../certs/tls-policy.ts'
import { issue, type TestCertificateParts } from './issue.ts'
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
  await using server = await serveTls(store.options, (name) => store.contextFor(name))
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

test('IdentityStore.contextFor() gives the default context for whatever is no name', () => {
  const store = storeOf([first, second])
  for (const name of [undefined, '', '.', '..', '*', '*.', '\0', 'x'.repeat(70_000), '127.0.0.1', '*.second.test.evil']) {
    assert.equal(store.contextFor(name), store.contextFor(undefined))
  }
  assert.notEqual(store.contextFor('second.test.'), store.contextFor(undefined))
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
  await using server = await serveTls(store.options, (name) => store.contextFor(name))
  const open = await connectTls(server.port, { ca, servername: 'first.test' })
  const before = store.options
  assert.equal(store.options, before)
  const renewed = await identityFor({ names: ['first.test'] })
  store.replace([renewed])
  assert.notEqual(store.options, before)
  assert.equal(store.options.cert, renewed.chainPem)
  assert.equal(store.covers('both.test'), false)
  assert.equal(await shownTo(server.port, { ca, servername: 'first.test' }), renewed.fingerprint256)
  server.sockets[0]?.write('still here')
  const [data] = await once(open, 'data')
  assert.equal(String(data), 'still here')
  open.destroy()
})

test('IdentityStore without an identity is an error, and replace() with none changes nothing', () => {
  const missing = { code: 'ATLAS_CERTIFICATE', message: /there is no certificate/ }
  assert.throws(() => storeOf([]), missing)
  const store = storeOf([first])
  assert.throws(() => store.replace([]), missing)
  assert.equal(store.covers('first.test'), true)
})

test('expiriesOf() has one entry a name, of two the earlier end', async () => {
  const sooner = await identityFor({ names: ['first.test'], until: 5 })
  const numbered = await identityFor({ addresses: ['192.0.2.7'] })
  assert.deepEqual(expiriesOf([first, second, sooner, numbered]), [
    { name: 'first.test', notAfter: sooner.notAfter },
    { name: 'second.test', notAfter: second.notAfter },
    { name: '192.0.2.7', notAfter: numbered.notAfter },
  ])
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
  await using server = await serveTls(store.options, (name) => store.contextFor(name))
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
