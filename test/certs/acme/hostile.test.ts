import assert from 'node:assert/strict'
import { join } from 'node:path'
import test from 'node:test'
import { AcmeLab, DAY_MS, NAME } from './lab.ts'

const MINUTE_MS = 60_000

/** A lab with a certificate. */
async function ready(t: Parameters<typeof AcmeLab.start>[0], lifetimeMs = 90 * DAY_MS): Promise<AcmeLab> {
  const lab = await AcmeLab.start(t)
  lab.server.behaviour.lifetimeMs = lifetimeMs
  await lab.open()
  await lab.settle()
  return lab
}

test('what a hostile CA sends fails, and harms nothing', async (t) => {
  const lab = await ready(t)
  const { fingerprint256 } = lab.identity
  const hostile = [
    [
      'newOrder',
      { status: 201, headers: { location: 'https://localhost:1/order' }, body: 'not JSON' },
      /what the CA sends is neither an object nor a certificate/,
    ],
    ['newOrder', { status: 201, headers: { location: 'https://localhost:1/order' }, body: {} }, /what the CA sends is no order/],
    ['newOrder', { status: 201, body: {} }, /did not return an order link/],
    ['directory', { status: 200, body: '{' }, /it is not JSON/],
    ['directory', { status: 200, body: [] }, /it is no ACME directory/],
    ['directory', { status: 302, headers: { location: 'http://localhost/' } }, /answers with status 302/],
    ['authorization', { status: 200, body: 'x'.repeat(300_000) }, /the answer has more than 262144 octets/],
    ['authorization', { status: 200, body: { status: 'pending' } }, /what the CA sends is no authorization/],
    ['authorization', authorizationOf('example.org', 'token'), /the CA asks for what was not ordered: example\.org/],
    ['authorization', authorizationOf(NAME, '../../etc/passwd'), /the token of a challenge is not base64url/],
    ['challenge', { status: 200, headers: { 'x-long': 'x'.repeat(20_000) } }, /Header overflow/],
    ['certificate', { status: 200, body: '' }, /there is no certificate in it|it is not PEM/],
    ['certificate', { status: 200, body: lab.identity.chainPem }, /the key does not match the certificate/],
  ] as const
  for (const [resource, answer, expected] of hostile) {
    lab.server.behaviour.intercept = (request) => (request.resource === resource ? answer : null)
    const identities = await lab.open()
    await assert.rejects(identities.renew(), expected)
    assert.equal(lab.identity.fingerprint256, fingerprint256)
    assert.equal(lab.solver.shown.size, 0)
  }
  const insecure = { newOrder: 'http://localhost/new-order', newNonce: 'http://localhost/nonce', newAccount: 'x', keyChange: 'x' }
  lab.server.behaviour.intercept = ({ resource }) => (resource === 'directory' ? { status: 200, body: insecure } : null)
  await assert.rejects((await lab.open()).renew(), /it is no https:\/\/ URL: http:\/\/localhost\/nonce/)
  insecure.newNonce = `http://\u001b[31m${'x'.repeat(200_000)}`
  await assert.rejects((await lab.open()).renew(), /it is no https:\/\/ URL: http:\/\/ \[31mx+…: dns/)
  assert.ok((lab.state.problem?.message.length ?? 0) < 1200)
})

function authorizationOf(value: string, token: string): { status: number; body: unknown } {
  const challenges = [{ type: 'dns-01', url: 'https://localhost:1/challenge', status: 'pending', token }]
  return { status: 200, body: { identifier: { type: 'dns', value }, status: 'pending', challenges } }
}

test('the CA has to be one that is trusted, and proxies are not asked', async (t) => {
  const lab = await AcmeLab.start(t, {})
  const identities = await lab.open({ ca: null })
  await assert.rejects(identities.renew(), /unable to verify the first certificate|self-signed certificate/)
  await assert.rejects(
    (await lab.open({ ca: { file: join(lab.stateDir, 'none'), origin: 'atlas.yaml:9:9' } })).renew(),
    /Cannot use CA file: there is no such file/,
  )
  await (await lab.open({ ca: { file: lab.server.caFile, origin: 'atlas.yaml:9:9' } })).renew()
  await lab.open({ ca: { file: join(lab.stateDir, 'none'), origin: 'atlas.yaml:9:9' } })
  await lab.clock.next()
  assert.ok(lab.clock.wait >= MINUTE_MS, 'renewal information is not asked for without end')
  process.env.https_proxy = 'http://127.0.0.1:1'
  t.after(() => delete process.env.https_proxy)
  await (await lab.open({ ca: { file: lab.server.caFile, origin: 'atlas.yaml:9:9' } })).renew()
  assert.equal(lab.state.identities.length, 1)
})
