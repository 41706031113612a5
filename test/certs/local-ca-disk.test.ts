import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { cpSync, mkdirSync, readdirSync, readFileSync, statSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { issue } from './issue.ts'
import { emptyState, files, start, started } from './local.ts'

test('openLocalCa() keeps keys and directories to itself, whatever the umask is', async () => {
  for (const umask of [0, 0o077]) {
    const before = process.umask(umask)
    const stateDir = join(emptyState(), 'new')
    try {
      await start({ stateDir })
    } finally {
      process.umask(before)
    }
    const leaf = 'identities/local/localhost'
    const mode = (path: string): number => statSync(join(stateDir, path)).mode & 0o777
    assert.deepEqual(['.', 'identities', 'identities/local', leaf].map(mode), [0o700, 0o700, 0o700, 0o700])
    assert.deepEqual(['ca.key', `${leaf}/key.pem`, 'ca.pem', `${leaf}/chain.pem`].map(mode), [0o600, 0o600, 0o644, 0o644])
    assert.equal(Object.keys(files(stateDir)).length, 4, 'no temporary file is left')
  }
})

test('openLocalCa() refuses a damaged CA and leaves its files as they are', async () => {
  const { stateDir } = await started()
  const other = await issue({ subject: 'CN=other', isCa: true })
  const good = files(stateDir)
  const [key = '', pem = ''] = [good['ca.key'], good['ca.pem']]
  const damages = [
    ['ca.key', '', 'there is no private key in it'],
    ['ca.key', 'garbage', 'there is no private key in it'],
    ['ca.key', key.slice(0, 100), 'there is no private key in it'],
    ['ca.key', key.replace('MIG', 'MIX'), 'the private key in it is damaged'],
    ['ca.key', pem, 'there is no private key in it'],
    ['ca.key', key.slice(0, key.indexOf('-----BEGIN CERT')), 'there is no certificate in it'],
    ['ca.key', other.keyPem + pem, 'its key and its certificate do not match'],
    ['ca.pem', '', 'there is no certificate in it'],
    ['ca.pem', pem.replace('MII', 'MIX'), 'the certificate in it is damaged'],
  ] as const
  for (const [file, text, reason] of damages) {
    const path = join(stateDir, file)
    writeFileSync(path, text)
    const before = files(stateDir)
    const expected = `Cannot use the local CA: ${reason}: ${path}: restore the file, or move ca.key and ca.pem away`
    await assert.rejects(
      start({ stateDir }),
      (error: Error) => 'code' in error && error.code === 'ATLAS_CERTIFICATE' && error.message.startsWith(expected),
      reason,
    )
    await assert.rejects(start({ stateDir, names: ['changed.test'] }), reason)
    assert.deepEqual(files(stateDir), before)
    writeFileSync(path, good[file] ?? '')
  }
  assert.equal((await start({ stateDir })).reissuedCa, false)
})

test('openLocalCa() refuses a CA that it cannot read', async () => {
  for (const file of ['ca.key', 'ca.pem']) {
    const { stateDir } = await started()
    unlinkSync(join(stateDir, file))
    mkdirSync(join(stateDir, file))
    await assert.rejects(start({ stateDir }), { code: 'ATLAS_CERTIFICATE', message: new RegExp(`it is a directory: .*/${file}: restore`) })
  }
})

test('openLocalCa() does not replace a CA whose key is missing', async () => {
  const { stateDir } = await started()
  unlinkSync(join(stateDir, 'ca.key'))
  const before = files(stateDir)
  await assert.rejects(start({ stateDir }), { code: 'ATLAS_CERTIFICATE', message: /there is no key for .*ca\.pem: .*ca\.key: restore/ })
  assert.deepEqual(files(stateDir), before)
})

test('openLocalCa() does not replace a CA because the clock went back', async () => {
  const { stateDir } = await started()
  const before = files(stateDir)
  await assert.rejects(start({ stateDir, now: 0 }), { code: 'ATLAS_CERTIFICATE', message: /the clock says 1970-.*: set the clock/ })
  assert.deepEqual(files(stateDir), before)
})

test('openLocalCa() writes a missing ca.pem again', async () => {
  const { stateDir, ca } = await started()
  const before = files(stateDir)
  unlinkSync(ca.caPath)
  const again = await start({ stateDir })
  assert.deepEqual([again.created, again.reissuedCa], [false, false])
  assert.deepEqual(files(stateDir), before)
})

test('openLocalCa() finishes the replacement of a CA that a crash has interrupted', async () => {
  const { stateDir, ca } = await started()
  const old = readFileSync(ca.caPath)
  const names = ['changed.test']
  const changed = await start({ stateDir, names })
  writeFileSync(ca.caPath, old)
  writeFileSync(join(stateDir, '.ca.pem.new'), 'half')
  const again = await start({ stateDir, names })
  assert.deepEqual([again.reissuedCa, again.caFingerprint], [true, changed.caFingerprint])
  assert.equal(new X509Certificate(readFileSync(ca.caPath)).fingerprint256, changed.caFingerprint)
  assert.ok(!readdirSync(stateDir).includes('.ca.pem.new'))
})

test('openLocalCa() makes a leaf again that is damaged, missing, of another CA, or does not fit its key', async () => {
  const { stateDir, ca } = await started()
  const foreign = await started()
  const leaf = join(stateDir, 'identities/local/localhost')
  const foreignLeaf = join(foreign.stateDir, 'identities/local/localhost')
  const damages = [
    () => writeFileSync(join(leaf, 'chain.pem'), 'garbage'),
    () => unlinkSync(join(leaf, 'key.pem')),
    () => writeFileSync(join(leaf, 'key.pem'), readFileSync(join(foreignLeaf, 'key.pem'))),
    () => cpSync(foreignLeaf, leaf, { recursive: true }),
  ]
  for (const damage of damages) {
    damage()
    const again = await start({ stateDir })
    assert.equal(again.caFingerprint, ca.caFingerprint)
    assert.ok(new X509Certificate(again.identity.chainPem).verify(new X509Certificate(readFileSync(ca.caPath)).publicKey))
    assert.equal((await start({ stateDir })).identity.fingerprint256, again.identity.fingerprint256)
  }
})

test('openLocalCa() names the file that it cannot write', async () => {
  const stateDir = emptyState()
  writeFileSync(join(stateDir, 'identities'), '')
  await assert.rejects(start({ stateDir }), { code: 'ATLAS_STATE', message: /^Cannot write .*identities\/local\/localhost\/key\.pem: / })
})
