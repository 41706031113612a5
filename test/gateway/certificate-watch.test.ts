import assert from 'node:assert/strict'
import test, { describe, type TestContext } from 'node:test'
import { pino } from 'pino'
import type { Identity } from '../../certs/identity.ts'
import type { CertificateProblem, CertificateState } from '../../certs/provider.ts'
import type { ControlEvent } from '../../gateway/admin/control.ts'
import { CertificateWatch } from '../../gateway/assembly/certificate-watch.ts'
import { Events } from '../../gateway/events.ts'
import { Slab } from '../../gateway/telemetry/slab.ts'
import { Telemetry } from '../../gateway/telemetry/telemetry.ts'

const DAY_MS = 86_400_000
const START = Date.parse('2026-01-01T00:00:00Z')
const PROBLEM: CertificateProblem = { message: 'Cannot order: no answer', since: START, retriesAt: START + 60_000, attempts: 1 }

/** 90 days from START on. */
function identity(days = 90): Identity {
  const names = ['dns.example.net']
  return {
    names,
    addresses: [],
    notBefore: START,
    notAfter: START + days * DAY_MS,
    chainPem: '',
    keyPem: '',
    keyType: 'ec',
    fingerprint256: '',
  }
}

function state(rest: Partial<CertificateState> = {}): CertificateState {
  const names = ['dns.example.net', 'other.example.net']
  return { source: 'ACME ca.example', names, identities: [identity()], renewsAt: START + 60 * DAY_MS, problem: null, ...rest }
}

/** A watch over certificates that the test changes, at a time that the test sets. */
class Watched {
  certificates: readonly CertificateState[] = [state()]
  now = START
  readonly events: ControlEvent[] = []
  readonly lines: string[] = []
  readonly telemetry = new Telemetry(new Slab(Slab.allocate()))
  readonly watch: CertificateWatch

  constructor(t: TestContext) {
    const events = new Events()
    events.follow((event) => void this.events.push(event))
    this.watch = new CertificateWatch({
      certificates: () => this.certificates,
      log: pino({ base: null }, { write: (line: string) => void this.lines.push(line) }),
      events,
      meter: this.telemetry.certificateMeter(),
      clock: () => this.now,
    })
    t.after(() => this.watch.stop())
  }

  /** The days since START on which an alarm was raised, when it is looked every six hours. */
  alarms(from: number, until: number): readonly number[] {
    const days: number[] = []
    for (let day = from; day <= until; day += 0.25) {
      this.now = START + day * DAY_MS
      const before = this.events.length
      this.watch.look()
      if (this.events.length > before) days.push(day)
    }
    return days
  }

  count(name: string): number | undefined {
    return this.telemetry.read(`atlas_certificate_${name}`, [])[0]?.values[0]
  }
}

describe('the watch over certificates', () => {
  test('raises an alarm once a day when less than a sixth of the time is left (ACME-15)', (t) => {
    const watched = new Watched(t)
    assert.deepEqual(watched.alarms(0, 78), [75.25, 76.25, 77.25])
    const [event] = watched.events
    assert.equal(event?.type, 'certificate')
    assert.match(
      event?.message ?? '',
      /^the certificate of dns\.example\.net \(ACME ca\.example\) expires on 2026-04-01T00:00:00\.000Z, and/,
    )
    assert.match(watched.lines[0] ?? '', /"level":40,.*"name":"dns\.example\.net"/)
  })

  test('measures by the time of each, be it six days', (t) => {
    const watched = new Watched(t)
    watched.certificates = [state({ identities: [identity(6)] })]
    assert.deepEqual(watched.alarms(0, 7), [5.25, 6.25])
    assert.match(watched.events.at(-1)?.message ?? '', /has expired on/)
  })

  test('is silent about a renewed one, and tells at once of the next', (t) => {
    const watched = new Watched(t)
    watched.alarms(76, 76)
    watched.certificates = [state({ identities: [identity(160)] })]
    assert.deepEqual(watched.alarms(76.25, 76.5), [])
    watched.certificates = [state()]
    assert.deepEqual(watched.alarms(76.75, 77.5), [76.75])
  })

  test('of several kinds of key, the one that ends first counts', (t) => {
    const watched = new Watched(t)
    watched.certificates = [state({ identities: [identity(300), identity()] })]
    assert.deepEqual(watched.alarms(75.5, 75.5), [75.5])
  })

  test('one that has still to come alarms only when something is in its way', (t) => {
    const watched = new Watched(t)
    watched.certificates = [state({ identities: [] })]
    assert.deepEqual(watched.alarms(0, 2), [])
    assert.deepEqual(watched.watch.warnings, ['there is no certificate of dns.example.net (ACME ca.example) yet'])
    watched.certificates = [state({ identities: [], problem: PROBLEM })]
    assert.deepEqual(watched.alarms(3, 4.5), [3, 4])
    assert.match(watched.watch.warnings[0] ?? '', /yet: Cannot order: no answer$/)
  })

  test('a clock that is set back does not silence it', (t) => {
    const watched = new Watched(t)
    watched.certificates = [state({ identities: [], problem: PROBLEM })]
    watched.alarms(10, 10)
    assert.deepEqual(watched.alarms(5, 5.5), [5])
  })

  test('looks by itself', (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] })
    const watched = new Watched(t)
    watched.now = START + 80 * DAY_MS
    t.mock.timers.tick(3_600_000)
    assert.equal(watched.events.length, 1)
    watched.watch.stop()
    watched.now += 2 * DAY_MS
    t.mock.timers.tick(3_600_000)
    assert.equal(watched.events.length, 1)
  })

  test('warns of what cannot be renewed, long before it ends', (t) => {
    const watched = new Watched(t)
    assert.deepEqual(watched.watch.warnings, [])
    watched.certificates = [state({ problem: PROBLEM })]
    const warning = 'the certificate of dns.example.net (ACME ca.example) cannot be renewed: Cannot order: no answer'
    assert.deepEqual(watched.watch.warnings, [warning])
    assert.deepEqual(watched.alarms(1, 2), [])
  })

  test('tells of new ones and of failures', (t) => {
    const watched = new Watched(t)
    watched.watch.changed(state())
    watched.watch.failed(state({ problem: PROBLEM }))
    const [changed, failed] = watched.events
    assert.equal(changed?.message, 'there is a new certificate: dns.example.net')
    assert.equal(changed?.facts.notAfter, '2026-04-01T00:00:00.000Z')
    assert.match(failed?.message ?? '', /the present one stays in use: dns\.example\.net: Cannot order: no answer$/)
    watched.watch.failed(state({ problem: PROBLEM, identities: [] }))
    assert.match(watched.events[2]?.message ?? '', /^cannot get a certificate: there is none yet: dns\.example\.net: /)
    assert.equal(failed?.facts.retriesAt, '2026-01-01T00:01:00.000Z')
    assert.equal(watched.count('renewals_total'), 1)
    assert.equal(watched.count('renewal_failures_total'), 1)
  })

  test('counts every attempt that failed, although it is told of the first only', (t) => {
    const watched = new Watched(t)
    const failing = (since: number, attempts: number): void => {
      watched.certificates = [state({ problem: { ...PROBLEM, since, attempts } })]
      watched.watch.look()
    }
    watched.watch.look()
    assert.equal(watched.count('renewal_failures_total'), 0)
    failing(START, 1)
    failing(START, 4)
    failing(START, 4)
    assert.equal(watched.count('renewal_failures_total'), 4)
    // it worked in between
    failing(START + 5, 2)
    assert.equal(watched.count('renewal_failures_total'), 6)
    watched.certificates = [state()]
    watched.watch.look()
    failing(START + 5, 1)
    assert.equal(watched.count('renewal_failures_total'), 7)
  })

  test('has a series for each name, of two the earlier end, and none of what is gone', (t) => {
    const watched = new Watched(t)
    const rsa = state({ source: 'rsa.pem', identities: [identity(30)], renewsAt: null })
    const missing = state({ names: ['new.example'], identities: [], renewsAt: START })
    watched.certificates = [state(), rsa, missing]
    assert.deepEqual(watched.watch.series(), [
      { labels: { name: 'dns.example.net' }, expirySeconds: 30 * 86_400, dueSeconds: 60 * 86_400 },
      { labels: { name: 'new.example' }, expirySeconds: null, dueSeconds: 0 },
    ])
    watched.certificates = []
    assert.deepEqual(watched.watch.series(), [])
  })
})
