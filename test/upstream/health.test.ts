import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { Failure } from '../../dns/failure.ts'
import { Grade } from '../../upstream/candidate.ts'
import { Health } from '../../upstream/health.ts'
import { HealthProber } from '../../upstream/health-prober.ts'
import { allocateHealth, HealthRow, HealthState, rowOfNonce } from '../../upstream/health-table.ts'
import { Ladder } from '../../upstream/ladder.ts'
import { HandServer, Ward } from '../harness/candidates.ts'
import { HandClock } from '../harness/lab.ts'

const REFUSED = (query: Parameters<HandServer['send']>[0], sink: Parameters<HandServer['send']>[1]): void =>
  sink.failed(query, Failure.upstream_network)

describe('the health of a server', () => {
  test('is unknown until it has answered, and then it is up', () => {
    const ward = new Ward(1)
    assert.deepEqual([ward.row(0).state, ward.healths[0]?.grade(ward.clock.now)], [HealthState.UNKNOWN, Grade.POOR])
    ward.ask()
    ward.clock.advance(20)
    ward.server(0).answer()
    assert.deepEqual([ward.row(0).state, ward.healths[0]?.grade(ward.clock.now)], [HealthState.UP, Grade.GOOD])
    assert.ok(ward.row(0).rttMs > 15 && ward.row(0).rttMs <= 20)
  })

  test('is found out before a client asks where there is a choice', () => {
    const ward = new Ward(2)
    ward.server(1).obliges = true
    for (const health of ward.healths) health.introduce()
    ward.clock.advance(50)
    assert.deepEqual([ward.row(0).state, ward.row(1).state], [HealthState.UNKNOWN, HealthState.UP])
    // the first in the order has not shown that it works, the second has
    ward.ask()
    assert.deepEqual(ward.counts(), [0, 1])
    ward.clock.advance(5000)
    assert.equal(ward.row(0).state, HealthState.DOWN)
  })

  test('is in doubt when a question is late and nothing has come since, and a probe tells at once', () => {
    const ward = new Ward(2).introduce()
    ward.ask()
    ward.clock.advance(160)
    assert.equal(ward.row(0).state, HealthState.SUSPECT)
    assert.equal(ward.row(0).reason, Failure.upstream_timeout)
    ward.counts()
    ward.ask('b.example')
    assert.deepEqual(ward.counts(), [0, 1])
    // the probe waits its turn: the last one was a moment ago
    ward.clock.advance(500)
    assert.ok(ward.server(0).probes > 1)
    ward.server(0).answer()
    assert.equal(ward.row(0).state, HealthState.UP)
    assert.equal(ward.row(0).recoveredAt, 0)
  })

  test('is not doubted for a name that takes its time while others are answered', () => {
    const ward = new Ward(2).introduce()
    ward.ask('slow.example')
    const [slow] = ward.server(0).open.splice(0)
    for (let i = 0; i < 30; i++) {
      ward.clock.advance(10)
      ward.ask(`n${i}.example`)
      ward.server(0).answer()
    }
    assert.ok(slow)
    assert.equal(ward.row(0).state, HealthState.UP)
  })

  test('is in doubt when four questions in a row stay without an answer, long before the first is late', () => {
    const ward = new Ward(2).introduce()
    ward.clock.advance(200)
    for (let i = 0; i < 4; i++) ward.ask(`n${i}.example`)
    ward.clock.advance(40)
    ward.counts()
    ward.ask('next.example')
    assert.deepEqual(ward.counts(), [0, 1])
    assert.equal(ward.row(0).state, HealthState.SUSPECT)
  })

  test('is down after two probes, and is asked ever less often, up to half a minute', () => {
    const ward = new Ward(2).introduce()
    ward.server(1).obliges = true
    ward.ask()
    ward.clock.advance(3000)
    assert.equal(ward.row(0).state, HealthState.DOWN)
    const before = ward.server(0).probes
    for (let second = 0; second < 300; second++) ward.clock.advance(1000)
    const probes = ward.server(0).probes - before
    assert.ok(probes >= 8 && probes <= 20, `${probes}`)
    ward.server(0).obliges = true
    for (let second = 0; second < 40; second++) ward.clock.advance(1000)
    assert.equal(ward.row(0).state, HealthState.UP)
  })

  test('has a server that was down begin slowly', () => {
    const ward = new Ward(2).introduce()
    ward.server(1).obliges = true
    ward.ask()
    ward.clock.advance(3000)
    ward.server(0).obliges = true
    while (ward.row(0).state !== HealthState.UP) ward.clock.advance(100)
    const shares = Array.from({ length: 11 }, () => {
      ward.counts()
      for (let i = 0; i < 200; i++) ward.ask(`n${i}.example`)
      ward.clock.advance(1000)
      return (ward.counts()[0] ?? 0) / 200
    })
    assert.ok((shares[0] ?? 1) < 0.2, `${shares}`)
    assert.ok((shares[5] ?? 0) > 0.3 && (shares[5] ?? 1) < 0.75, `${shares}`)
    assert.equal(shares[10], 1)
  })

  test('is doubted at once when nobody listens, and its reason is kept', () => {
    const ward = new Ward(2).introduce()
    ward.server(0).react = REFUSED
    ward.server(1).obliges = true
    assert.ok(ward.ask().answer)
    assert.deepEqual([ward.row(0).state, ward.row(0).reason], [HealthState.SUSPECT, Failure.upstream_network])
    ward.clock.advance(2000)
    assert.equal(ward.row(0).state, HealthState.DOWN)
  })

  test('makes a server that loses questions the second choice, until it loses none', () => {
    const ward = new Ward(2).introduce()
    ward.server(1).obliges = true
    ward.server(0).answersProbes = true
    for (let i = 0; i < 200 && ward.row(0).loss <= 0.1; i++) {
      ward.ask(`n${i}.example`)
      // every fourth is lost: after four seconds that is certain
      if (i % 4 > 0) ward.server(0).answer()
      else ward.server(0).open.pop()
      ward.clock.advance(1000)
    }
    assert.ok(ward.row(0).loss > 0.1)
    ward.server(0).obliges = true
    ward.clock.advance(5000)
    ward.counts()
    for (let i = 0; i < 64; i++) ward.ask(`m${i}.example`)
    const [first = 0, second = 0] = ward.counts()
    assert.ok(first <= 2 && second === 64, `${first} ${second}`)
    for (let i = 0; i < 64 * 60; i++) ward.ask(`o${i}.example`)
    ward.counts()
    for (let i = 0; i < 10; i++) ward.ask(`p${i}.example`)
    assert.deepEqual(ward.counts(), [10, 0])
  })

  test('does not hold our own bounds against the server', () => {
    const ward = new Ward(1).introduce()
    ward.server(0).react = (query, sink) => sink.failed(query, Failure.overloaded)
    assert.equal(ward.ask().failure, Failure.overloaded)
    assert.deepEqual([ward.row(0).state, ward.row(0).loss], [HealthState.UP, 0])
  })

  test('suffers when it says that it cannot resolve what another one can', () => {
    const ward = new Ward(2).introduce()
    ward.server(1).obliges = true
    for (let i = 0; i < 20; i++) {
      ward.ask(`n${i}.example`)
      ward.server(0).answer(2)
      ward.server(1).answer()
    }
    assert.equal(ward.healths[0]?.grade(ward.clock.now), Grade.POOR)
  })

  test('is not mended by a SERVFAIL to a question that another one has answered before', () => {
    const ward = new Ward(2).introduce()
    ward.server(1).obliges = true
    while (ward.healths[0]?.grade(ward.clock.now) !== Grade.POOR) {
      ward.ask('first.example')
      ward.server(0).answer(2)
      ward.server(1).answer()
    }
    ward.counts()
    // it is sent one of 64, to see, and says each time that it cannot, after the other has answered
    for (let i = 0; i < 64 * 20; i++) {
      ward.ask(`n${i}.example`)
      ward.server(0).answer(2)
    }
    assert.deepEqual(ward.counts(), [20, 64 * 20])
    assert.equal(ward.healths[0]?.grade(ward.clock.now), Grade.POOR)
  })
})

describe('what one thread finds out', () => {
  /** Two threads that know one server. */
  function twoThreads() {
    const clock = new HandClock()
    const memory = allocateHealth()
    const threads = [0, 1].map(() => {
      const wheel = clock.makeWheel()
      const prober = new HealthProber({ clock: () => clock.now, wheel, loopLabel: 'loop' })
      const server = new HandServer('shared', { isLossy: false, wheel })
      return { server, health: new Health(server, new HealthRow(memory, 7), prober) }
    })
    const [a, b] = threads as [(typeof threads)[0], (typeof threads)[0]]
    const row = new HealthRow(memory, 7)
    row.change(HealthState.UNKNOWN, HealthState.UP, clock.now)
    return { clock, a, b, row }
  }

  test('all know, and one of them probes', () => {
    const { clock, a, b, row } = twoThreads()
    clock.advance(1000)
    a.health.late(clock.now - 10, clock.now)
    assert.equal(b.health.grade(clock.now), Grade.DOUBTFUL)
    clock.advance(300)
    assert.equal(a.server.probes + b.server.probes, 1)
    clock.advance(5000)
    assert.equal(row.state, HealthState.DOWN)
    assert.ok(a.server.probes + b.server.probes <= 6)
  })

  test('a thread that waits for what was asked before does not doubt it again', () => {
    const { clock, a, b, row } = twoThreads()
    clock.advance(1000)
    for (let i = 0; i < 8; i++) a.health.sent(clock.now)
    const sentAt = clock.now
    clock.advance(200)
    b.health.late(sentAt, clock.now)
    clock.advance(500)
    for (const { server } of [a, b]) server.answer()
    assert.equal(row.state, HealthState.UP)
    clock.advance(200)
    assert.equal(a.health.grade(clock.now), Grade.GOOD)
    a.health.failed(Failure.upstream_timeout, sentAt, clock.now)
    assert.equal(row.state, HealthState.UP)
  })
})

describe('a server that leads back to us', () => {
  test('is recognized by a question that comes back, and asked again when none does', () => {
    const ward = new Ward(1)
    ward.ask()
    ward.clock.advance(2200)
    assert.equal(ward.row(0).state, HealthState.SUSPECT)
    // with each of the two probes, since the first was lost
    assert.equal(ward.server(0).loopProbes, 2)
    const { nonce } = ward.row(0)
    assert.equal(rowOfNonce(ward.memory, nonce)?.state, HealthState.SUSPECT)
    assert.equal(rowOfNonce(ward.memory, nonce + 1), null)
    assert.equal(rowOfNonce(ward.memory, 0), null)
    // it has come to a listener (gateway/stages/loop.ts)
    ward.row(0).nonce = 0
    ward.row(0).change(HealthState.SUSPECT, HealthState.LOOP, ward.clock.now)
    // what is answered there now is of no use: we have asked it of ourselves
    ward.server(0).answer()
    assert.equal(ward.row(0).state, HealthState.LOOP)
    ward.server(0).obliges = true
    for (let second = 0; second < 60; second++) ward.clock.advance(1000)
    assert.equal(ward.row(0).state, HealthState.UP)
  })

  /** The last question that looks for a loop has come to a listener (gateway/stages/loop.ts). */
  function returned(ward: Ward): void {
    const { nonce, state } = ward.row(0)
    assert.notEqual(nonce, 0)
    ward.row(0).nonce = 0
    ward.row(0).change(state, HealthState.LOOP, ward.clock.now)
  }

  test('is looked for with its first probe, and then when it is in doubt, once in ten seconds at most', () => {
    const ward = new Ward(2).introduce()
    const { server, row, clock } = { server: ward.server(0), row: ward.row(0), clock: ward.clock }
    const start = clock.now
    assert.deepEqual([row.state, server.loopProbes, row.nonce], [HealthState.UP, 1, 0])
    /** In doubt for a moment, until an answer comes: perhaps from another server, by way of us. */
    const doubt = (): void => {
      ward.ask()
      while (row.state === HealthState.UP) clock.advance(10)
      server.answer()
      ward.server(1).answer()
      assert.equal(row.state, HealthState.UP)
      clock.advance(60)
    }
    for (let i = 0; i < 5; i++) doubt()
    assert.ok(clock.now < start + 9000)
    assert.equal(server.loopProbes, 1)
    clock.advance(10_000)
    doubt()
    assert.equal(server.loopProbes, 2)
    doubt()
    assert.equal(server.loopProbes, 2)
  })

  test('is asked by nobody until another than we has answered such a question, and then is up with the next probe', () => {
    const ward = new Ward(1).introduce()
    const { server, clock } = { server: ward.server(0), clock: ward.clock }
    clock.advance(10_000)
    ward.ask()
    clock.advance(200)
    returned(ward)
    const probes = server.probes
    // each probe is answered, by us in the end, and each question that looks for the loop comes back
    for (let second = 0; second < 60; second++) {
      clock.advance(1000)
      if (ward.row(0).nonce !== 0) returned(ward)
      server.answer()
      assert.equal(ward.row(0).state, HealthState.LOOP)
    }
    // ever less often: after a second, two, four, eight, 16, 30
    assert.ok(server.probes - probes <= 8, `${server.probes - probes}`)
    const before = server.loopProbes
    while (server.loopProbes === before) clock.advance(50)
    // the one for the root is answered first: that may have been us
    server.open.reverse()
    server.answer()
    assert.equal(ward.row(0).state, HealthState.SUSPECT)
    clock.advance(200)
    server.answer()
    assert.equal(ward.row(0).state, HealthState.UP)
  })
})

describe('a ladder', () => {
  function ladderOf(ward: Ward) {
    const clock = () => ward.clock.now
    return new Ladder('quad9', ward.selection.candidates, { clock, wheel: ward.clock.makeWheel() })
  }

  test('takes the best way that works, and remembers it', () => {
    const ward = new Ward(3).introduce([30, 20, 10])
    const ladder = ladderOf(ward)
    assert.equal(ladder.rttMs, 30)
    ward.server(0).react = REFUSED
    ward.server(1).answersProbes = true
    ward.ask()
    ward.clock.advance(3000)
    assert.equal(ladder.rttMs < 30, true)
    assert.equal(ladder.grade(ward.clock.now), Grade.GOOD)
    ward.server(0).react = null
    ward.server(0).obliges = true
    for (let second = 0; second < 60; second++) ward.clock.advance(1000)
    assert.equal(ladder.rttMs, ward.row(0).rttMs)
  })

  test('is as healthy as the best of its ways', () => {
    const ward = new Ward(2).introduce()
    const ladder = ladderOf(ward)
    for (const [i, grade] of [Grade.GOOD, Grade.DOWN].entries()) {
      ward.row(i).change(HealthState.UP, HealthState.DOWN, ward.clock.now)
      assert.equal(ladder.grade(ward.clock.now), grade)
    }
  })

  test('never asks in the clear because a certificate was refused', () => {
    const ward = new Ward(2, { isAuthenticated: (i) => i === 0 }).introduce()
    const ladder = ladderOf(ward)
    const { query } = askedOf(ward)
    ward.server(0).react = (_, sink) => sink.failed(query, Failure.upstream_certificate)
    ward.server(1).obliges = true
    let failure: Failure | null = null
    ladder.send(query, { answered: () => assert.fail('answered'), failed: (_, reason) => (failure = reason) })
    assert.equal(failure, Failure.upstream_certificate)
    assert.equal(ward.server(1).asked, 0)
  })

  /** A question that was asked of the ward's own selection, to be asked again. */
  function askedOf(ward: Ward) {
    ward.ask()
    const held = ward.servers.flatMap(({ open }) => open)[0]
    for (const server of ward.servers) server.answer()
    ward.counts()
    assert.ok(held)
    return held
  }
})
