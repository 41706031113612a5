import assert from 'node:assert/strict'
import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { MAX_ORDERS_PER_DAY } from '../../../certs/acme/schedule.ts'
import { AcmeServer, problem } from '../../harness/acme-server.ts'
import { temporaryDirectory } from '../../harness/temporary.ts'
import { AcmeLab, DAY_MS, HOUR_MS, NAME, ready } from './lab.ts'

const MINUTE_MS = 60_000
const CHAIN = `identities/acme/${NAME}/chain.pem`
const KEY = `identities/acme/${NAME}/key.pem`
const NEXT = `identities/acme/${NAME}/next.pem`

test('a certificate renews itself, over and over, and no more often than it has to', async (t) => {
  for (const [lifetimeMs, runMs, orders] of [
    [90 * DAY_MS, 70 * DAY_MS, 2],
    [6 * DAY_MS, 9 * DAY_MS, 3],
    [HOUR_MS, 3 * HOUR_MS, 5],
  ] as const) {
    const lab = await ready(t, lifetimeMs)
    const end = lab.clock.now() + runMs
    while (lab.clock.now() < end) {
      await lab.clock.runUntil(lab.clock.now() + lifetimeMs / 100)
      assert.ok(lab.identity.notAfter - lab.clock.now() > lifetimeMs * 0.3)
    }
    assert.equal(lab.server.count('newOrder'), orders)
    assert.equal(lab.changed.length, orders)
    assert.equal(lab.failed.length, 0)
  }
})

test('a stored certificate is there at once, and nobody is asked for another', async (t) => {
  const lab = await ready(t)
  const { fingerprint256 } = lab.identity
  const before = lab.server.requests.length
  await lab.open()
  assert.equal(lab.identity.fingerprint256, fingerprint256)
  await lab.clock.runUntil(lab.clock.now() + 5 * HOUR_MS)
  assert.deepEqual(
    lab.server.requests.slice(before).map(({ resource }) => resource),
    ['directory'],
    'where the CA has renewal information',
  )
})

test('an expired certificate is served and renewed at once', async (t) => {
  const lab = await ready(t, 2 * DAY_MS)
  const { fingerprint256 } = lab.identity
  await lab.stop()
  lab.clock.time += 3 * DAY_MS
  lab.server.behaviour.intercept = ({ resource }) => (resource === 'newOrder' ? { status: 500 } : null)
  await lab.open()
  assert.equal(lab.identity.fingerprint256, fingerprint256)
  assert.match(await lab.fails(), /localhost:\d+ answers with status 500/)
  assert.equal(lab.identity.fingerprint256, fingerprint256)
  lab.server.behaviour.intercept = () => null
  await lab.clock.next()
  assert.notEqual(lab.identity.fingerprint256, fingerprint256)
})

test('after failures it is tried ever more seldom, hourly at least while there is no certificate', async (t) => {
  const lab = await AcmeLab.start(t)
  lab.server.behaviour.intercept = ({ resource }) => (resource === 'newOrder' ? { status: 500 } : null)
  lab.clock.chance = 0
  await lab.open()
  await lab.settle()
  const began = lab.clock.now()
  await lab.clock.runUntil(began + 63 * MINUTE_MS)
  assert.equal(lab.server.count('newOrder'), 7, 'at 0, 1, 3, 7, 15, 31 and 63 minutes')
  await lab.clock.runUntil(began + DAY_MS)
  assert.equal(lab.server.count('newOrder'), 29)
  assert.equal(lab.failed.length, 1, 'the same reason is told once')
  const { problem } = lab.state
  assert.deepEqual([problem?.since, problem?.attempts, problem?.retriesAt], [began, 29, lab.state.renewsAt])
  lab.server.behaviour.intercept = () => null
  await lab.clock.runUntil(lab.clock.now() + HOUR_MS)
  assert.equal(lab.state.problem, null)
  assert.equal(lab.record.failure, null)
})

test('whatever fails, there is a bound of orders a day', async (t) => {
  const lab = await AcmeLab.start(t)
  lab.server.behaviour.issuedNames = ['other.example.net']
  await lab.open()
  assert.match(await lab.fails(), /the certificate lacks names that were ordered: dns\.example\.net/)
  const began = lab.clock.now()
  const orders = Array.from({ length: MAX_ORDERS_PER_DAY - 2 }, () => began)
  const path = `${lab.accountPath}/state.json`
  lab.write(path, JSON.stringify({ ...lab.content, certificates: { [NAME]: { ...lab.record, orders } } }))
  const identities = await lab.open()
  await assert.rejects(identities.renew(), /lacks names/)
  await assert.rejects(identities.renew(), /lacks names/)
  assert.equal(lab.record.orders.length, MAX_ORDERS_PER_DAY)
  const refused =
    /^OperationalError: Cannot renew certificate: no more than 48 orders a day are placed, so none until 20.*: dns\.example\.net$/
  await assert.rejects(identities.renew(), refused)
  await lab.open()
  await lab.clock.runUntil(began + DAY_MS - HOUR_MS)
  assert.equal(lab.server.count('newOrder'), 3)
  await lab.clock.runUntil(began + DAY_MS + HOUR_MS)
  assert.ok(lab.server.count('newOrder') > 3)
})

test('the CA that asks for time gets it, over restarts too', async (t) => {
  const hour = new Date(Date.now() + HOUR_MS + 5000).toUTCString()
  for (const answer of [
    { status: 429, headers: { 'retry-after': '3600' } },
    { status: 503, headers: { 'retry-after': hour } },
    problem('rateLimited', { status: 429, detail: 'too many' }),
  ]) {
    const lab = await AcmeLab.start(t)
    lab.server.behaviour.intercept = ({ resource }) => (resource === 'newOrder' ? answer : null)
    await lab.open()
    await lab.settle()
    const until = lab.clock.now() + HOUR_MS - 10_000
    for (let i = 0; i < 20; i++) {
      const identities = await lab.open()
      await lab.clock.runUntil(lab.clock.now() + MINUTE_MS)
      await assert.rejects(
        identities.renew(),
        /Cannot renew certificate: the CA wants to be left alone until \d{4}-.*Z: dns\.example\.net$/,
      )
    }
    await lab.clock.runUntil(until)
    assert.equal(lab.server.count('newOrder'), 1)
    lab.server.behaviour.intercept = () => null
    await lab.clock.runUntil(lab.clock.now() + HOUR_MS)
    assert.equal(lab.state.identities.length, 1)
  }
})

test('an answer that takes hours is fetched when the CA says, without another order', async (t) => {
  const lab = await AcmeLab.start(t)
  Object.assign(lab.server.behaviour, { processingPolls: 2, retryAfter: '7200' })
  await lab.open()
  assert.match(await lab.fails(), /the CA has come to no end yet: processing/)
  const began = lab.clock.now()
  await lab.open()
  await lab.clock.runTill(() => lab.state.identities.length === 1)
  assert.ok(lab.clock.now() - began >= 2 * HOUR_MS)
  assert.equal(lab.server.count('newOrder'), 1)
})

test('an order that is under way is taken up again after a restart', async (t) => {
  const lab = await AcmeLab.start(t)
  lab.server.behaviour.intercept = ({ resource }) => (resource === 'finalize' ? { status: 500 } : null)
  await lab.open()
  await lab.settle()
  const key = lab.read(NEXT)
  lab.server.behaviour.intercept = () => null
  await lab.open()
  await lab.clock.runTill(() => lab.state.identities.length === 1)
  assert.equal(lab.server.count('newOrder'), 1)
  assert.equal(lab.read(KEY), key)
  assert.equal(lab.record.order, null)
})

test('an order for other names, or one that the CA has given up, is not taken up', async (t) => {
  for (const change of ['names', 'order', 'key'] as const) {
    const lab = await AcmeLab.start(t)
    lab.server.behaviour.intercept = ({ resource }) => (resource === 'finalize' ? { status: 500 } : null)
    await lab.open()
    await lab.settle()
    lab.server.behaviour.intercept = ({ resource, method }) =>
      change === 'order' && resource === 'order' && method === 'POST' && lab.server.count('newOrder') === 1
        ? problem('malformed', { status: 404, detail: 'no such order' })
        : null
    if (change === 'key') rmSync(join(lab.stateDir, NEXT))
    await lab.open(change === 'names' ? { names: [NAME, 'added.example.net'] } : {})
    await lab.clock.runTill(() => lab.state.identities.length === 1)
    assert.equal(lab.server.count('newOrder'), 2, change)
  }
})

test('with a name more it is due at once, and the old one serves meanwhile', async (t) => {
  const lab = await ready(t)
  const { fingerprint256 } = lab.identity
  await lab.open({ names: [NAME, 'added.example.net'] })
  assert.equal(lab.identity.fingerprint256, fingerprint256)
  await lab.settle()
  assert.deepEqual(lab.identity.names, [NAME, 'added.example.net'])
  await lab.open({ names: [NAME] })
  await lab.settle()
  assert.equal(lab.server.count('newOrder'), 2, 'one that is for more does')
})

test('another CA gives another certificate at once', async (t) => {
  const lab = await ready(t)
  const staging = lab.identity.fingerprint256
  const production = await AcmeServer.start()
  t.after(() => production[Symbol.asyncDispose]())
  Object.assign(production.behaviour, { now: lab.clock.now, look: lab.server.behaviour.look })
  await lab.open({ directory: production.directory, ca: { file: production.caFile, origin: 'atlas.yaml:9:9' } })
  assert.equal(lab.identity.fingerprint256, staging)
  await lab.settle()
  assert.notEqual(lab.identity.fingerprint256, staging)
  assert.equal(production.count('newOrder'), 1)
  await lab.open()
  await lab.clock.runUntil(lab.clock.now() + DAY_MS)
  assert.equal(production.count('newOrder'), 1)
})

test('wherever the process ends, there is a key for the chain', async (t) => {
  const lab = await ready(t)
  const identities = await lab.open()
  const seen: string[] = []
  const copies: string[] = []
  lab.storage.refuses = (path) => {
    const copy = temporaryDirectory(t)
    cpSync(lab.stateDir, copy, { recursive: true })
    copies.push(copy)
    seen.push(path.split('/').at(-1) ?? '')
    return false
  }
  const before = lab.identity.fingerprint256
  await identities.renew()
  lab.storage.refuses = () => false
  assert.deepEqual(seen, ['next.pem', 'state.json', 'state.json', 'chain.pem', 'key.pem', 'state.json'])
  const after = lab.identity.fingerprint256
  const served: string[] = []
  for (const copy of copies) {
    await lab.stop()
    for (const path of ['identities', 'acme']) {
      rmSync(join(lab.stateDir, path), { recursive: true })
      cpSync(join(copy, path), join(lab.stateDir, path), { recursive: true })
    }
    await lab.open()
    served.push(lab.identity.fingerprint256)
    assert.equal(lab.read(KEY), lab.identity.keyPem)
    assert.equal(lab.state.problem, null)
  }
  assert.deepEqual(served, [before, before, before, before, after, after])
})

test('a certificate that cannot be written is used, reported, written later and not ordered again', async (t) => {
  for (const refused of [CHAIN, KEY]) {
    const lab = await AcmeLab.start(t)
    lab.storage.refuses = (path) => path === refused
    await lab.open()
    await lab.settle()
    assert.equal(lab.state.identities.length, 1)
    assert.equal(lab.changed.length, 1)
    assert.match(lab.state.problem?.message ?? '', /ENOSPC: no space left on device/)
    assert.equal(lab.failed.length, 1)
    await lab.clock.runUntil(lab.clock.now() + 3 * HOUR_MS)
    assert.equal(lab.server.count('newOrder'), 1)
    const used = lab.identity.fingerprint256
    lab.storage.refuses = () => false
    await lab.clock.runTill(() => lab.state.problem === null)
    assert.equal(lab.read(KEY), lab.identity.keyPem)
    await lab.open()
    assert.equal(lab.identity.fingerprint256, used)
    assert.equal(lab.server.count('newOrder'), 1)
  }
})

test('where nothing can be written, nothing is ordered, and the certificate stays', async (t) => {
  const lab = await ready(t, 6 * DAY_MS)
  const { fingerprint256 } = lab.identity
  lab.storage.refuses = () => true
  await lab.clock.runUntil(lab.clock.now() + 6 * DAY_MS)
  assert.equal(lab.server.count('newOrder'), 1)
  assert.equal(lab.identity.fingerprint256, fingerprint256)
  assert.match(lab.state.problem?.message ?? '', /ENOSPC: no space left on device/)
  assert.ok((lab.state.problem?.attempts ?? 0) > 5, 'with pauses that grow')
  assert.ok((lab.state.problem?.attempts ?? 0) < 60)
})

test('a damaged certificate is reported and replaced', async (t) => {
  const lab = await ready(t)
  lab.write(KEY, 'garbage')
  await lab.open()
  assert.deepEqual(lab.state.identities, [])
  assert.match(
    lab.failed[0]?.problem?.message ?? '',
    /Cannot use certificate: it is not PEM: identities\/acme\/dns\.example\.net\/key\.pem/,
  )
  await lab.settle()
  assert.equal(lab.state.problem, null)
  assert.equal(lab.read(KEY), lab.identity.keyPem)
})

test('what is in the way is told at each start', async (t) => {
  const lab = await AcmeLab.start(t)
  lab.server.behaviour.intercept = ({ resource }) => (resource === 'newOrder' ? { status: 500 } : null)
  await lab.open()
  await lab.fails()
  await lab.open()
  await lab.clock.runUntil(lab.clock.now() + HOUR_MS)
  assert.equal(lab.failed.length, 2)
})

test('renew() that meets a renewal under way does not order again', async (t) => {
  const lab = await AcmeLab.start(t)
  const identities = await lab.open()
  await Promise.all([identities.renew(), identities.renew(), lab.clock.next()])
  assert.equal(lab.server.count('newOrder'), 1)
  await identities.renew()
  assert.equal(lab.server.count('newOrder'), 2)
})

test('what another provider has noted since is not lost when the CA is asked for renewal information', async (t) => {
  const lab = await ready(t)
  await lab.open()
  const order = { url: `${lab.server.origin}/order/7`, names: [NAME] }
  lab.write(`${lab.accountPath}/state.json`, JSON.stringify({ ...lab.content, certificates: { [NAME]: { ...lab.record, order } } }))
  await lab.clock.next()
  assert.notEqual(lab.record.suggestion, null)
  assert.deepEqual(lab.record.order, order)
})

test('stop() ends what waits, takes challenges away and leaves the order for the next start', async (t) => {
  const lab = await AcmeLab.start(t)
  const identities = await lab.open()
  const begun = Promise.withResolvers<void>()
  lab.solver.work = () => {
    begun.resolve()
    return new Promise(() => {}) // as a record that is never seen
  }
  const renewing = assert.rejects(
    identities.renew(),
    /^OperationalError: Cannot renew certificate: it was called off, .*: dns\.example\.net$/,
  )
  await begun.promise
  await lab.stop()
  await renewing
  assert.deepEqual([lab.solver.shown.size, lab.solver.isClosed, lab.clock.isIdle], [0, true, true])
  assert.equal(lab.failed.length, 0)
  lab.solver.work = async () => {}
  await lab.open()
  await lab.settle()
  assert.equal(lab.state.problem, null)
  assert.equal(lab.server.count('newOrder'), 1)
})
