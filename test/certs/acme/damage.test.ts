import assert from 'node:assert/strict'
import { mkdirSync, rmdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { AcmeLab, DAY_MS, NAME } from './lab.ts'

const NEXT = `identities/acme/${NAME}/next.pem`

test('a certificate whose record cannot be read is served all the same, and nothing is ordered unrecorded', async (t) => {
  const lab = await AcmeLab.start(t)
  await lab.open()
  await lab.settle()
  const { fingerprint256 } = lab.identity
  const path = join(lab.stateDir, lab.accountPath, 'state.json')
  rmSync(path)
  mkdirSync(path)
  await lab.open()
  assert.equal(lab.identity.fingerprint256, fingerprint256)
  assert.match(lab.failed[0]?.problem?.message ?? '', /^Cannot read .*state\.json: it is a directory$/)
  assert.equal(lab.state.problem?.retriesAt, lab.state.renewsAt)
  await lab.clock.runUntil(lab.clock.now() + 70 * DAY_MS)
  assert.equal(lab.server.count('newOrder'), 1)
  rmdirSync(path)
  await lab.clock.runUntil(lab.clock.now() + DAY_MS)
  assert.equal(lab.server.count('newOrder'), 2)
  assert.equal(lab.state.problem, null)
})

test('an order whose key is damaged is placed anew', async (t) => {
  const lab = await AcmeLab.start(t)
  lab.server.behaviour.intercept = ({ resource }) => (resource === 'finalize' ? { status: 500 } : null)
  await lab.open()
  await lab.fails()
  lab.write(NEXT, 'garbage')
  lab.server.behaviour.intercept = () => null
  await lab.open()
  await lab.settle()
  assert.equal(lab.state.problem, null)
  assert.equal(lab.server.count('newOrder'), 2)
})

test('the key of an order that cannot be read does not keep the certificate in use from being served', async (t) => {
  const lab = await AcmeLab.start(t)
  await lab.open()
  await lab.settle()
  const { fingerprint256 } = lab.identity
  mkdirSync(join(lab.stateDir, NEXT))
  await lab.open()
  assert.equal(lab.identity.fingerprint256, fingerprint256)
})

test('a record with times that are none is one without them', async (t) => {
  const lab = await AcmeLab.start(t)
  await lab.open()
  await lab.settle()
  const failure = { message: 'it failed', attempts: 1, since: 1e300, retriesAt: 1e300 }
  const certificates = { [NAME]: { orders: [1e300, null], failure, suggestion: null } }
  lab.write(`${lab.accountPath}/state.json`, JSON.stringify({ accounts: { x: null }, certificates }))
  await lab.open()
  assert.equal(lab.state.problem, null)
})
