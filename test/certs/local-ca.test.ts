import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { checkServerIdentity } from 'node:tls'
import { DAY_MS } from './issue.ts'
import { ADDRESSES, emptyState, files, NAMES, NOW, start, started } from './local.ts'
import { serveTls, shownTo } from './tls-client.ts'

test('openLocalCa() makes a leaf that TLS clients accept for every name and address', async () => {
  const { stateDir, ca } = await started()
  assert.deepEqual([ca.created, ca.reissuedCa], [true, false])
  assert.equal(ca.caPath, join(stateDir, 'ca.pem'))
  const pem = readFileSync(ca.caPath, 'utf8')
  assert.equal(ca.caFingerprint, new X509Certificate(pem).fingerprint256)
  await using server = await serveTls({ cert: ca.identity.chainPem, key: ca.identity.keyPem })
  for (const host of [...NAMES, ...ADDRESSES]) {
    const shown = await shownTo(server.port, { ca: pem, checkServerIdentity: (_name, peer) => checkServerIdentity(host, peer) })
    assert.equal(shown, ca.identity.fingerprint256, host)
  }
  assert.equal(await shownTo(server.port, { ca: pem, servername: 'localhost' }), ca.identity.fingerprint256)
  await assert.rejects(shownTo(server.port, { ca: pem, servername: 'evil.test' }), { code: 'ERR_TLS_CERT_ALTNAME_INVALID' })
})

test('openLocalCa() makes a leaf of at most 397 days and a CA of ten years, both from an hour ago', async () => {
  const { ca } = await started()
  const { validFromDate, validToDate, ca: isCa } = new X509Certificate(readFileSync(ca.caPath))
  const { notBefore, notAfter, names, addresses } = ca.identity
  assert.ok(isCa)
  assert.deepEqual([names, addresses], [NAMES, ADDRESSES])
  assert.ok(notAfter - notBefore < 397 * DAY_MS)
  for (const from of [notBefore, validFromDate.getTime()]) assert.ok(Math.abs(NOW - 3_600_000 - from) < 1000)
  assert.ok(Math.abs(validToDate.getTime() - NOW - 3650 * DAY_MS) < 1000)
})

test('openLocalCa() uses what it finds on a second start, however the names are ordered and written', async () => {
  const { stateDir, ca } = await started()
  const before = files(stateDir)
  const again = await start({
    stateDir,
    names: ['LOCALHOST', 'dns.example.net.', 'localhost'],
    addresses: ['203.0.113.7', '0:0::1', '::ffff:127.0.0.1'],
  })
  assert.deepEqual([again.created, again.reissuedCa], [false, false])
  assert.equal(again.identity.fingerprint256, ca.identity.fingerprint256)
  assert.equal(again.caFingerprint, ca.caFingerprint)
  assert.deepEqual(files(stateDir), before)
})

test('LocalCa makes a new leaf in the last third of its life, under the same CA', async () => {
  const { stateDir, ca } = await started()
  const later = NOW + 270 * DAY_MS
  const dueAt = ca.dueAt(ca.identity)
  assert.ok(dueAt > NOW + 260 * DAY_MS && dueAt < later)
  const renewed = await ca.renew(later)
  assert.ok(renewed.fingerprint256 !== ca.identity.fingerprint256)
  assert.ok(renewed.notAfter > later + 390 * DAY_MS)
  assert.ok(new X509Certificate(renewed.chainPem).verify(new X509Certificate(readFileSync(ca.caPath)).publicKey))
  assert.ok(ca.dueAt(renewed) > later)
  const again = await start({ stateDir, now: later })
  assert.equal(again.identity.fingerprint256, renewed.fingerprint256)
  assert.equal(again.caFingerprint, ca.caFingerprint)
})

test('openLocalCa() renews a leaf that came of age while the gateway was off', async () => {
  const { stateDir, ca } = await started()
  for (const days of [270, 1000]) {
    const later = await start({ stateDir, now: NOW + days * DAY_MS })
    assert.notEqual(later.identity.fingerprint256, ca.identity.fingerprint256)
    assert.deepEqual([later.caFingerprint, later.reissuedCa], [ca.caFingerprint, false])
  }
})

test('openLocalCa() makes no leaf that outlives its CA, and a new CA in the last month', async () => {
  const { stateDir, ca } = await started()
  const end = new X509Certificate(readFileSync(ca.caPath)).validToDate.getTime()
  const late = await start({ stateDir, now: end - 100 * DAY_MS })
  assert.equal(late.identity.notAfter, end)
  assert.equal(late.reissuedCa, false)
  const last = await start({ stateDir, now: end - 29 * DAY_MS })
  assert.equal(last.reissuedCa, true)
  assert.ok(last.identity.notAfter > end)
})

test('openLocalCa() makes a new CA when the names or the addresses are others, and says so', async () => {
  const changes = [
    { names: ['localhost'] },
    { names: [...NAMES, 'more.test'] },
    { addresses: ['127.0.0.1'] },
    { addresses: [] },
    { names: [] },
  ]
  for (const change of changes) {
    const { stateDir, ca } = await started()
    const changed = await start({ stateDir, ...change })
    assert.deepEqual([changed.created, changed.reissuedCa], [false, true])
    assert.notEqual(changed.caFingerprint, ca.caFingerprint)
    assert.deepEqual([changed.identity.names, changed.identity.addresses], [change.names ?? NAMES, change.addresses ?? ADDRESSES])
    const again = await start({ stateDir, ...change })
    assert.deepEqual([again.reissuedCa, again.caFingerprint], [false, changed.caFingerprint])
    assert.equal(again.identity.fingerprint256, changed.identity.fingerprint256)
  }
})

test('openLocalCa() refuses what is neither a name nor an address', async () => {
  const stateDir = join(emptyState(), 'never')
  const long = `${'a'.repeat(63)}.`.repeat(4)
  for (const name of [
    '',
    '.',
    '*.example.net',
    'a b',
    '../x',
    'a..b',
    '-a',
    'a-',
    'b\u00fccher.example',
    '127.0.0.1',
    '1',
    'a'.repeat(64),
    long,
    'a/b',
    'a\0b',
  ]) {
    await assert.rejects(
      start({ stateDir, names: [name] }),
      { code: 'ATLAS_CERTIFICATE', message: /Cannot make a local certificate: a name is/ },
      name,
    )
  }
  for (const address of ['', 'localhost', '127.0.0.1.1', '10.0.0.0/8', '[::1]']) {
    await assert.rejects(start({ stateDir, addresses: [address] }), { message: /an address is IPv4 or IPv6: received/ }, address)
  }
  await assert.rejects(start({ stateDir, names: [], addresses: [] }), { message: /it needs a name or an address/ })
  const many = Array.from({ length: 101 }, (_, i) => `n${i}.test`)
  await assert.rejects(start({ stateDir, names: many, addresses: [] }), { message: /at most 100/ })
  assert.throws(() => statSync(stateDir), { code: 'ENOENT' })
})
