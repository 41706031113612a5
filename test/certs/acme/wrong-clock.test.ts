import assert from 'node:assert/strict'
import test from 'node:test'
import { AcmeLab, DAY_MS, HOUR_MS, ready } from './lab.ts'

test('a clock that is behind keeps what there is, and one that jumps is noticed within the hour', async (t) => {
  const lab = await ready(t)
  await lab.stop()
  lab.clock.time -= 20_000 * DAY_MS
  await lab.open()
  assert.equal(lab.state.identities.length, 1)
  await lab.clock.next()
  assert.equal(lab.server.count('newOrder'), 1)
  lab.clock.time += 20_000 * DAY_MS + 70 * DAY_MS
  await lab.clock.next()
  assert.equal(lab.server.count('newOrder'), 2)
})

test('what failed while the clock was a year ahead does not wait for a year', async (t) => {
  const lab = await ready(t)
  lab.server.behaviour.intercept = ({ resource }) => (resource === 'newOrder' ? { status: 500 } : null)
  lab.clock.time += 365 * DAY_MS
  await lab.clock.next()
  assert.ok(lab.state.problem !== null)
  lab.clock.time -= 365 * DAY_MS
  lab.server.behaviour.intercept = () => null
  await lab.open()
  await lab.clock.runUntil(lab.identity.notAfter - DAY_MS)
  assert.equal(lab.server.count('newOrder'), 3)
  assert.equal(lab.state.problem, null)
})

test('a certificate of tomorrow waits on the clock, not on the CA', async (t) => {
  const lab = await AcmeLab.start(t)
  lab.server.behaviour.now = () => Date.now() + 2 * HOUR_MS
  await lab.open()
  assert.match(await lab.fails(), /the certificate is not valid yet: the clock says 20/)
  await lab.clock.runTill(() => lab.state.identities.length === 1)
  assert.equal(lab.server.count('newOrder'), 1)
})
