import assert from 'node:assert/strict'
import test, { describe, type TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { ProbeOutcome } from '../../gateway/probe/outcome.ts'
import { Prober } from '../../gateway/probe/prober.ts'
import type { ProbeTarget, ProbeTransport } from '../../gateway/probe/target.ts'
import { targetAt } from './answering.ts'

const OK = (worker = 0): ProbeOutcome => ({ outcome: 'ok', worker, seconds: 0.5 })
const FAILED: ProbeOutcome = { outcome: 'failed', reason: 'no answer within 2 s' }
const REFUSED: ProbeOutcome = { outcome: 'refused', reason: 'HTTP status 503' }
const START = Date.UTC(2030, 0, 1)
const SECOND = 1000

interface Setting {
  readonly workers?: number
  readonly isServing?: (worker: number) => boolean
  readonly isAdmitted?: () => boolean
  /** The answer to the probe of this number. */
  readonly answer: (target: ProbeTarget, number: number) => ProbeOutcome | Promise<ProbeOutcome>
  readonly onRebind?: (worker: number) => Promise<void>
}

/** A prober whose time stands still between rounds: each call of `round` is one, ten seconds later. */
function runProber(t: TestContext, { workers = 1, answer, isServing = () => true, isAdmitted = () => true, onRebind }: Setting) {
  let now = 0
  let paused = Promise.withResolvers<void>()
  let goOn: (() => void) | null = null
  const asked: string[] = []
  const events: string[] = []
  const rebound: string[] = []
  const prober = new Prober({
    ask: async (target, stop) => {
      asked.push(target.transport)
      const aborted = new Promise<ProbeOutcome>((resolve) => stop.addEventListener('abort', () => resolve(FAILED)))
      return Promise.race([answer(target, asked.length - 1), aborted])
    },
    workers,
    isServing,
    isAdmitted,
    rebind: async (worker, { transport }) => {
      rebound.push(`${transport} ${worker} at ${now / SECOND}`)
      await onRebind?.(worker)
    },
    onChanged: ({ target, status }) => events.push(`${target.transport} ${status.outcome}`),
    times: {
      clock: () => now,
      wallClock: () => START + now,
      pause: (ms, stop) =>
        new Promise((resolve) => {
          if (stop.aborted) resolve()
          stop.addEventListener('abort', () => resolve())
          goOn = () => {
            now += ms
            resolve()
          }
          paused.resolve()
        }),
    },
  })
  t.after(() => prober.stop())
  const round = async (): Promise<void> => {
    const next = Promise.withResolvers<void>()
    const present = paused
    if (goOn === null) prober.start()
    else {
      paused = next
      goOn()
      return next.promise
    }
    await present.promise
  }
  const follow = (...transports: ProbeTransport[]): void => prober.follow(transports.map((transport) => targetAt(transport, 53)))
  return { prober, asked, events, rebound, round, follow, status: () => prober.reports[0]?.status }
}

describe('a round', () => {
  test('asks one target after the other, and says what it found', async (t) => {
    const { prober, asked, events, round, follow, status } = runProber(t, { answer: () => OK() })
    follow('udp', 'tcp', 'doq')
    assert.deepEqual(status(), { transport: 'udp', outcome: 'pending', reason: null, at: null, seconds: null, rebinds: 0 })
    await round()
    assert.deepEqual(asked, ['udp', 'tcp', 'doq'])
    assert.deepEqual(events, ['udp ok', 'tcp ok', 'doq ok'])
    await round()
    assert.equal(asked.length, 5)
    assert.equal(events.length, 3)
    assert.deepEqual(status(), { transport: 'udp', outcome: 'ok', reason: null, at: '2030-01-01T00:00:10.000Z', seconds: 0.5, rebinds: 0 })
    assert.equal(prober.rebinds, 0)
  })

  test('has at most one probe open', async (t) => {
    let open = 0
    const { round, follow } = runProber(t, {
      answer: async () => {
        assert.equal(++open, 1)
        await turn()
        open--
        return OK()
      },
    })
    follow('udp', 'tcp', 'dot', 'doh')
    await round()
  })

  test('does not ask on UDP where the access list would keep the answer back', async (t) => {
    const { asked, round, follow, status } = runProber(t, { answer: () => OK(), isAdmitted: () => false })
    follow('udp', 'tcp')
    await round()
    assert.deepEqual(asked, ['tcp'])
    assert.equal(status()?.outcome, 'refused')
    assert.match(status()?.reason ?? '', /the access list does not admit this machine/)
  })

  test('goes on with what it knows of targets that stay', async (t) => {
    const { asked, prober, round, follow } = runProber(t, { answer: () => OK() })
    follow('udp', 'tcp')
    await round()
    follow('tcp', 'dot')
    assert.deepEqual(
      prober.reports.map(({ status }) => status.outcome),
      ['ok', 'pending'],
    )
    await round()
    assert.deepEqual(asked.slice(2), ['tcp', 'dot'])
  })
})

describe('a failure', () => {
  test('counts when it happens twice in a row; one success ends it', async (t) => {
    const script = [FAILED, OK(), FAILED, FAILED, FAILED, REFUSED, FAILED, FAILED, OK()]
    const { events, asked, round, follow, status } = runProber(t, { isServing: () => false, answer: (_, number) => script[number] ?? OK() })
    follow('tcp')
    await round()
    assert.deepEqual([events, asked.length], [['tcp ok'], 2])
    await round()
    assert.deepEqual([status()?.outcome, status()?.reason, status()?.seconds], ['failed', 'no answer within 2 s', 0.5])
    await round()
    assert.equal(status()?.outcome, 'refused')
    await round()
    await round()
    assert.deepEqual(events, ['tcp ok', 'tcp failed', 'tcp refused', 'tcp failed', 'tcp ok'])
    assert.equal(asked.length, script.length)
  })

  test('of the only worker has its socket bound anew, and it is asked again', async (t) => {
    let isStuck = true
    const { events, rebound, round, follow, status } = runProber(t, {
      answer: () => (isStuck ? FAILED : OK()),
      onRebind: async () => {
        isStuck = false
      },
    })
    follow('dot')
    await round()
    assert.deepEqual([rebound, events], [['dot 0 at 0'], ['dot failed', 'dot ok']])
    assert.equal(status()?.rebinds, 1)
  })

  test('on QUIC is that of worker 0, without a burst', async (t) => {
    const { asked, rebound, round, follow } = runProber(t, { workers: 4, answer: () => FAILED })
    follow('doq', 'doh3')
    await round()
    assert.deepEqual(rebound, ['doq 0 at 0', 'doh3 0 at 0'])
    assert.equal(asked.length, 8)
  })

  test('is not the fault of the sockets of a worker that does not serve', async (t) => {
    const { rebound, round, follow } = runProber(t, { workers: 2, isServing: (worker) => worker === 0, answer: () => FAILED })
    follow('tcp', 'doq')
    await round()
    assert.deepEqual(rebound, ['tcp 0 at 0', 'doq 0 at 0'])
    const gone = runProber(t, { isServing: () => false, answer: () => FAILED })
    gone.follow('tcp')
    await gone.round()
    assert.deepEqual(gone.rebound, [])
  })

  test('that lasts has the socket bound anew ever less often', async (t) => {
    const { rebound, prober, round, follow } = runProber(t, { answer: () => FAILED, onRebind: () => Promise.reject(new Error('in use')) })
    follow('tcp')
    for (let i = 0; i < 6 * 60; i++) await round()
    const times = rebound.map((text) => Number(text.split(' ').at(-1)))
    assert.deepEqual(times, [0, 60, 180, 420, 900, 1500, 2100, 2700, 3300])
    assert.equal(prober.rebinds, times.length)
  })

  test('after long enough without is a first one again', async (t) => {
    let isStuck = true
    const { rebound, round, follow } = runProber(t, { answer: () => (isStuck ? FAILED : OK()) })
    follow('tcp')
    for (let i = 0; i < 7; i++) await round()
    isStuck = false
    for (let i = 0; i < 71; i++) await round()
    isStuck = true
    for (let i = 0; i < 7; i++) await round()
    assert.deepEqual(rebound, ['tcp 0 at 0', 'tcp 0 at 60', 'tcp 0 at 780', 'tcp 0 at 840'])
  })
})

describe('one stuck socket of several', () => {
  /** Worker after worker; what is sent to `stuck` is lost. */
  const oneStuck = (workers: number, stuck: Set<number>) => (_: ProbeTarget, number: number) =>
    stuck.has(number % workers) ? FAILED : OK(number % workers)

  test('is found although every repetition succeeds', async (t) => {
    const stuck = new Set([3])
    const { events, rebound, round, follow, asked } = runProber(t, {
      workers: 4,
      answer: oneStuck(4, stuck),
      onRebind: async (worker) => void stuck.delete(worker),
    })
    follow('tcp')
    // one probe in four meets it; the repetition meets worker 0
    for (let i = 0; i < 10; i++) {
      await round()
      if (rebound.length > 0) break
    }
    assert.deepEqual(rebound, ['tcp 3 at 90'])
    assert.deepEqual(events, ['tcp ok'])
    const before = asked.length
    await round()
    assert.equal(asked.length, before + 1)
  })

  test('is not looked for again when all were heard', async (t) => {
    // rounds 1 to 3 fail at first, then nothing does
    const { asked, rebound, round, follow } = runProber(t, {
      workers: 2,
      answer: (_, number) => (number < 6 && number % 2 === 0 ? FAILED : OK(number % 2)),
    })
    follow('tcp')
    for (let i = 0; i < 3; i++) await round()
    const before = asked.length
    assert.ok(before > 6)
    for (let i = 0; i < 12; i++) await round()
    assert.equal(asked.length, before + 12)
    assert.deepEqual(rebound, [])
  })

  test('is not looked for because of failures that are far apart', async (t) => {
    const { asked, rebound, round, follow } = runProber(t, {
      workers: 2,
      answer: (_, number) => (number % 8 === 0 ? FAILED : OK(number % 2)),
    })
    follow('tcp')
    for (let i = 0; i < 70; i++) await round()
    assert.deepEqual(rebound, [])
    assert.equal(asked.length, 80)
  })

  test('is looked for once a minute at most', async (t) => {
    const { asked, rebound, round, follow } = runProber(t, { workers: 2, answer: (_, number) => (number % 3 === 2 ? REFUSED : FAILED) })
    follow('tcp')
    await round()
    const first = asked.length
    for (let i = 0; i < 5; i++) await round()
    assert.ok(asked.length - first <= 10)
    assert.deepEqual(rebound, [])
  })
})

describe('a round', () => {
  test('asks QUIC every third time only, while it is well', async (t) => {
    let isWell = true
    const { asked, follow, round } = runProber(t, { answer: ({ transport }) => (transport === 'doq' && !isWell ? FAILED : OK()) })
    follow('udp', 'doq')
    for (let i = 0; i < 6; i++) await round()
    assert.deepEqual(asked, ['udp', 'doq', 'udp', 'udp', 'udp', 'doq', 'udp', 'udp'])
    isWell = false
    asked.length = 0
    for (let i = 0; i < 2; i++) await round()
    // seen to be ill, it is asked every time
    assert.deepEqual(asked.filter((transport) => transport === 'doq').length > 2, true)
  })
})

describe('findDeaf()', () => {
  test('asks what is meant once, repeats a failure, ends with it, and binds nothing anew', async (t) => {
    const { prober, asked, rebound, follow } = runProber(t, {
      answer: ({ transport }) => (transport === 'dot' ? FAILED : transport === 'doh' ? REFUSED : OK()),
    })
    follow('udp', 'doh', 'dot', 'tcp')
    assert.equal(await prober.findDeaf(({ transport }) => transport !== 'dot'), null)
    assert.deepEqual(asked, ['udp', 'doh', 'tcp'])
    const report = await prober.findDeaf(({ transport }) => transport !== 'udp')
    assert.deepEqual(asked.slice(3), ['doh', 'dot', 'dot'])
    assert.deepEqual([report?.target.transport, report?.status.reason], ['dot', 'no answer within 2 s'])
    assert.deepEqual(rebound, [])
  })
})

describe('stop()', () => {
  test('ends an open probe, a pause and a rebind at once', async (t) => {
    const silent = runProber(t, { answer: () => new Promise(() => {}) })
    silent.follow('tcp', 'udp')
    silent.prober.start()
    await silent.prober.stop()
    assert.deepEqual([silent.asked, silent.events], [['tcp'], []])
    const pausing = runProber(t, { answer: () => OK() })
    await pausing.round()
    await pausing.prober.stop()
    const begun = Promise.withResolvers<void>()
    const rebinding = runProber(t, {
      answer: () => FAILED,
      onRebind: () => {
        begun.resolve()
        return new Promise(() => {})
      },
    })
    rebinding.follow('tcp')
    rebinding.prober.start()
    await begun.promise
    await rebinding.prober.stop()
    assert.equal(rebinding.asked.length, 2)
  })

  test('comes before start() too', async (t) => {
    const { prober, asked, follow } = runProber(t, { answer: () => OK() })
    follow('tcp')
    await prober.stop()
    prober.start()
    await prober.stop()
    assert.deepEqual(asked, [])
  })
})
