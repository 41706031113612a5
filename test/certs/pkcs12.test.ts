import assert from 'node:assert/strict'
import { createHmac, createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { ContentInfo, id_data } from '@peculiar/asn1-cms'
import { AuthenticatedSafe, id_keyBag, PFX, SafeBag, SafeContents } from '@peculiar/asn1-pfx'
import { AsnConvert, OctetString } from '@peculiar/asn1-schema'
import { AlgorithmIdentifier } from '@peculiar/asn1-x509'
import { loadIdentityFiles, type Pkcs12File } from '../../certs/files.ts'
import { openPkcs12 } from '../../certs/pkcs12/open.ts'
import { FOR_KEY, FOR_MAC, Password } from '../../certs/pkcs12/password.ts'
import { temporaryDirectory } from '../harness/temporary.ts'
import { PKCS12 } from './pkcs12-fixtures.ts'

/** Subjects of the certificates, from the leaf upward. */
async function chainIn(container: Buffer, password: string): Promise<readonly string[] | null> {
  const content = await openPkcs12(container, password)
  if (content === null) return null
  const chain = content.chainPem.match(/-----BEGIN[^-]*-----[^-]*-----END[^-]*-----/g)?.map((pem) => new X509Certificate(pem)) ?? []
  assert.equal(chain[0]?.checkPrivateKey(createPrivateKey(content.keyPem)), true)
  return chain.map(({ subject }) => subject)
}

const CHAIN = ['O=fixture', 'CN=fixture intermediate', 'CN=fixture root']

test('openPkcs12() opens what OpenSSL and NSS write, and puts the chain in order', async () => {
  for (const kind of ['modern', 'old', 'nss'] as const) assert.deepEqual(await chainIn(PKCS12[kind], 'secret'), CHAIN, kind)
  assert.deepEqual(await chainIn(PKCS12.mixed, 'geheim-ü€'), ['O=fixture'], 'a password beyond ASCII')
  assert.deepEqual(await chainIn(PKCS12.empty, ''), ['O=fixture'], 'an empty password')
  assert.deepEqual(await chainIn(PKCS12.bare, ''), ['O=fixture'], 'neither MAC nor cipher')
  assert.deepEqual(await chainIn(PKCS12.nomac, 'secret'), ['O=fixture'], 'no MAC')
})

test('openPkcs12() knows both forms of an empty password', async () => {
  const container = AsnConvert.parse(PKCS12.bare, PFX)
  const content = Buffer.from(AsnConvert.parse(container.authSafe.content, OctetString).buffer)
  // as derived from two octets of zero, and from none
  for (const key of ['95952b7f7837023219962e133a5bf63c496a2ba5', '0d40f679ec6ac09356479f4dd17cacc1e52c24ac']) {
    container.macData.mac.digestAlgorithm = new AlgorithmIdentifier({ algorithm: '1.3.14.3.2.26' })
    container.macData.mac.digest = new OctetString(createHmac('sha1', Buffer.from(key, 'hex')).update(content).digest())
    container.macData.macSalt = new OctetString(Buffer.alloc(8, 7))
    const made = Buffer.from(AsnConvert.serialize(container))
    assert.deepEqual(await chainIn(made, ''), ['O=fixture'])
  }
})

test('openPkcs12() knows a wrong password', async () => {
  for (const kind of ['modern', 'old', 'rc2'] as const) {
    for (const password of ['', 'Secret', 'secret ', 'x'.repeat(10_000)]) assert.equal(await openPkcs12(PKCS12[kind], password), null)
  }
  await assert.rejects(openPkcs12(PKCS12.nomac, 'wrong'), { message: 'it cannot be decrypted: the password is wrong, or it is damaged' })
})

test('openPkcs12() says how to be rid of a cipher that is broken', async () => {
  await assert.rejects(
    openPkcs12(PKCS12.rc2, 'secret'),
    /^Error: it is encrypted with 40-bit RC2: export it anew: openssl pkcs12 -legacy -in /,
  )
})

test('openPkcs12() says what is missing', async () => {
  await assert.rejects(openPkcs12(PKCS12.nokey, 'secret'), { message: 'there is no private key in it' })
  await assert.rejects(openPkcs12(Buffer.alloc(0), ''), { message: 'it is no PKCS #12 container' })
  await assert.rejects(openPkcs12(Buffer.from('hello'), ''), { message: 'it is no PKCS #12 container' })
})

test('openPkcs12() bounds the work that a container asks for', async () => {
  const container = AsnConvert.parse(PKCS12.modern, PFX)
  for (const iterations of [10_000_001, 2_147_483_647, 0, -1]) {
    container.macData.iterations = iterations
    const message = `its password is hashed ${iterations} times, and no more than 10000000 in all are accepted`
    await assert.rejects(openPkcs12(Buffer.from(AsnConvert.serialize(container)), 'secret'), { message })
  }
})

test('openPkcs12() derives no longer key for a MAC than its hash has', async () => {
  const container = AsnConvert.parse(PKCS12.modern, PFX)
  container.macData.mac.digest = new OctetString(Buffer.alloc(100_000))
  // for each part of a key
  container.macData.iterations = 5000
  assert.equal(await openPkcs12(Buffer.from(AsnConvert.serialize(container)), 'secret'), null)
})

test('openPkcs12() bounds the keys, each of which is compared with each certificate', async () => {
  const container = AsnConvert.parse(PKCS12.bare, PFX)
  const { privateKey } = generateKeyPairSync('ed25519')
  const bagValue = Uint8Array.from(privateKey.export({ type: 'pkcs8', format: 'der' })).buffer
  const inside = (value: object): ArrayBuffer => AsnConvert.serialize(new OctetString(AsnConvert.serialize(value)))
  for (const [count, message] of [
    [50, 'there is no certificate in it'],
    [51, 'there are more than 50 keys in it'],
  ] as const) {
    const keys = Array.from({ length: count }, () => new SafeBag({ bagId: id_keyBag, bagValue }))
    const part = new ContentInfo({ contentType: id_data, content: inside(new SafeContents(keys)) })
    container.authSafe.content = inside(new AuthenticatedSafe([part]))
    await assert.rejects(openPkcs12(Buffer.from(AsnConvert.serialize(container)), ''), { message })
  }
})

test('openPkcs12() rejects damage with a reason of its own, wherever it is', async () => {
  const reasons = new Set<string>()
  for (let at = 0; at < PKCS12.bare.length; at++) {
    const damaged = Buffer.from(PKCS12.bare)
    damaged[at] = (damaged[at] ?? 0) ^ 0x55
    await openPkcs12(damaged, '').catch(({ message }: Error) => reasons.add(message.replace(/\([\d.]+\)|: .*$/, '…')))
    await openPkcs12(PKCS12.modern.subarray(0, at), '').catch(({ message }: Error) => reasons.add(message))
  }
  for (const reason of reasons) assert.match(reason, /^(it|its|there|a certificate|the private key) /)
  assert.ok(reasons.has('it is damaged') && reasons.has('it is no PKCS #12 container'))
})

test('openPkcs12() does not overflow the stack with strings inside of strings', async () => {
  const depth = 100_000
  const start = Buffer.from('3080020103308006092a864886f70d010701a080', 'hex')
  const strings = [Buffer.alloc(2 * depth, Buffer.of(0x24, 0x80)), Buffer.of(0x04, 0x01, 0x00), Buffer.alloc(2 * depth)]
  await assert.rejects(openPkcs12(Buffer.concat([start, ...strings, Buffer.alloc(6)]), ''), { message: 'it is no PKCS #12 container' })
})

test('Password.pkcs12() derives what others derive', async () => {
  // vectors of OpenSSL's own tests
  const [password] = Password.formsOf('smeg')
  const first = await password?.pkcs12(FOR_KEY, { digest: 'sha1', salt: Buffer.from('0A58CF64530D823F', 'hex'), iterations: 1, length: 24 })
  assert.equal(first?.toString('hex'), '8aaae6297b6cb04642ab5b077851284eb7128f1a2a7fbca3')
  const [other] = Password.formsOf('queeg')
  const second = await other?.pkcs12(FOR_MAC, {
    digest: 'sha1',
    salt: Buffer.from('263216FCC2FAB31C', 'hex'),
    iterations: 1000,
    length: 20,
  })
  assert.equal(second?.toString('hex'), '5ec4c7a80df652294c3925b6489a7ab857c83476')
})

test('loadIdentityFiles() opens a container with the password of a file, and names the file that is wrong', async (t) => {
  const directory = temporaryDirectory(t)
  const [pfx, word] = [join(directory, 'own.p12'), join(directory, 'word.txt')]
  const source: Pkcs12File = { pfx, passwordFile: word, origin: 'a:1:1' }
  const refuses = (reason: string, of: Pkcs12File = source, file = pfx) =>
    assert.rejects(loadIdentityFiles(of), { code: 'ATLAS_CERTIFICATE', message: `Cannot use certificate: ${reason}: ${file} (a:1:1)` })
  await refuses('there is no such file')
  writeFileSync(pfx, PKCS12.modern)
  await refuses('there is no such file', source, word)
  for (const ending of ['', '\n', '\r\n']) {
    writeFileSync(word, `secret${ending}`)
    assert.deepEqual((await loadIdentityFiles(source)).names, ['fixture.test'])
  }
  writeFileSync(word, 'wrong\n')
  await refuses(`wrong password in ${word}`)
  await refuses('it has a password, and no passwordFile is given', { ...source, passwordFile: null })
  writeFileSync(pfx, '-----BEGIN CERTIFICATE-----\n')
  await refuses('it is PEM, which cert and key are for')
  writeFileSync(pfx, Buffer.alloc(1_048_577))
  await refuses('it is larger than 1048576 bytes')
})
