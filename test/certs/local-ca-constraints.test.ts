import assert from 'node:assert/strict'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { nameConstraintsExtension } from '../../certs/name-constraints.ts'
import { reasonOf } from '../../dns/operational-error.ts'
import { issue } from './issue.ts'
import { start, started } from './local.ts'
import { serveTls, shownTo } from './tls-client.ts'

test('openLocalCa() makes a CA that vouches for no other name, below its own names for what is theirs', async () => {
  const { stateDir } = await started()
  assert.equal(await verdictOn(stateDir, { names: ['localhost'], addresses: ['127.0.0.1', '::1'] }), 'accepted')
  assert.equal(await verdictOn(stateDir, { names: ['a.dns.example.net'] }), 'accepted')
  for (const names of [['evil.test'], ['example.net'], ['localhost', 'evil.test'], ['*.example.net'], ['xlocalhost']]) {
    assert.equal(await verdictOn(stateDir, { names }), 'permitted subtree violation', String(names))
  }
  for (const address of ['127.0.0.2', '203.0.113.8', '::2', '2001:db8::1', '::ffff:127.0.0.1']) {
    assert.equal(await verdictOn(stateDir, { addresses: [address] }), 'permitted subtree violation', address)
  }
})

test('openLocalCa() makes a CA that excludes the families it has no member of', async () => {
  const named = await started({ addresses: [] })
  for (const addresses of [['127.0.0.1'], ['::1']])
    assert.equal(await verdictOn(named.stateDir, { addresses }), 'excluded subtree violation')
  const numbered = await started({ names: [], addresses: ['127.0.0.1'] })
  assert.equal(await verdictOn(numbered.stateDir, { addresses: ['127.0.0.1'] }), 'accepted')
  assert.notEqual(await verdictOn(numbered.stateDir, { addresses: ['::1'] }), 'accepted')
  assert.equal(await verdictOn(numbered.stateDir, { names: ['localhost'] }), 'excluded subtree violation')
})

test('openLocalCa() makes a leaf for addresses alone that clients accept', async () => {
  const { stateDir, ca } = await started({ names: [], addresses: ['::1', '127.0.0.1'] })
  await using server = await serveTls({ cert: ca.identity.chainPem, key: ca.identity.keyPem })
  assert.equal(await shownTo(server.port, { ca: readFileSync(ca.caPath, 'utf8') }), ca.identity.fingerprint256)
  assert.ok(statSync(join(stateDir, 'identities/local/::1/key.pem')).isFile())
})

test('openLocalCa() makes a CA for as many names as it takes', async () => {
  const names = Array.from({ length: 100 }, (_, i) => `n${i}.${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}.test`)
  const { stateDir, ca } = await started({ names, addresses: [] })
  await using server = await serveTls({ cert: ca.identity.chainPem, key: ca.identity.keyPem })
  assert.equal(await shownTo(server.port, { ca: readFileSync(ca.caPath, 'utf8'), servername: names[99] ?? '' }), ca.identity.fingerprint256)
  assert.equal(await verdictOn(stateDir, { names: ['evil.test'] }), 'permitted subtree violation')
  assert.equal((await start({ stateDir, names, addresses: [] })).reissuedCa, false)
})

test('nameConstraintsExtension() has one encoding for one set of names', () => {
  const extension = nameConstraintsExtension({ names: ['b.test', 'a.test'], addresses: ['192.0.2.1'] })
  const permitted = ['30088206612e74657374', '30088206622e74657374', '300a8708c0000201ffffffff'].join('')
  const excluded = `30228720${'00'.repeat(32)}`
  assert.equal(extension.toString('hex'), `30540603551d1e0101ff044a3048a020${permitted}a124${excluded}`)
  assert.deepEqual(nameConstraintsExtension({ names: ['a.test', 'b.test'], addresses: ['192.0.2.1'] }), extension)
  assert.throws(() => nameConstraintsExtension({ names: [], addresses: ['a.test'] }), RangeError)
})

/** What a client that trusts the CA says to a certificate made with the CA's key. */
async function verdictOn(stateDir: string, parts: { names?: readonly string[]; addresses?: readonly string[] }): Promise<string> {
  const ca = readFileSync(join(stateDir, 'ca.pem'), 'utf8')
  const key = createPrivateKey(readFileSync(join(stateDir, 'ca.key')))
  const { certPem, keyPem } = await issue({ ...parts, issuer: { certificate: new X509Certificate(ca), key } })
  await using server = await serveTls({ cert: certPem, key: keyPem })
  try {
    await shownTo(server.port, { ca, checkServerIdentity: () => undefined })
    return 'accepted'
  } catch (error) {
    return reasonOf(error)
  }
}
