import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { Failure } from '../../dns/failure.ts'
import { Rcode } from '../../dns/types.ts'
import { HealthState } from '../../upstream/health-table.ts'
import { fastest, hashed, ordered, race, roundRobin, weighted } from '../../upstream/strategies.ts'
import { type HandServer, Ward } from '../harness/candidates.ts'

/** Has all servers answer. */
function obliging(ward: Ward): Ward {
  for (const server of ward.servers) server.obliges = true
  return ward
}

const STRATEGIES = { ordered, 'round-robin': () => roundRobin(3), weighted, fastest, race, hash: hashed } as const

for (const [name, strategy] of Object.entries(STRATEGIES)) {
  describe(`strategy ${name}`, () => {
    test('has every question answered, by one server', () => {
      const ward = obliging(new Ward(3, { strategy: strategy() }).introduce())
      for (let i = 0; i < 60; i++) assert.ok(ward.ask(`n${i}.example`).answer)
      assert.equal(
        ward.counts().reduce((sum, count) => sum + count),
        60,
      )
    })

    test('asks another when the first is late, and takes the first answer', () => {
      const ward = new Ward(3, { strategy: strategy() }).introduce()
      const outcome = ward.ask()
      const first = ward.servers.find(({ asked }) => asked === 1) as HandServer
      ward.clock.advance(160)
      const second = ward.servers.find((server) => server !== first && server.asked === 1)
      assert.ok(second, 'nobody else was asked')
      second.answer()
      assert.ok(outcome.answer)
      first.answer() // late: of no use, and no harm
    })

    test('passes over at once who cannot be reached', () => {
      const ward = new Ward(3, { strategy: strategy() }).introduce()
      for (const server of ward.servers) server.react = (query, sink) => sink.failed(query, Failure.upstream_network)
      ward.server(2).react = null
      ward.server(2).obliges = true
      assert.ok(ward.ask().answer)
    })

    test('passes over at once who answers with an error, and tells that when all do', () => {
      const ward = new Ward(3, { strategy: strategy() }).introduce()
      const outcome = ward.ask()
      for (const _ of ward.servers) for (const server of ward.servers) if (server.open.length > 0) server.answer(Rcode.SERVFAIL)
      assert.equal(outcome.answer?.rcode, Rcode.SERVFAIL)
      assert.deepEqual(ward.counts(), [1, 1, 1])
    })

    test('makes nobody wait for a server that has died', () => {
      const ward = obliging(new Ward(3, { strategy: strategy() }).introduce())
      ward.server(0).obliges = false
      let waited = 0
      for (let i = 0; i < 1000; i++) {
        const outcome = ward.ask(`n${i}.example`)
        if (outcome.answer === null) waited++
        ward.clock.advance(10)
      }
      // 100 questions a second: until it has not answered a few, or one for long enough
      assert.ok(waited <= 16, `${waited} waited`)
      assert.equal(ward.row(0).state, HealthState.DOWN)
    })

    test('asks those that are down where nobody else is left, and finds out when they are back', () => {
      const ward = new Ward(3, { strategy: strategy() }).introduce()
      const outcome = ward.ask('a.example', 3000)
      ward.clock.advance(8000)
      assert.equal(outcome.failure, Failure.upstream_timeout)
      const next = ward.ask('b.example')
      const asked = ward.servers.find((server) => server.open.some(({ query }) => query.client.port !== 0))
      assert.ok(asked, 'nobody was asked')
      asked.answer()
      assert.ok(next.answer)
    })
  })
}

test('ordered: the first as long as it works', () => {
  const ward = obliging(new Ward(3).introduce([50, 1, 1]))
  for (let i = 0; i < 20; i++) ward.ask(`n${i}.example`)
  assert.deepEqual(ward.counts(), [20, 0, 0])
})

test('round-robin: each in turn', () => {
  const ward = obliging(new Ward(3, { strategy: roundRobin(3) }).introduce())
  for (let i = 0; i < 30; i++) ward.ask(`n${i}.example`)
  assert.deepEqual(ward.counts(), [10, 10, 10])
})

test('weighted: in proportion to the weights', () => {
  const ward = obliging(new Ward(3, { strategy: weighted(), weights: [6, 3, 1] }).introduce())
  for (let i = 0; i < 10_000; i++) ward.ask(`n${i}.example`)
  const counts = ward.counts()
  for (const [i, share] of [0.6, 0.3, 0.1].entries()) {
    assert.ok(Math.abs((counts[i] ?? 0) / 10_000 - share) < 0.03, `${counts}`)
  }
})

test('fastest: the quickest, and 1 in 64 also another one, for which nobody waits', () => {
  const ward = obliging(new Ward(3, { strategy: fastest() }).introduce([40, 5, 30]))
  for (let i = 0; i < 640; i++) assert.ok(ward.ask(`n${i}.example`).answer)
  const [first = 0, best = 0, last = 0] = ward.counts()
  assert.equal(best, 640)
  assert.ok(first + last >= 8 && first + last <= 12, `${first} ${last}`)
})

test('fastest: whose question is also sent elsewhere to see is not asked of others any later', () => {
  const ward = new Ward(3, { strategy: fastest() }).introduce([5, 500, 6])
  const slow = ward.server(1)
  for (let i = 0; slow.asked === 0; i++) {
    for (const server of ward.servers) server.answer()
    ward.counts()
    ward.ask(`n${i}.example`)
  }
  ward.clock.advance(160)
  assert.deepEqual(ward.counts(), [1, 1, 1])
})

test('fastest: goes over to a server that has become quicker', () => {
  const ward = new Ward(2, { strategy: fastest() }).introduce([30, 20])
  for (let i = 0; i < 64 * 40; i++) {
    ward.ask(`n${i}.example`)
    ward.server(0).answer() // at once
    ward.clock.advance(10)
    ward.server(1).answer()
  }
  const [first = 0, second = 0] = ward.counts()
  assert.ok(first > second, `${first} ${second}`)
})

test('race: a second question after the p95, as long as the budget of one for ten lasts', () => {
  const ward = new Ward(2, { strategy: race() }).introduce([10, 12])
  let hedged = 0
  for (let i = 0; i < 2000; i++) {
    ward.ask(`n${i}.example`)
    ward.clock.advance(40)
    if (ward.servers.every(({ open }) => open.length > 0)) hedged++
    for (const server of ward.servers) server.answer()
  }
  // all take 40 ms now: soon that is normal, and until then the budget holds
  assert.ok(hedged > 10 && hedged <= 50 + 200, `${hedged}`)
})

test('race: without budget, the second is asked when the first is late', () => {
  const ward = new Ward(2, { strategy: race() }).introduce([1, 1])
  for (let i = 0; i < 80; i++) ward.ask(`n${i}.example`)
  ward.clock.advance(100)
  const asked = ward.counts().reduce((sum, count) => sum + count)
  assert.ok(asked <= 80 + 60, `${asked}`)
  ward.clock.advance(100)
  assert.ok(ward.counts().reduce((sum, count) => sum + count) >= 20)
})

test('hash: a name has its server, whatever its letters are, and other names others', () => {
  const ward = obliging(new Ward(3, { strategy: hashed() }).introduce())
  for (let i = 0; i < 300; i++) ward.ask(`n${i}.example`)
  const counts = ward.counts()
  assert.ok(
    counts.every((count) => count > 60),
    `${counts}`,
  )
  for (const name of ['www.example', 'WWW.example', 'www.EXAMPLE']) ward.ask(name)
  assert.deepEqual(ward.counts().toSorted(), [0, 0, 3])
})

test('hash: when a server goes, only its own names move, and they come back with it', () => {
  const serverOf = (ward: Ward, name: string): number => {
    ward.ask(name)
    return ward.counts().indexOf(1)
  }
  const ward = obliging(new Ward(3, { strategy: hashed() }).introduce())
  const names = Array.from({ length: 200 }, (_, i) => `n${i}.example`)
  const before = names.map((name) => serverOf(ward, name))
  ward.row(1).change(HealthState.UP, HealthState.DOWN, ward.clock.now)
  const without = names.map((name) => serverOf(ward, name))
  for (const [i, server] of before.entries()) if (server !== 1) assert.equal(without[i], server)
  assert.ok(!without.includes(1))
  ward.row(1).change(HealthState.DOWN, HealthState.UP, ward.clock.now)
  assert.deepEqual(
    names.map((name) => serverOf(ward, name)),
    before,
  )
})

test('a server that is much slower than the best is passed over, and has its share again when it no longer is', () => {
  const ward = obliging(new Ward(3, { strategy: roundRobin(3) }).introduce([500, 2, 3]))
  for (let i = 0; i < 60; i++) ward.ask(`n${i}.example`)
  assert.ok((ward.counts()[0] ?? 0) <= 1)
  // those that are sent to it to see
  for (let i = 0; i < 64 * 30; i++) {
    ward.clock.advance(10)
    ward.ask(`m${i}.example`)
  }
  ward.counts()
  for (let i = 0; i < 60; i++) ward.ask(`o${i}.example`)
  assert.ok((ward.counts()[0] ?? 0) >= 20)
})

test('a strict selection asks nobody in the clear once a certificate was refused, then or later', () => {
  const ward = new Ward(2, { isStrict: true, isAuthenticated: (i) => i === 0 }).introduce()
  const [secure, plain] = [ward.server(0), ward.server(1)]
  plain.obliges = true
  secure.react = (query, sink) => sink.failed(query, Failure.upstream_certificate)
  for (let i = 0; i < 10; i++) {
    assert.equal(ward.ask(`n${i}.example`).failure, Failure.upstream_certificate)
    ward.clock.advance(1000)
  }
  assert.equal(plain.asked, 0)
  // merely away: what the operator has written down as the next way is taken
  secure.react = (query, sink) => sink.failed(query, Failure.upstream_network)
  ward.clock.advance(60_000)
  assert.ok(ward.ask('last.example').answer)
})

test('nobody is asked who leads back to us', () => {
  const ward = obliging(new Ward(1).introduce())
  ward.row(0).change(HealthState.UP, HealthState.LOOP, ward.clock.now)
  assert.equal(ward.ask().failure, Failure.upstream_loop)
  assert.deepEqual(ward.counts(), [0])
})

test('one question goes to one server three times at most, on datagrams', () => {
  const ward = new Ward(2, { isLossy: true }).introduce()
  ward.ask()
  ward.clock.advance(3990)
  assert.deepEqual(ward.counts(), [3, 3])
})

test('a stream is asked once: it repeats by itself what is lost', () => {
  const ward = new Ward(2).introduce()
  ward.ask()
  ward.clock.advance(3990)
  assert.deepEqual(ward.counts(), [1, 1])
})
