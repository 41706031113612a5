import 'reflect-metadata'
import assert from 'node:assert/strict'
import { webcrypto } from 'node:crypto'
import test from 'node:test'
import * as x509 from '@peculiar/x509'
import { certificateId, parseWindow } from '../../../certs/acme/renewal-info.ts'
import { problem, type Reply } from '../../harness/acme-server.ts'
import { AcmeLab, DAY_MS, HOUR_MS } from './lab.ts'

const P256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
const MINUTE_MS = 60_000

async function certificateOf(serialNumber: string, keyId: string | null): Promise<string> {
  const keys = await webcrypto.subtle.generateKey(P256, true, ['sign', 'verify'])
  const extensions = keyId === null ? [] : [new x509.AuthorityKeyIdentifierExtension(keyId)]
  const content = { serialNumber, name: 'CN=a', keys, signingAlgorithm: P256, extensions }
  return (await x509.X509CertificateGenerator.createSelfSigned(content)).toString('pem')
}

function windowOf(start: number, end: number): { suggestedWindow: { start: string; end: string } } {
  return { suggestedWindow: { start: new Date(start).toISOString(), end: new Date(end).toISOString() } }
}

/** A lab with a certificate, whose CA says this of its renewal. */
async function labWith(t: Parameters<typeof AcmeLab.start>[0], answer: () => Reply): Promise<AcmeLab> {
  const lab = await AcmeLab.start(t)
  await lab.open()
  await lab.settle()
  lab.server.behaviour.renewalInfo = answer
  return lab
}

test('certificateId() keeps the zero before a high serial number', async () => {
  const keyId = '69885b6b87464041e1b37b847ba0ae2cde01c8d4'
  assert.equal(await certificateId(await certificateOf('0087654321', keyId)), 'aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE')
  assert.equal(await certificateId(await certificateOf('47654321', keyId)), 'aYhba4dGQEHhs3uEe6CuLN4ByNQ.R2VDIQ')
  assert.equal(await certificateId(await certificateOf('01', null)), null)
  assert.equal(await certificateId('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----'), null)
})

test('parseWindow() takes a window that ends after it starts, and nothing else', () => {
  assert.deepEqual(parseWindow(windowOf(1000, 2000)), { start: 1000, end: 2000 })
  const start = '2026-01-02T03:04:05Z'
  for (const value of [
    windowOf(2000, 2000),
    windowOf(2000, 1000),
    null,
    'text',
    {},
    { suggestedWindow: { start } },
    { suggestedWindow: { start, end: '2027' } },
    { suggestedWindow: { start: 5, end: 6 } },
    { suggestedWindow: { start, end: '2026-13-45T99:00:00Z' } },
  ]) {
    assert.equal(parseWindow(value), null, JSON.stringify(value))
  }
})

test('a certificate is renewed at a moment within the window of the CA, the same after a restart', async (t) => {
  const start = Date.now() + 2 * DAY_MS
  const lab = await labWith(t, () => ({ status: 200, body: windowOf(start, start + 4 * DAY_MS), headers: { 'retry-after': '21600' } }))
  lab.clock.chance = 0.25
  await lab.clock.next()
  assert.equal(lab.state.renewsAt, start + DAY_MS)
  lab.clock.chance = 0.9
  await lab.open()
  await lab.clock.runUntil(lab.clock.now() + DAY_MS)
  assert.equal(lab.state.renewsAt, start + DAY_MS, 'chosen once')
  assert.ok([4, 5].includes(lab.server.count('renewalInfo')), 'every six hours')
  assert.ok(lab.server.requests.every(({ resource, method }) => resource !== 'renewalInfo' || method === 'GET'))
  await lab.clock.runTill(() => lab.changed.length === 2)
  assert.ok(Math.abs(lab.clock.now() - (start + DAY_MS)) < MINUTE_MS)
})

test('a window that moves into the past has the certificate renewed at once, and no storm follows', async (t) => {
  const lab = await labWith(t, () => ({ status: 200, body: windowOf(lab.clock.now() - 2 * HOUR_MS, lab.clock.now() - HOUR_MS) }))
  await lab.clock.runUntil(lab.clock.now() + DAY_MS)
  // a CA that never says anything else is followed every six hours
  assert.ok([4, 5].includes(lab.server.count('newOrder')), String(lab.server.count('newOrder')))
})

test('Retry-After is kept between a minute and a day', async (t) => {
  for (const [field, hours, checks] of [
    ['1', 0.5, 30],
    ['31536000', 47, 2],
    ['7200', 23, 12],
    ['soon', 23, 4],
  ] as const) {
    const lab = await labWith(t, () => ({ status: 200, body: {}, headers: { 'retry-after': field } }))
    await lab.clock.runUntil(lab.clock.now() + hours * HOUR_MS)
    assert.equal(lab.server.count('renewalInfo'), checks, field)
  }
})

test('a CA that cannot say it is asked after growing pauses, then every six hours; a third of the lifetime is left all the same', async (t) => {
  const lab = await labWith(t, () => ({ status: 503 }))
  const { notBefore, notAfter } = lab.identity
  await lab.clock.runUntil(lab.clock.now() + 33 * MINUTE_MS)
  assert.equal(lab.server.count('renewalInfo'), 6, 'after 1, 2, 4, 8 and 16 minutes')
  await lab.clock.runUntil(lab.clock.now() + DAY_MS)
  assert.ok([9, 10].includes(lab.server.count('renewalInfo')), String(lab.server.count('renewalInfo')))
  assert.equal(lab.state.problem, null)
  assert.ok((lab.state.renewsAt ?? 0) <= notAfter - (notAfter - notBefore) * 0.3)
  lab.server.behaviour.renewalInfo = () => problem('malformed', { status: 404, detail: 'unknown' })
  const before = lab.server.count('renewalInfo')
  await lab.clock.runUntil(lab.clock.now() + DAY_MS)
  assert.ok(lab.server.count('renewalInfo') - before <= 4)
})

test('the CA is not asked about a certificate that has expired', async (t) => {
  const lab = await AcmeLab.start(t)
  Object.assign(lab.server.behaviour, { lifetimeMs: DAY_MS, renewalInfo: () => ({ status: 200, body: {} }) })
  await lab.open()
  await lab.settle()
  lab.server.behaviour.intercept = ({ resource }) => (resource === 'newOrder' ? { status: 500 } : null)
  await lab.clock.runUntil(lab.identity.notAfter)
  const count = lab.server.count('renewalInfo')
  assert.ok(count >= 3)
  await lab.clock.runUntil(lab.clock.now() + 8 * HOUR_MS)
  assert.equal(lab.server.count('renewalInfo'), count)
})
