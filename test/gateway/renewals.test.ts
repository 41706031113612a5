import assert from 'node:assert/strict'
import test, { describe, type TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { pino } from 'pino'
import { OperationalError } from '../../dns/operational-error.ts'
import { Renewals } from '../../gateway/assembly/renewals.ts'

/** Renewals whose ends the test decides on. */
function controlled() {
  const asked: string[] = []
  const lines: string[] = []
  let end = Promise.withResolvers<void>()
  const renewals = new Renewals({
    log: pino({ base: null }, { write: (line: string) => void lines.push(line) }),
    renew: (name) => {
      asked.push(name)
      end = Promise.withResolvers<void>()
      return end.promise
    },
  })
  return { renewals, asked, lines, succeed: () => end.resolve(), fail: (error: Error) => end.reject(error) }
}

/** A renewal that takes longer than whoever asks waits. */
async function askInVain(t: TestContext, renewals: Renewals) {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const answer = renewals.ask('a.example')
  t.mock.timers.tick(5_000)
  const outcome = await answer
  t.mock.timers.reset()
  return outcome
}

describe('a renewal that is asked for', () => {
  test('is waited for', async () => {
    const { renewals, succeed } = controlled()
    assert.equal(renewals.of('a.example'), null)
    const answer = renewals.ask('a.example')
    succeed()
    const { askedAt, ...outcome } = await answer
    assert.deepEqual(outcome, { outcome: 'renewed', message: null })
    assert.ok(Date.parse(askedAt) > 0)
    assert.equal(renewals.of('a.example')?.outcome, 'renewed')
  })

  test('fails with its reason', async () => {
    const { renewals, fail, lines } = controlled()
    const answer = renewals.ask('a.example')
    fail(new OperationalError('ATLAS_CERTIFICATE', 'Cannot order: wait until tomorrow'))
    const { outcome, message } = await answer
    assert.deepEqual([outcome, message, lines.length], ['failed', 'Cannot order: wait until tomorrow', 0])
  })

  test('that fails by a defect is in the log, and ends nothing', async () => {
    const { renewals, fail, lines } = controlled()
    const answer = renewals.ask('a.example')
    fail(new TypeError('x is undefined'))
    assert.equal((await answer).outcome, 'failed')
    assert.match(lines[0] ?? '', /"level":50.*TypeError/)
  })

  test('that takes long goes on, and its end is known', async (t) => {
    const { renewals, asked, succeed } = controlled()
    assert.equal((await askInVain(t, renewals)).outcome, 'running')
    assert.equal(renewals.of('a.example')?.outcome, 'running')
    succeed()
    await turn()
    assert.equal(renewals.of('a.example')?.outcome, 'renewed')
    assert.deepEqual(asked, ['a.example'])
  })

  test('that fails when nobody waits any more harms nobody', async (t) => {
    const { renewals, fail } = controlled()
    await askInVain(t, renewals)
    fail(new OperationalError('ATLAS_CERTIFICATE', 'Cannot order: no'))
    await turn()
    assert.deepEqual([renewals.of('a.example')?.outcome, renewals.of('a.example')?.message], ['failed', 'Cannot order: no'])
  })

  test('is the same for all who ask while it goes on, and another one afterwards', async () => {
    const { renewals, asked, succeed } = controlled()
    const answers = [renewals.ask('a.example'), renewals.ask('a.example')]
    succeed()
    assert.deepEqual(
      (await Promise.all(answers)).map(({ outcome }) => outcome),
      ['renewed', 'renewed'],
    )
    assert.deepEqual(asked, ['a.example'])
    await turn()
    const again = renewals.ask('a.example')
    succeed()
    await again
    assert.deepEqual(asked, ['a.example', 'a.example'])
  })
})
