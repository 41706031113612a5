import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { Failure } from '../../dns/failure.ts'
import { Lab, ttlsOf } from '../harness/lab.ts'
import { aRecord, record, wireName } from '../harness/messages.ts'
import { edeOf } from '../harness/pipeline.ts'

const NXDOMAIN = 0x8183
const SERVFAIL = 0x8182
const SOA = record({
  owner: wireName('example'),
  type: 6,
  ttl: 60,
  rdata: Buffer.concat([wireName('a'), wireName('b'), Buffer.from(`${'00'.repeat(16)}0000003c`, 'hex')]),
})

/** A lab whose cache knows www.example, 10 s past its end of 60 s. */
function withExpired(options: { serveStaleMs?: number } = {}): Lab {
  const lab = new Lab(options)
  lab.ask('www.example')
  lab.answer({ answers: [aRecord('192.0.2.1', { ttl: 60 })] })
  lab.clock.advance(70_000)
  return lab
}

describe('an expired answer (RFC 8767)', () => {
  test('is given when the servers fail, with a TTL of 30 s and its reason', () => {
    const lab = withExpired()
    const reply = lab.ask('www.example')
    assert.equal(reply.message, null)
    lab.fail(Failure.upstream_network)
    assert.deepEqual([reply.rcode, ttlsOf(reply.message), reply.ede], [0, [30], 3])
  })

  test('is given after 1.8 s when they are slow; what they answer then is kept', () => {
    const lab = withExpired()
    const reply = lab.ask('www.example')
    lab.clock.advance(1790)
    assert.equal(reply.message, null)
    lab.clock.advance(20)
    assert.deepEqual([ttlsOf(reply.message), reply.ede], [[30], 3])
    // who comes while they are known to be slow does not wait
    assert.deepEqual(ttlsOf(lab.ask('www.example').message), [30])
    assert.equal(lab.sent, 2)
    lab.answer({ answers: [aRecord('192.0.2.2', { ttl: 60 })] })
    const fresh = lab.ask('www.example').message as Buffer
    assert.ok(fresh.includes(Buffer.from([192, 0, 2, 2])))
    assert.equal(edeOf(fresh), null)
    assert.equal(lab.sent, 2)
    assert.ok(lab.isIdle)
  })

  test('is not given while the servers answer in time', () => {
    const lab = withExpired()
    const reply = lab.ask('www.example')
    lab.clock.advance(1000)
    lab.answer({ answers: [aRecord('192.0.2.2')] })
    assert.ok(reply.message?.includes(Buffer.from([192, 0, 2, 2])))
    assert.equal(reply.ede, null)
  })

  test('is given at once for 30 s after a failure, and nobody is asked meanwhile', () => {
    const lab = withExpired()
    const first = lab.ask('www.example')
    lab.fail(Failure.upstream_network)
    assert.deepEqual([ttlsOf(first.message), first.ede], [[30], 3])
    for (let i = 0; i < 100; i++) {
      lab.clock.advance(290)
      assert.equal(lab.ask('www.example').ede, 3)
    }
    assert.equal(lab.sent, 2)
    lab.clock.advance(1000)
    lab.ask('www.example')
    assert.equal(lab.sent, 3)
  })

  test('is kept when the server says SERVFAIL, and gone when it says NXDOMAIN', () => {
    const lab = withExpired()
    const reply = lab.ask('www.example')
    lab.answer({ flags: SERVFAIL })
    assert.deepEqual([reply.rcode, reply.ede], [0, 3])
    lab.clock.advance(30_000)
    const denied = lab.ask('www.example')
    lab.answer({ flags: NXDOMAIN, authorities: [SOA] })
    assert.equal(denied.rcode, 3)
    lab.clock.advance(70_000)
    const stale = lab.ask('www.example')
    lab.fail(Failure.upstream_timeout)
    assert.deepEqual([stale.rcode, stale.ede], [3, 19], 'the newer denial, not the older address')
  })

  test('is the newer of an address and a denial', () => {
    const lab = new Lab()
    lab.ask({ name: 'www.example', type: 28 })
    lab.answer({ flags: NXDOMAIN, authorities: [SOA] })
    lab.clock.advance(61_000)
    lab.ask('www.example')
    lab.answer({ answers: [aRecord('192.0.2.1', { ttl: 60 })] })
    lab.clock.advance(61_000)
    const reply = lab.ask('www.example')
    lab.fail(Failure.upstream_timeout)
    assert.deepEqual([reply.rcode, reply.ede], [0, 3])
    const any = lab.ask({ name: 'www.example', type: 255 })
    lab.fail(Failure.upstream_timeout)
    assert.equal(any.rcode, 2, 'ANY is for ANY only')
  })

  test('is not one whose TTL was 0 (RFC 8767 §4)', () => {
    const lab = new Lab()
    lab.ask('www.example')
    lab.answer({ answers: [aRecord('192.0.2.1', { ttl: 0 })] })
    const reply = lab.ask('www.example')
    lab.fail(Failure.upstream_timeout)
    assert.equal(reply.rcode, 2)
  })

  test('is not given after the time the operator allows', () => {
    const lab = withExpired({ serveStaleMs: 3_600_000 })
    lab.clock.advance(3_600_000)
    const reply = lab.ask('www.example')
    lab.fail(Failure.upstream_timeout)
    assert.equal(reply.rcode, 2)
  })

  test('is not given at all when that is off', () => {
    const lab = withExpired({ serveStaleMs: 0 })
    const reply = lab.ask('www.example')
    lab.clock.advance(2000)
    assert.equal(reply.message, null)
    lab.fail(Failure.upstream_timeout)
    assert.equal(reply.rcode, 2)
  })

  test('is for those who have one: another question in the same flight of time is not touched', () => {
    const lab = withExpired()
    const other = lab.ask('other.example')
    lab.clock.advance(1900)
    assert.equal(other.message, null)
    lab.answer({ answers: [aRecord()] })
    assert.equal(other.rcode, 0)
  })
})

describe('an answer near its end', () => {
  test('is asked for again when it is popular, after its client has been answered', () => {
    const lab = new Lab()
    lab.ask('www.example')
    lab.answer({ answers: [aRecord('192.0.2.1', { ttl: 100 })] })
    for (let i = 0; i < 3; i++) lab.ask('www.example')
    lab.clock.advance(80_000)
    lab.ask('www.example')
    lab.clock.advance(10)
    assert.equal(lab.sent, 1, 'not yet')
    lab.clock.advance(11_000)
    assert.deepEqual(ttlsOf(lab.ask('www.example').message), [9])
    assert.equal(lab.sent, 1, 'not while the client is being answered')
    lab.clock.advance(20)
    assert.equal(lab.sent, 2)
    lab.ask('www.example')
    lab.clock.advance(20)
    assert.equal(lab.sent, 2, 'once')
    lab.answer({ answers: [aRecord('192.0.2.2', { ttl: 100 })] })
    assert.deepEqual(ttlsOf(lab.ask('www.example').message), [100])
  })

  test('is left alone when nobody asks for it, when that is off, and for a while after a failure', () => {
    const near = (options: { prefetch?: boolean }, times: number): Lab => {
      const lab = new Lab(options)
      lab.ask('www.example')
      lab.answer({ answers: [aRecord('192.0.2.1', { ttl: 100 })] })
      for (let i = 0; i < times; i++) lab.ask('www.example')
      lab.clock.advance(95_000)
      lab.ask('www.example')
      lab.clock.advance(20)
      return lab
    }
    assert.equal(near({}, 0).sent, 1)
    assert.equal(near({ prefetch: false }, 5).sent, 1)
    const failed = near({}, 5)
    assert.equal(failed.sent, 2)
    failed.fail(Failure.upstream_network)
    failed.ask('www.example')
    failed.clock.advance(500)
    assert.equal(failed.sent, 2)
    assert.deepEqual(ttlsOf(failed.ask('www.example').message), [5])
  })

  test('that is asked for again is joined by those who come after its end', () => {
    const lab = new Lab()
    lab.ask('www.example')
    lab.answer({ answers: [aRecord('192.0.2.1', { ttl: 10 })] })
    for (let i = 0; i < 3; i++) lab.ask('www.example')
    lab.clock.advance(9500)
    lab.ask('www.example')
    lab.clock.advance(1000)
    const late = lab.ask('www.example')
    assert.equal(lab.sent, 2)
    lab.answer({ answers: [aRecord('192.0.2.2', { ttl: 10 })] })
    assert.deepEqual(ttlsOf(late.message), [10])
  })
})
