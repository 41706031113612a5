import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { certificateBlocks } from '../../../certs/pem.ts'
import { problem } from '../../harness/acme-server.ts'
import { AcmeLab, NAME } from './lab.ts'

test('a certificate is ordered, stored and told of', async (t) => {
  const lab = await AcmeLab.start(t, { names: [NAME, '*.example.net', '192.0.2.1', '2001:db8::1'], email: 'ops@example.net' })
  await lab.open()
  assert.deepEqual(lab.state.identities, [])
  const { identities, problem, source, names } = await lab.settle()
  assert.equal(problem, null)
  assert.deepEqual([source, names], [`ACME ${new URL(lab.server.origin).host}`, lab.options.names])
  assert.deepEqual(identities[0]?.names, [NAME, '*.example.net'])
  assert.deepEqual(identities[0]?.addresses, ['192.0.2.1', '2001:db8::1'])
  assert.deepEqual(lab.changed.length, 1)
  assert.deepEqual(lab.orders[0]?.identifiers, [
    { type: 'dns', value: NAME },
    { type: 'dns', value: '*.example.net' },
    { type: 'ip', value: '192.0.2.1' },
    { type: 'ip', value: '2001:db8::1' },
  ])
  const directory = `identities/acme/${NAME}`
  const mode = (path: string): number => statSync(join(lab.stateDir, path)).mode & 0o777
  assert.deepEqual([`${directory}/key.pem`, `${directory}/chain.pem`, `${lab.accountPath}/account.key`].map(mode), [0o600, 0o644, 0o600])
  assert.equal(lab.read(`${directory}/next.pem`), null)
  assert.ok(lab.server.requests.every(({ userAgent }) => userAgent === 'atlas-dns/1.2.3'))
  assert.deepEqual([...lab.server.accounts.values()][0]?.contact, ['mailto:ops@example.net'])
})

test('challenges are shown together, for the bare names, and taken away', async (t) => {
  const lab = await AcmeLab.start(t, { names: ['*.example.net', 'example.net', '2001:db8::1'] })
  await lab.open()
  await lab.settle()
  assert.equal(lab.solver.most, 3)
  assert.deepEqual(
    lab.solver.presented.map(({ identifier }) => identifier),
    [
      { type: 'dns', value: 'example.net' },
      { type: 'dns', value: 'example.net' },
      { type: 'ip', value: '2001:db8::1' },
    ],
  )
  assert.equal(lab.solver.shown.size, 0)
  assert.equal(lab.state.identities.length, 1)
  assert.equal(lab.read('identities/acme/_.example.net/key.pem'), lab.identity.keyPem)
})

test('what was shown before is not shown again', async (t) => {
  const lab = await AcmeLab.start(t, { names: [NAME, 'other.example.net'] })
  lab.server.behaviour.authorized = [NAME]
  await lab.open()
  await lab.settle()
  assert.deepEqual(
    lab.solver.presented.map(({ identifier }) => identifier.value),
    ['other.example.net'],
  )
  assert.equal(lab.state.identities.length, 1)
})

test('an RSA key has an order and a directory of its own', async (t) => {
  const lab = await AcmeLab.start(t, { keys: ['ecdsa', 'rsa'] })
  await lab.open()
  await lab.settle()
  const kinds = lab.state.identities.map(({ chainPem }) => new X509Certificate(chainPem).publicKey.asymmetricKeyType)
  assert.deepEqual(kinds, ['ec', 'rsa'])
  assert.equal(new X509Certificate(lab.state.identities[1]?.chainPem ?? '').publicKey.asymmetricKeyDetails?.modulusLength, 2048)
  assert.ok(lab.read(`identities/acme/${NAME}-rsa/key.pem`)?.startsWith('-----BEGIN PRIVATE KEY-----'))
  assert.equal(lab.server.count('newOrder'), 2)
  assert.equal(lab.server.accounts.size, 1)
  await lab.open()
  assert.equal(lab.state.identities.length, 2)
})

test('a nonce that is refused is replaced by the one that comes with the refusal', async (t) => {
  const lab = await AcmeLab.start(t)
  lab.server.behaviour.badNonces = 4
  await lab.open()
  assert.equal((await lab.settle()).problem, null)
  assert.equal(lab.server.behaviour.badNonces, 0)
})

test('the CA is given the time it asks for', async (t) => {
  const lab = await AcmeLab.start(t)
  Object.assign(lab.server.behaviour, { pendingPolls: 2, processingPolls: 2, retryAfter: '7' })
  await lab.open()
  assert.equal((await lab.settle()).problem, null)
  assert.deepEqual(lab.clock.slept, [7000, 7000, 7000])
})

test('without a word of the CA, it is asked ever more seldom', async (t) => {
  const lab = await AcmeLab.start(t)
  lab.server.behaviour.processingPolls = 7
  await lab.open()
  assert.equal((await lab.settle()).problem, null)
  assert.deepEqual(lab.clock.slept, [1000, 2000, 4000, 8000, 16_000, 30_000])
})

test('an order that is not ready is waited for', async (t) => {
  const lab = await AcmeLab.start(t)
  let refusals = 2
  lab.server.behaviour.intercept = ({ resource }) =>
    resource === 'finalize' && refusals-- > 0 ? problem('orderNotReady', { status: 403, detail: 'soon' }) : null
  await lab.open()
  assert.equal((await lab.settle()).problem, null)
  assert.equal(lab.server.count('finalize'), 3)
  assert.equal(lab.server.count('newOrder'), 1)
})

test('a failed challenge is reported with what the CA has found, for eyes and terminals', async (t) => {
  const lab = await AcmeLab.start(t)
  lab.solver.work = async ({ token }) => void lab.solver.shown.delete(token)
  await lab.open()
  const expected = `Cannot get a certificate: the CA has found ${NAME} invalid: http-01: found [31m nothing there (unauthorized)`
  assert.equal((await lab.fails()).slice(0, expected.length), expected)
  assert.ok(lab.state.problem?.message.endsWith(`: ${NAME} of ${new URL(lab.server.origin).host} (atlas.yaml:3:5)`))
  assert.equal(lab.solver.shown.size, 0)
  assert.deepEqual(lab.state.identities, [])
  assert.equal(lab.failed.length, 1)
})

test('subproblems are reported by their names, and not without end', async (t) => {
  const lab = await AcmeLab.start(t)
  const subproblems = Array.from({ length: 500 }, (_, i) => ({
    type: 'urn:ietf:params:acme:error:caa',
    detail: `forbidden${'!'.repeat(i)}`,
    identifier: { type: 'dns', value: `n${i}.example.net` },
  }))
  lab.server.behaviour.intercept = ({ resource }) =>
    resource === 'newOrder' ? problem('compound', { status: 403, detail: 'two things', subproblems }) : null
  await lab.open()
  const message = await lab.fails()
  assert.match(message, /says: two things \(compound\); n0\.example\.net: forbidden \(caa\); n1\.example\.net: forbidden! \(caa\)/)
  assert.ok(message.length < 1300)
})

test('a solver that cannot show a challenge is asked to take all away', async (t) => {
  const lab = await AcmeLab.start(t, { names: [NAME, 'other.example.net'] })
  lab.solver.work = async ({ identifier }) => {
    if (identifier.value === NAME) throw new Error('port 80 is in use')
  }
  await lab.open()
  assert.match(await lab.fails(), /port 80 is in use/)
  assert.equal(lab.solver.shown.size, 0)
  assert.equal(lab.server.count('challenge'), 0)
})

test('a kind of challenge that the CA does not have is named with those it has', async (t) => {
  const lab = await AcmeLab.start(t, {}, 'http-01')
  lab.server.behaviour.intercept = ({ resource, path }) =>
    resource === 'authorization'
      ? {
          status: 200,
          body: {
            identifier: { type: 'dns', value: NAME },
            status: 'pending',
            challenges: [{ type: 'dns-01', url: lab.server.origin + path, status: 'pending', token: 'x' }],
          },
        }
      : null
  await lab.open()
  assert.match(await lab.fails(), /the CA does not offer http-01 for dns\.example\.net, only: dns-01/)
})

test('the preferred chain is taken where it is offered', async (t) => {
  const lab = await AcmeLab.start(t, { preferredChain: 'Test Root 2' })
  const issuerOf = (): string => new X509Certificate(certificateBlocks(lab.identity.chainPem)[1] ?? '').issuer
  await lab.open()
  await lab.settle()
  assert.equal(issuerOf(), 'CN=Test Root 2')
  const identities = await lab.open({ preferredChain: 'No such root' })
  await identities.renew()
  assert.equal(issuerOf(), 'CN=Test Root 1')
})

test('a profile is asked for where there is one, and named with the others where there is none', async (t) => {
  const lab = await AcmeLab.start(t, { profile: 'shortlived' })
  await lab.open()
  assert.match(await lab.fails(), /the CA has no profile shortlived, and no other one/)
  assert.equal(lab.server.count('newOrder'), 0)
  lab.server.behaviour.profiles = { classic: 'https://ca.test/classic', tlsserver: '' }
  await lab.clock.runTill(() => lab.failed.length === 2)
  assert.match(lab.state.problem?.message ?? '', /the CA has no profile shortlived, only: classic, tlsserver/)
  lab.server.behaviour.profiles = { shortlived: '' }
  await lab.clock.runTill(() => lab.state.identities.length === 1)
  assert.equal(lab.orders[0]?.profile, 'shortlived')
})

test('a renewal names what it replaces, unless the CA holds that against it', async (t) => {
  const lab = await AcmeLab.start(t)
  const identities = await lab.open()
  await lab.settle()
  await identities.renew()
  lab.server.behaviour.renewalInfo = () => ({ status: 404 })
  const { serial } = lab.server.orders[1]?.issued ?? assert.fail()
  await identities.renew()
  const id = [lab.server.issuer.keyIdentifier, serial].map((hex) => Buffer.from(hex, 'hex').toString('base64url')).join('.')
  assert.deepEqual(
    lab.orders.map(({ replaces }) => replaces),
    [undefined, undefined, id],
  )
  lab.server.behaviour.intercept = ({ resource, payload }) =>
    resource === 'newOrder' && (payload as { replaces?: string }).replaces !== undefined
      ? problem('alreadyReplaced', { status: 409, detail: 'by another one' })
      : null
  await identities.renew()
  assert.deepEqual(
    lab.orders.slice(3).map(({ replaces }) => typeof replaces),
    ['string', 'undefined'],
  )
  assert.equal(lab.state.problem, null)
  assert.equal(lab.record.orders.length, 4)
})
