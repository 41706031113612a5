import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import type { ControlEvent, Status, UpstreamStatus } from '../../gateway/admin/control.ts'
import { lineText } from '../../gateway/cli/lines.ts'
import { type TopState, topFrame } from '../../gateway/cli/top-frame.ts'
import { differenceOf, type Look } from '../../gateway/cli/top-look.ts'
import { runCommand } from './admin-door.ts'
import { CACHE, STATUS, UPSTREAMS } from './recorded.ts'

const BEFORE: Look = { at: 1000, status: STATUS, upstreams: UPSTREAMS }
const [QUAD9 = assert.fail(), SPARE = assert.fail()] = UPSTREAMS

/** Two seconds after BEFORE. */
function after(traffic: Partial<Status['traffic']> = {}, rest: Partial<Status> = {}, upstreams = UPSTREAMS): Look {
  return { at: 3000, status: { ...STATUS, ...rest, traffic: { ...STATUS.traffic, ...traffic } }, upstreams }
}

const LATER = after(
  {
    transports: [
      { transport: 'udp', queries: 1_236_469, connections: 0 },
      { transport: 'dot', queries: 603, connections: 35 },
      { transport: 'doq', queries: 20, connections: 1 },
    ],
    answers: [
      { transport: 'udp', rcode: 'NOERROR', source: 'cache', count: 980 },
      { transport: 'udp', rcode: 'NOERROR', source: 'upstream', count: 70 },
      { transport: 'dot', rcode: 'NXDOMAIN', source: 'stale', count: 25 },
      { transport: 'dot', rcode: 'NXDOMAIN', source: 'upstream', count: 27 },
      { transport: 'dot', rcode: 'REFUSED', source: 'local', count: 10 },
    ],
    drops: [{ reason: 'malformed_message', count: 7 }],
  },
  { cache: { ...CACHE, evictions: 13 } },
  [
    {
      ...QUAD9,
      queries: 1100,
      answers: 1090,
      failures: [{ reason: 'upstream_timeout', count: 13 }],
      probes: [{ outcome: 'answered', count: 32 }],
      meanSeconds: 0.0213 + 0.001,
    },
    SPARE,
  ],
)

function frame(state: Partial<TopState>, columns = 80, rows = 24): readonly string[] {
  const complete = { look: LATER, difference: differenceOf(BEFORE, LATER), events: null, trouble: null, ...state }
  return topFrame(complete, { columns, rows }).map((line) => lineText(line, { colour: false, width: columns }))
}

function event(id: number, message = `something ${id}`): ControlEvent {
  return { id, at: `2026-03-01T12:00:${String(id).padStart(2, '0')}.000Z`, type: 'upstream', message, facts: {} }
}

describe('differenceOf()', () => {
  test('is what has come to the counters, in the measured time', () => {
    const difference = differenceOf(BEFORE, LATER) ?? assert.fail()
    assert.equal(difference.seconds, 2)
    assert.deepEqual(
      difference.traffic.transports.map(({ queries }) => queries),
      [2469, 3, 20],
    )
    assert.deepEqual(
      difference.traffic.answers.map(({ count }) => count),
      [80, 20, 0, 2, 0],
    )
    assert.deepEqual(difference.traffic.drops, [{ reason: 'malformed_message', count: 6 }])
    assert.equal(difference.evictions, 10)
  })

  test('has the mean of the answers between', () => {
    const [quad9, spare] = differenceOf(BEFORE, LATER)?.upstreams ?? []
    assert.deepEqual([quad9?.queries, quad9?.answers, quad9?.failures], [100, 100, [{ reason: 'upstream_timeout', count: 4 }]])
    assert.deepEqual(quad9?.probes, [{ outcome: 'answered', count: 2 }])
    // (1090 × 22.3 ms − 990 × 21.3 ms) / 100
    assert.equal(quad9?.meanSeconds?.toFixed(4), '0.0322')
    assert.equal(spare?.meanSeconds, null)
  })

  test('takes an upstream that is new or began anew for what it shows', () => {
    const anew: UpstreamStatus = { ...QUAD9, queries: 5, answers: 4, failures: [], meanSeconds: 0.5 }
    const added: UpstreamStatus = { ...QUAD9, name: 'added', queries: 7 }
    assert.deepEqual(differenceOf(BEFORE, after({}, {}, [anew, added]))?.upstreams, [anew, added])
  })

  test('is none between two processes', () => {
    assert.equal(differenceOf(BEFORE, after({}, { startedAt: '2026-03-02T00:00:00.000Z' })), null)
    assert.equal(differenceOf(BEFORE, after({ transports: [{ transport: 'dot', queries: 599, connections: 0 }] })), null)
    assert.equal(differenceOf(BEFORE, after({ answers: [{ transport: 'udp', rcode: 'NOERROR', source: 'cache', count: 1 }] })), null)
    assert.equal(differenceOf(BEFORE, after({ drops: [{ reason: 'upstream_timeout', count: 6 }] })), null)
    assert.equal(differenceOf(BEFORE, after({}, { cache: { ...CACHE, evictions: 0 } })), null)
    assert.equal(differenceOf(LATER, LATER), null)
  })
})

describe('topFrame()', () => {
  test('shows rates, upstreams, workers, the cache and the last events', () => {
    assert.deepEqual(frame({ events: [event(2), event(1)] }), [
      'Atlas DNS 0.1.0, process 4711, up 3 d 4 h: ready',
      '1,246 queries/s  51 answers/s  3.0 drops/s  78.4 % hit rate  12 open',
      '',
      'TRANSPORT        udp      dot      doq',
      'queries/s      1,235      1.5       10',
      'connections        –       35        1',
      '',
      'RCODE      NOERROR  NXDOMAIN  REFUSED',
      'answers/s       50       1.0        0',
      'hit rate    80.0 %     0.0 %        –',
      '',
      'UPSTREAM                  STATE     QUERIES/S  ANSWERS/S  FAILURES/S     MEAN',
      'quad9                     up               50         50         2.0    32 ms',
      'spare                     disabled          0          0           0        –',
      '',
      'CACHE    12.3 MiB of 64.0 MiB (19.2 %), 1,234,567 entries, 5.0 evicted/s',
      'WORKERS  busy, delay of the event loop, restarts',
      '0: 12 %, 0.4 ms     1: down, 2',
      '',
      'EVENTS',
      '12:00:02  upstream     something 2',
      '12:00:01  upstream     something 1',
    ])
  })

  test('has no rates after the first look', () => {
    const lines = frame({ difference: null })
    assert.equal(lines[1], '– queries/s  – answers/s  – drops/s  – hit rate  12 open')
    assert.equal(lines.at(-1), '0: 12 %, 0.4 ms     1: down, 2')
  })

  test('says why it is not ready, and why no events come', () => {
    const status = { ...LATER.status, ready: false, reasons: ['no worker serves'] }
    const lines = frame({ look: { ...LATER, status }, events: [], trouble: 'too many followers' })
    assert.equal(lines[0], 'Atlas DNS 0.1.0, process 4711, up 3 d 4 h: not ready, no worker serves')
    assert.equal(lines.at(-1), 'too many followers')
    assert.equal(frame({ events: [] }).at(-1), 'none since this view was opened')
  })

  test('warns of what is wrong although it is ready, in little room too', () => {
    const warnings = Array.from({ length: 30 }, (_, i) => `the certificate of a${i}.example (a.pem) has expired`)
    const look = { ...LATER, status: { ...LATER.status, warnings } }
    assert.equal(frame({ look })[2], warnings[0])
    const lines = frame({ look })
    assert.equal(lines.length, 24)
    assert.ok(lines.some((line) => /^… \d+ more lines$/.test(line)))
    assert.ok(lines.some((line) => line.startsWith('UPSTREAM')))
  })

  test('fits every terminal', () => {
    const workers = Array.from({ length: 64 }, (_, index) => ({ ...(STATUS.workers[0] ?? assert.fail()), index }))
    const upstreams = Array.from({ length: 20 }, (_, i) => ({ ...QUAD9, name: `an-upstream-with-quite-a-long-name-${i}` }))
    const events = Array.from({ length: 100 }, (_, i) => event(i, '\u001b[2J'.repeat(50)))
    const look = { ...LATER, status: { ...LATER.status, workers }, upstreams }
    const state = { look, difference: differenceOf(BEFORE, look), events }
    for (const rows of [1, 2, 5, 12, 24, 50, 200]) {
      for (const columns of [1, 10, 40, 80, 200]) {
        const lines = frame(state, columns, rows)
        assert.ok(lines.length <= rows, `${rows}`)
        for (const line of lines) assert.ok([...line].length <= columns && !/\p{C}/u.test(line), line)
      }
    }
  })

  test('at 80 × 24 has something of everything, and says what it left out', () => {
    const workers = Array.from({ length: 8 }, (_, index) => ({ ...(STATUS.workers[0] ?? assert.fail()), index }))
    const upstreams = Array.from({ length: 5 }, (_, i) => ({ ...QUAD9, name: `u${i}` }))
    const look = { ...LATER, status: { ...LATER.status, workers }, upstreams }
    const text = frame({ look, events: [5, 4, 3, 2, 1].map((id) => event(id)) }).join('\n')
    for (const expected of [/^u0 /m, /^u1 /m, /^… 3 more lines$/m, /^0: 12 %/m, /7: 12 %/, /something 5/, /something 4$/]) {
      assert.match(text, expected)
    }
    assert.doesNotMatch(text, /something 3/)
  })
})

test('--interval has its bounds', async () => {
  for (const interval of ['99ms', '2m', '1', 'soon']) {
    await assert.rejects(runCommand(['top', '--once', '--interval', interval]), {
      code: 'ATLAS_USAGE',
      message: /from 100ms to 1m: received/,
    })
  }
})
