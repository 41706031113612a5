import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after } from 'node:test'
import { loadClientIdentity, loadIdentityFiles } from '../../certs/files.ts'
import { parseIdentity } from '../../certs/identity.ts'
import { weaknessOf } from '../../certs/strength.ts'
import { DAY_MS, issue, rsa } from './issue.ts'

const SOURCE = { cert: '/etc/atlas/chain.pem', key: '/etc/atlas/key.pem', origin: 'atlas.yaml:7:5' }

const root = await issue({ subject: 'CN=test root', isCa: true })
const intermediate = await issue({ subject: 'CN=test intermediate', isCa: true, issuer: root })
const leaf = await issue({ names: ['DNS.Example.net', '*.example.net'], addresses: ['192.0.2.1', '2001:db8::1'], issuer: intermediate })
const { keyPem } = leaf

const directory = mkdtempSync(join(tmpdir(), 'atlas-certs-'))
after(() => rmSync(directory, { recursive: true }))

function refuses(parts: { chainPem?: string; keyPem?: string; now?: number | null }, message: RegExp): void {
  assert.throws(() => parseIdentity({ chainPem: leaf.certPem, keyPem, source: SOURCE, ...parts }), { code: 'ATLAS_CERTIFICATE', message })
}

test('parseIdentity() takes a chain with or without the root, and tells names, addresses and dates of the leaf', () => {
  for (const chain of [[leaf], [leaf, intermediate], [leaf, intermediate, root]]) {
    const identity = parseIdentity({ chainPem: chain.map(({ certPem }) => certPem).join(''), keyPem, source: SOURCE })
    assert.deepEqual(identity.names, ['dns.example.net', '*.example.net'])
    assert.deepEqual(identity.addresses, ['192.0.2.1', '2001:db8::1'])
    assert.equal(identity.fingerprint256, leaf.certificate.fingerprint256)
    assert.equal(identity.notBefore, leaf.certificate.validFromDate.getTime())
    assert.equal(identity.notAfter, leaf.certificate.validToDate.getTime())
    assert.equal(identity.chainPem.match(/BEGIN/g)?.length, chain.length)
  }
})

test('parseIdentity() finds chain and key among other text, in one file or two, in every common form of key', () => {
  const bare = `\uFEFFBag Attributes\r\n${leaf.certPem.replaceAll('\n', '\r\n')}# key below\n`
  for (const type of ['pkcs8', 'sec1'] as const) {
    const key = leaf.key.export({ type, format: 'pem' })
    const parameters = '-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n'
    const combined = `${parameters}${key}${bare}`
    assert.equal(parseIdentity({ chainPem: combined, keyPem: combined, source: SOURCE }).fingerprint256, leaf.certificate.fingerprint256)
  }
})

test('parseIdentity() never takes a name from the Subject, nor from inside another name', async () => {
  const named = await issue({ subject: 'CN=cn.example.net', names: ['a.example.net, DNS:evil.example.net'] })
  const { names } = parseIdentity({ chainPem: named.certPem, keyPem: named.keyPem, source: SOURCE })
  assert.ok(!names.includes('cn.example.net'))
  assert.ok(!names.includes('evil.example.net'))
  const bare = await issue({ subject: 'CN=cn.example.net' })
  refuses({ chainPem: bare.certPem, keyPem: bare.keyPem }, /it has neither a DNS name nor an address, so that no client can verify it/)
})

test('parseIdentity() tells the kind of the key', async () => {
  for (const [algorithm, keyType] of [
    [{ name: 'ECDSA', namedCurve: 'P-384' }, 'ec'],
    [rsa(2048), 'rsa'],
    [{ name: 'Ed25519' }, 'ed25519'],
  ] as const) {
    const { certPem, keyPem } = await issue({ names: ['a.test'], issuer: root, algorithm })
    assert.equal(parseIdentity({ chainPem: certPem, keyPem, source: SOURCE }).keyType, keyType)
  }
})

test('parseIdentity() refuses weak keys and signatures anywhere in the chain but the signature of its root', async () => {
  const oldRoot = await issue({ subject: 'CN=old root', isCa: true, hash: 'SHA-1' })
  const names = ['a.test']
  const small = await issue({ names, algorithm: rsa(1024), issuer: root })
  refuses(
    { chainPem: small.certPem, keyPem: small.keyPem },
    /: certificate 1 in it has a key of 1024 bits, and less than 2048 are too few: \/etc\/atlas\/chain\.pem/,
  )
  const sha1 = await issue({ names, issuer: root, hash: 'SHA-1' })
  refuses({ chainPem: sha1.certPem, keyPem: sha1.keyPem }, /certificate 1 in it is signed with ecdsa-with-SHA1, which is broken/)
  const own = await issue({ names, hash: 'SHA-1' })
  refuses({ chainPem: own.certPem, keyPem: own.keyPem }, /certificate 1 in it is signed with ecdsa-with-SHA1/)
  const between = await issue({ subject: 'CN=old intermediate', isCa: true, issuer: oldRoot, hash: 'SHA-1' })
  const below = await issue({ names, issuer: between })
  refuses({ chainPem: below.certPem + between.certPem, keyPem: below.keyPem }, /certificate 2 in it is signed with ecdsa-with-SHA1/)
  const fine = await issue({ names, issuer: oldRoot })
  parseIdentity({ chainPem: fine.certPem + oldRoot.certPem, keyPem: fine.keyPem, source: SOURCE })
})

test('weaknessOf() knows small curves and MD5', () => {
  const weak = (file: string) => weaknessOf([new X509Certificate(readFileSync(new URL(`weak/${file}`, import.meta.url)))])
  assert.equal(weak('p224.pem'), 'certificate 1 in it has a key on the curve secp224r1, which is too small')
  assert.equal(weak('md5.pem'), 'certificate 1 in it is signed with md5WithRSAEncryption, which is broken')
})

test('parseIdentity() refuses a key of another certificate', async () => {
  const other = await issue({ names: ['other.test'] })
  refuses(
    { keyPem: other.keyPem },
    /^Cannot use certificate: the key does not match the certificate \/etc\/atlas\/chain\.pem: \/etc\/atlas\/key\.pem \(atlas\.yaml:7:5\)$/,
  )
})

test('parseIdentity() refuses a certificate that is not in date, and says since when', () => {
  const { notBefore, notAfter } = parseIdentity({ chainPem: leaf.certPem, keyPem, source: SOURCE })
  const end = new Date(notAfter).toISOString().slice(0, 10)
  refuses({ now: notAfter + DAY_MS }, new RegExp(`it expired on ${end}.*: /etc/atlas/chain\\.pem \\(atlas\\.yaml:7:5\\)`))
  refuses({ now: notBefore - DAY_MS }, /it is not valid before .* \(the clock says \d{4}-\d\d-\d\d\)/)
  const old = parseIdentity({ chainPem: leaf.certPem, keyPem, source: SOURCE, now: null })
  assert.equal(old.notAfter, notAfter, 'unless it does not matter')
})

test('parseIdentity() refuses a chain that is out of order or has a gap', () => {
  refuses(
    { chainPem: intermediate.certPem + leaf.certPem },
    /out of order, certificate 1 is not issued by certificate 2: \/etc\/atlas\/chain\.pem/,
  )
  refuses({ chainPem: leaf.certPem + root.certPem }, /certificate 1 is not issued by certificate 2/)
  refuses({ chainPem: leaf.certPem + intermediate.certPem + leaf.certPem }, /certificate 2 is not issued by certificate 3/)
})

test('parseIdentity() refuses an issuer that only bears the right name', async () => {
  const impostor = await issue({ subject: 'CN=test intermediate', isCa: true })
  refuses({ chainPem: leaf.certPem + impostor.certPem }, /certificate 1 is not issued by certificate 2/)
})

test('parseIdentity() says what a file holds instead of a chain', () => {
  refuses({ chainPem: '' }, /it is not PEM: \/etc\/atlas\/chain\.pem/)
  refuses({ chainPem: '\x30\x82\x01\x00' }, /it is not PEM/)
  refuses({ chainPem: keyPem }, /there is no certificate in it: \/etc\/atlas\/chain\.pem/)
  refuses({ chainPem: `${leaf.certPem}${intermediate.certPem.replace('MII', 'MIX')}` }, /certificate 2 in it is damaged/)
  refuses({ chainPem: leaf.certPem.replace('-----END', '----END') }, /there is no certificate in it/)
})

test('parseIdentity() says what a file holds instead of a key', () => {
  const cipher = { format: 'pem', cipher: 'aes-256-cbc', passphrase: 'secret' } as const
  refuses({ keyPem: 'garbage' }, /it is not PEM: \/etc\/atlas\/key\.pem/)
  refuses({ keyPem: leaf.certPem }, /there is no private key in it: \/etc\/atlas\/key\.pem/)
  refuses({ keyPem: leaf.key.export({ type: 'pkcs8', ...cipher }) }, /the key is encrypted.*: \/etc\/atlas\/key\.pem/)
  refuses({ keyPem: leaf.key.export({ type: 'sec1', ...cipher }) }, /the key is encrypted/)
  refuses({ keyPem: keyPem.replace('MIG', 'MIX') }, /the private key in it is damaged: \/etc\/atlas\/key\.pem/)
})

test('parseIdentity() reads a large file of markers in linear time', () => {
  const started = performance.now()
  refuses({ chainPem: '-----BEGIN CERTIFICATE-----'.repeat(38_000), keyPem }, /there is no certificate/)
  refuses({ keyPem: '-----BEGIN PRIVATE KEY-----'.repeat(38_000) }, /there is no private key/)
  assert.ok(performance.now() - started < 2000)
})

test('loadIdentityFiles() reads two files', async () => {
  const source = { cert: join(directory, 'cert.pem'), key: join(directory, 'key.pem'), origin: 'a:1:1' }
  writeFileSync(source.cert, leaf.certPem)
  writeFileSync(source.key, keyPem)
  assert.equal((await loadIdentityFiles(source)).fingerprint256, leaf.certificate.fingerprint256)
})

test('loadIdentityFiles() names the file that it cannot read, and where it was configured', async () => {
  const cert = join(directory, 'good.pem')
  const folder = join(directory, 'folder')
  const large = join(directory, 'large.pem')
  const missing = join(directory, 'missing.pem')
  writeFileSync(cert, leaf.certPem)
  mkdirSync(folder)
  writeFileSync(large, Buffer.alloc(1_048_577))
  for (const [path, reason] of [
    [missing, 'there is no such file'],
    [folder, 'it is a directory'],
    [large, 'it is larger than 1048576 bytes'],
  ] as const) {
    const expected = { code: 'ATLAS_CERTIFICATE', message: `Cannot use certificate: ${reason}: ${path} (a:1:1)` }
    await assert.rejects(loadIdentityFiles({ cert: path, key: cert, origin: 'a:1:1' }), expected)
    await assert.rejects(loadIdentityFiles({ cert, key: path, origin: 'a:1:1' }), expected)
    assert.throws(() => loadClientIdentity({ cert, key: path, origin: 'a:1:1' }), expected)
  }
})

test('loadIdentityFiles() says when it lacks the permission', {
  skip: process.getuid?.() === 0 && 'root may read everything',
}, async () => {
  const cert = join(directory, 'secret.pem')
  writeFileSync(cert, leaf.certPem, { mode: 0 })
  const message = `Cannot use certificate: permission denied: ${cert} (a:1:1)`
  await assert.rejects(loadIdentityFiles({ cert, key: cert, origin: 'a:1:1' }), { message })
})

test('loadClientIdentity() needs no name in it', async () => {
  const { certPem, keyPem: key, certificate } = await issue({ subject: 'CN=client' })
  const source = { cert: join(directory, 'client.pem'), key: join(directory, 'client-key.pem'), origin: 'a:1:1' }
  writeFileSync(source.cert, certPem)
  writeFileSync(source.key, key)
  assert.equal(loadClientIdentity(source).fingerprint256, certificate.fingerprint256)
  await assert.rejects(loadIdentityFiles(source), /neither a DNS name nor an address/)
})
