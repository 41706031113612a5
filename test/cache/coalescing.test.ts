import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { Failure } from '../../dns/failure.ts'
import { HELD, LEASE_BYTES, Leases, UNLEASED } from '../../gateway/cache/leases.ts'
import { NO_CACHE_METER, testMemory } from '../harness/cache.ts'
import { HandClock, Lab } from '../harness/lab.ts'
import { aRecord, client, type QuestionParts } from '../harness/messages.ts'
import { edeOf, rcode } from '../harness/pipeline.ts'

/** Two threads on one memory. */
function pair(): [Lab, Lab, HandClock] {
  const clock = new HandClock()
  const memory = testMemory()
  return [new Lab({ clock, memory, owner: 1 }), new Lab({ clock, memory, owner: 2 }), clock]
}

describe('the same question of several clients', () => {
  test('travels once, and all are answered, each in its own form', () => {
    let coalesced = 0
    const lab = new Lab({ meter: { ...NO_CACHE_METER, coalesced: () => coalesced++ } })
    const replies = ['udp', 'tcp', 'dot', 'doh2', 'doq'].map((transport, i) =>
      lab.ask({ name: i % 2 === 0 ? 'www.example' : 'WWW.example', id: transport === 'doq' ? 0 : 100 + i }, client(transport as 'udp')),
    )
    assert.equal(lab.sent, 1)
    lab.answer({ answers: [aRecord('192.0.2.1', { ttl: 0 })] })
    for (const [i, { message }] of replies.entries()) {
      assert.equal(rcode(message as Buffer), 0)
      assert.ok(message?.includes(Buffer.from(i % 2 === 0 ? 'www' : 'WWW')))
    }
    assert.equal(coalesced, 4)
    assert.ok(lab.isIdle)
    lab.ask('www.example')
    assert.equal(lab.sent, 2, 'a TTL of 0 is for those who waited')
  })

  test('fails for all', () => {
    const lab = new Lab()
    const replies = Array.from({ length: 100 }, () => lab.ask('www.example'))
    lab.fail(Failure.upstream_timeout)
    for (const { message } of replies) assert.deepEqual([rcode(message as Buffer), edeOf(message as Buffer)], [2, 22])
    assert.equal(lab.sent, 1)
    assert.ok(lab.isIdle)
  })

  for (const [what, parts] of [
    ['another type', { type: 28 }],
    ['DO', { optFlags: 0x8000 }],
    ['CD', { flags: 0x0110 }],
    ['another name', { name: 'www2.example' }],
  ] as [string, Partial<QuestionParts>][]) {
    test(`is another one with ${what}`, () => {
      const lab = new Lab()
      lab.ask('www.example')
      lab.ask({ name: 'www.example', ...parts })
      assert.equal(lab.sent, 2)
    })
  }

  test('is asked again of the servers that are asked now', () => {
    const lab = new Lab()
    lab.ask('www.example')
    lab.moveTo(2)
    lab.ask('www.example')
    assert.equal(lab.sent, 2)
  })
})

describe('the same question in two threads', () => {
  test('travels once: the other looks for the answer', () => {
    const [a, b, clock] = pair()
    const first = a.ask('www.example')
    const second = b.ask('www.example')
    assert.deepEqual([a.sent, b.sent], [1, 0])
    clock.advance(50)
    a.answer({ answers: [aRecord()] })
    assert.equal(first.rcode, 0)
    assert.equal(second.message, null)
    clock.advance(160)
    assert.equal(second.rcode, 0)
    assert.equal(b.sent, 0)
    assert.ok(b.isIdle)
  })

  test('fails in both', () => {
    const [a, b, clock] = pair()
    a.ask('www.example')
    const second = b.ask('www.example')
    a.fail(Failure.upstream_network)
    clock.advance(20)
    assert.deepEqual([second.rcode, second.ede], [2, 13])
    assert.equal(b.sent, 0)
  })

  test('is asked by the other where the answer may not be kept', () => {
    const [a, b, clock] = pair()
    a.ask('www.example')
    const second = b.ask('www.example')
    a.answer({ answers: [aRecord('192.0.2.1', { ttl: 0 })] })
    clock.advance(20)
    assert.equal(b.sent, 1)
    b.answer({ answers: [aRecord('192.0.2.1', { ttl: 0 })] })
    assert.equal(second.rcode, 0)
  })

  test('is asked by the other when the first has died with it', () => {
    const [a, b, clock] = pair()
    a.ask('www.example')
    clock.advance(3000)
    const second = b.ask('www.example')
    clock.advance(1500)
    assert.equal(b.sent, 1)
    b.answer({ answers: [aRecord()] })
    assert.equal(second.rcode, 0)
  })

  test('that never comes back ends with the deadline of who waits', () => {
    const [a, b, clock] = pair()
    a.ask('www.example')
    const second = b.ask('www.example')
    clock.advance(4200)
    assert.equal(second.rcode, 2)
    assert.ok(b.isIdle)
  })

  test('is refreshed by one of them', () => {
    const [a, b, clock] = pair()
    a.ask('www.example')
    a.answer({ answers: [aRecord('192.0.2.1', { ttl: 10 })] })
    for (let i = 0; i < 3; i++) b.ask('www.example')
    clock.advance(9500)
    for (const lab of [a, b, a, b]) lab.ask('www.example')
    clock.advance(20)
    assert.equal(a.sent + b.sent, 2)
    assert.deepEqual([a.isIdle, b.isIdle], [true, true])
  })

  test('with an expired answer waits no longer than 1.8 s for it', () => {
    const [a, b, clock] = pair()
    a.ask('www.example')
    a.answer({ answers: [aRecord('192.0.2.1', { ttl: 10 })] })
    clock.advance(11_000)
    a.ask('www.example')
    const second = b.ask('www.example')
    clock.advance(1790)
    assert.equal(second.message, null)
    clock.advance(20)
    assert.equal(second.ede, 3)
  })
})

describe('too many at once', () => {
  test('are SERVFAIL: queries that wait', () => {
    const lab = new Lab()
    for (let i = 0; i < 20_000; i++) lab.ask('www.example')
    assert.deepEqual([lab.sent, lab.ask('www.example').rcode], [1, 2])
    lab.answer({ answers: [aRecord()] })
    assert.equal(lab.ask('www.example').rcode, 0)
  })

  test('are SERVFAIL: questions on their way, also when their clients have expired answers', () => {
    const lab = new Lab()
    for (let i = 0; i < 20_000; i++) lab.ask(`host${i}.example`)
    assert.equal(lab.ask('www.example').rcode, 2)
  })

  test('have the same number by chance: each is asked', () => {
    const lab = new Lab({ bytes: 0 })
    lab.cache.idOf = () => 7
    const [first, second] = [lab.ask('www.example'), lab.ask('other.example')]
    assert.equal(lab.sent, 2)
    lab.answer({ answers: [aRecord('192.0.2.1')] })
    assert.equal(second.message, null)
    lab.ask('www.example')
    lab.answer({ answers: [aRecord('192.0.2.2')] })
    assert.ok(first.wire.includes(Buffer.from([192, 0, 2, 1])))
    assert.ok(second.wire.includes(Buffer.from([192, 0, 2, 2])))
  })
})

test('the same number by chance for other servers: each is asked', () => {
  const lab = new Lab({ bytes: 0 })
  lab.cache.idOf = () => 7
  lab.ask('www.example')
  lab.moveTo(2)
  lab.ask('www.example')
  assert.equal(lab.sent, 2)
})

describe('a lease', () => {
  const leases = () => new Leases(new SharedArrayBuffer(LEASE_BYTES))

  test('has one holder until it is given back, or has ended', () => {
    const of = leases()
    const lease = of.acquire(77, 1000, 5000)
    assert.notEqual(lease, HELD)
    assert.equal(of.acquire(77, 4999, 9000), HELD)
    of.release(77, lease)
    assert.notEqual(of.acquire(77, 1000, 5000), HELD)
    assert.notEqual(of.acquire(77, 5000, 9000), HELD, 'ended')
  })

  test('that has ended is not given back by who had it', () => {
    const of = leases()
    const old = of.acquire(77, 1000, 5000)
    of.acquire(77, 5000, 9000)
    of.release(77, old)
    assert.equal(of.acquire(77, 5000, 9000), HELD)
  })

  test('is of one question, whatever the time', () => {
    const of = leases()
    const held = Array.from({ length: 1000 }, (_, i) => of.acquire(i * 0x20_0001, 1000, 5000)).filter((lease) => lease === HELD)
    assert.ok(held.length <= 2, `${held.length} of 1,000 shared one by chance`)
    for (let i = 0; i < 1000; i++) assert.equal(of.acquire(i * 0x20_0001, 4000, 9000), HELD)
    // where the number of tenths of a second begins anew
    for (const now of [0, 2 ** 20 * 100 - 50, 2 ** 31, 2 ** 40]) {
      const fresh = leases()
      assert.notEqual(fresh.acquire(5, now, now + 4000), HELD)
      assert.equal(fresh.acquire(5, now + 3900, now + 8000), HELD, `${now}`)
      assert.notEqual(fresh.acquire(5, now + 4100, now + 8000), HELD, `${now}`)
      for (const hours of [5, 10, 15, 20, 28])
        assert.notEqual(fresh.acquire(5, now + hours * 3_600_000, now + hours * 3_600_000), HELD, `${hours} h`)
    }
  })

  test('is done without where there is no room', () => {
    const of = leases()
    let unleased = 0
    for (let i = 0; i < 100_000; i++) if (of.acquire(i * 0x20_0001, 1000, 5000) === UNLEASED) unleased++
    assert.ok(unleased > 80_000)
    for (let i = 0; i < 1000; i++) assert.notEqual(of.acquire(i * 0x20_0001, 5000, 9000), UNLEASED, 'those that have ended make room')
    of.release(1, UNLEASED)
  })
})

test('where nothing is kept no thread waits for another', () => {
  const clock = new HandClock()
  const memory = testMemory(0)
  const [a, b] = [new Lab({ clock, memory, owner: 1 }), new Lab({ clock, memory, owner: 2 })]
  a.ask('www.example')
  b.ask('www.example')
  assert.deepEqual([a.sent, b.sent], [1, 1])
})
