import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { Failure } from '../../dns/failure.ts'
import { Lab, ttlsOf } from '../harness/lab.ts'
import { aRecord, client, hex, type QuestionParts, record, wireName } from '../harness/messages.ts'
import { flags, rcode } from '../harness/pipeline.ts'

const NXDOMAIN = 0x8183
const SOA_RDATA = (minimum: number): Buffer => {
  const numbers = Buffer.alloc(20)
  numbers.writeUInt32BE(minimum, 16)
  return Buffer.concat([wireName('ns.example'), wireName('host.example'), numbers])
}
const soa = (ttl: number, minimum: number) => record({ owner: wireName('example'), type: 6, ttl, rdata: SOA_RDATA(minimum) })
const cname = (target: string, ttl = 300, owner?: Buffer) => record({ ...(owner && { owner }), type: 5, ttl, rdata: wireName(target) })

/** Asks; true when the upstream was asked, which answers with `answers`. */
function asks(lab: Lab, parts: QuestionParts | string, answers = [aRecord()], of = client('tcp')): boolean {
  const before = lab.sent
  lab.ask(parts, of)
  if (lab.sent === before) return false
  lab.answer({ answers })
  return true
}

describe('the key of an answer', () => {
  test('is the name whatever its letter case, and the answer has the letters of its client', () => {
    const lab = new Lab()
    asks(lab, 'www.example')
    const { message } = lab.ask('wWw.EXAMPLE')
    assert.equal(lab.sent, 1)
    assert.ok(message?.includes(wireName('wWw.EXAMPLE')))
  })

  test('is octets, not text: a dot in a label is no separator, and only ASCII letters fold', () => {
    const lab = new Lab()
    // the labels "a.b" and "c" against "a", "b", "c"; 0xC1 and 0xE1 are no letters
    for (const wire of ['03612e62016300', '01610162016300', '01c100', '01e100', '014000', '016000']) {
      assert.equal(lab.askWire(hex(wire)).sent, 1, wire)
      assert.equal(lab.askWire(hex(wire)).sent, 0, wire)
    }
  })

  for (const [what, other] of [
    ['the type', { type: 28 }],
    ['DO (RFC 4035 §3.2.1)', { optFlags: 0x8000 }],
    ['CD (RFC 6840 §5.9)', { flags: 0x0110 }],
  ] as const) {
    test(`has ${what}`, () => {
      const lab = new Lab()
      assert.equal(asks(lab, 'www.example'), true)
      const record28 = 'type' in other ? [record({ type: 28, rdata: Buffer.alloc(16) })] : [aRecord()]
      assert.equal(asks(lab, { name: 'www.example', ...other }, record28), true)
      assert.equal(asks(lab, { name: 'www.example', ...other }), false)
      assert.equal(asks(lab, 'www.example'), false)
    })
  }

  test('has nothing else: id, AD, EDNS size, options, transport', () => {
    const lab = new Lab()
    asks(lab, 'www.example')
    const variants: QuestionParts[] = [
      { name: 'www.example', id: 7 },
      { name: 'www.example', flags: 0x0120 },
      { name: 'www.example', udpSize: 4096 },
      { name: 'www.example', opt: '000a00081122334455667788' },
      { name: 'www.example', opt: '000c0004 00000000' },
      { name: 'www.example', opt: '00030000' },
    ]
    for (const variant of variants) assert.equal(asks(lab, variant), false, JSON.stringify(variant))
    for (const transport of ['udp', 'dot', 'doh1', 'doh2', 'doh3', 'doq'] as const) {
      assert.equal(asks(lab, { name: 'www.example', id: 0 }, [], client(transport)), false, transport)
    }
  })

  test('has the space: what other servers answered is not used, and when it comes late it is theirs', () => {
    const lab = new Lab()
    asks(lab, 'www.example')
    lab.ask('late.example')
    lab.moveTo(2)
    lab.answer({ answers: [aRecord()] })
    assert.equal(asks(lab, 'www.example'), true)
    assert.equal(asks(lab, 'late.example'), true)
    lab.moveTo(1)
    assert.equal(asks(lab, 'www.example'), false)
    assert.equal(asks(lab, 'late.example'), false)
  })
})

describe('an answer from the cache', () => {
  test('has its TTLs aged by whole seconds, and ends with the smallest', () => {
    const lab = new Lab()
    lab.ask('www.example')
    lab.answer({ answers: [cname('a.example', 300), aRecord('192.0.2.1', { owner: wireName('a.example'), ttl: 30 })] })
    lab.clock.advance(9_900)
    assert.deepEqual(ttlsOf(lab.ask('www.example').message), [291, 21])
    lab.clock.advance(20_090)
    assert.deepEqual(ttlsOf(lab.ask('www.example').message), [271, 1])
    lab.clock.advance(10)
    assert.equal(asks(lab, 'www.example'), true)
  })

  test('has the id and the flags of its client, and an OPT record only for who sent one', () => {
    const lab = new Lab()
    asks(lab, 'www.example')
    const { message } = lab.ask({ name: 'www.example', id: 0xbeef, flags: 0x0100 })
    assert.ok(message)
    assert.equal(message.readUInt16BE(0), 0xbeef)
    assert.equal(flags(message), 0x8180)
    assert.equal(message.readUInt16BE(10), 1)
    const before = lab.sent
    const plain = lab.askWire(hex('03777777076578616d706c6500'), { opt: null }).reply.message
    assert.equal(lab.sent, before)
    assert.equal(plain?.readUInt16BE(10), 0)
  })

  test('is cut for the datagram of one client and whole for the stream of another', () => {
    const lab = new Lab()
    const many = Array.from({ length: 40 }, (_, i) => aRecord(`192.0.2.${i}`))
    asks(lab, 'www.example', many)
    const small = lab.ask({ name: 'www.example', udpSize: 512 }, client('udp')).message
    assert.equal((flags(small as Buffer) & 0x0200) !== 0, true)
    const whole = lab.ask('www.example').message
    assert.equal(whole?.readUInt16BE(6), 40)
    assert.equal(lab.sent, 1)
  })

  test('is capped at seven days', () => {
    const lab = new Lab()
    asks(lab, 'www.example', [aRecord('192.0.2.1', { ttl: 0x8000_0001 })])
    assert.deepEqual(ttlsOf(lab.ask('www.example').message), [604_800])
  })
})

describe('a denial', () => {
  test('of a name answers for every type, with the SOA record and its TTL aged (RFC 2308 §5)', () => {
    const lab = new Lab()
    lab.ask('no.example')
    lab.answer({ flags: NXDOMAIN, authorities: [soa(3600, 60)] })
    lab.clock.advance(10_000)
    const { message } = lab.ask({ name: 'no.example', type: 28 })
    assert.equal(lab.sent, 1)
    assert.equal(rcode(message as Buffer), 3)
    assert.equal(message?.readUInt16BE(8), 1)
    assert.deepEqual(ttlsOf(message), [50])
    lab.clock.advance(50_000)
    lab.ask('no.example')
    assert.equal(lab.sent, 2)
  })

  test('of a type answers for that type', () => {
    const lab = new Lab()
    lab.ask({ name: 'www.example', type: 28 })
    lab.answer({ authorities: [soa(300, 300)] })
    assert.equal(lab.ask({ name: 'www.example', type: 28 }).rcode, 0)
    assert.equal(lab.sent, 1)
    assert.equal(asks(lab, 'www.example'), true)
  })

  test('is believed for three hours at most', () => {
    const lab = new Lab()
    lab.ask('no.example')
    lab.answer({ flags: NXDOMAIN, authorities: [soa(604_800, 604_800)] })
    assert.deepEqual(ttlsOf(lab.ask('no.example').message), [10_800])
    lab.clock.advance(10_800_000)
    lab.ask('no.example')
    assert.equal(lab.sent, 2)
  })

  test('without SOA record is not kept', () => {
    const lab = new Lab()
    for (const flagsOf of [NXDOMAIN, 0x8180]) {
      const before = lab.sent
      for (let i = 0; i < 2; i++) {
        lab.ask('no.example')
        lab.answer({ flags: flagsOf })
      }
      assert.equal(lab.sent, before + 2)
    }
  })

  test('at the end of an alias denies the other name: the alias answers for its own type only', () => {
    const lab = new Lab()
    lab.ask('a.example')
    lab.answer({ flags: NXDOMAIN, answers: [cname('b.example', 20)], authorities: [soa(300, 300)] })
    const { message } = lab.ask('a.example')
    assert.equal(rcode(message as Buffer), 3)
    assert.equal(message?.readUInt16BE(6), 1)
    assert.equal(lab.sent, 1)
    assert.equal(asks(lab, { name: 'a.example', type: 5 }, [cname('b.example')]), true)
    lab.clock.advance(20_000)
    lab.ask('a.example')
    assert.equal(lab.sent, 3, 'the alias ends first')
  })
})

describe('what is not kept', () => {
  const never = (what: string, name: string, act: (lab: Lab) => void) =>
    test(what, () => {
      const lab = new Lab()
      for (let i = 0; i < 2; i++) {
        lab.ask(name)
        act(lab)
      }
      assert.equal(lab.sent, 2)
    })
  never('a TTL of 0', 'www.example', (lab) => lab.answer({ answers: [aRecord('192.0.2.1', { ttl: 0 })] }))
  never('YXDOMAIN', 'www.example', (lab) => lab.answer({ flags: 0x8186, answers: [aRecord()], authorities: [soa(300, 300)] }))
  never('what is larger than half a page', 'www.example', (lab) =>
    lab.answer({ answers: Array.from({ length: 500 }, (_, i) => aRecord(`10.0.${i >> 8}.${i & 255}`)) }),
  )

  test('the rest of a message: authority and additional records answer no other question', () => {
    const lab = new Lab()
    lab.ask('www.example')
    const glue = aRecord('192.0.2.53', { owner: wireName('ns.example') })
    lab.answer({
      answers: [aRecord()],
      authorities: [record({ owner: wireName('example'), type: 2, rdata: wireName('ns.example') })],
      additionals: [glue],
    })
    assert.equal(asks(lab, 'ns.example'), true)
    assert.equal(asks(lab, { name: 'example', type: 2 }), true)
  })

  test('ANY, but for ANY (RFC 8482 §5)', () => {
    const lab = new Lab()
    assert.equal(asks(lab, { name: 'www.example', type: 255 }), true)
    assert.equal(asks(lab, 'www.example'), true)
    assert.equal(asks(lab, { name: 'www.example', type: 255 }), false)
    lab.ask({ name: 'no.example', type: 255 })
    lab.answer({ flags: NXDOMAIN, authorities: [soa(300, 300)] })
    assert.equal(asks(lab, 'no.example'), true)
    lab.ask('never.example')
    lab.answer({ flags: NXDOMAIN, authorities: [soa(300, 300)] })
    assert.equal(asks(lab, { name: 'never.example', type: 255 }), true)
  })
})

describe('a failure (RFC 9520)', () => {
  test('is remembered for five seconds, then for twice as long each time, at most five minutes', () => {
    const lab = new Lab()
    for (const seconds of [5, 10, 20, 40, 80, 160, 300, 300]) {
      const first = lab.ask('www.example')
      lab.answer({ flags: 0x8182 })
      assert.deepEqual([first.rcode, first.ede], [2, 22])
      const before = lab.sent
      lab.clock.advance(seconds * 1000 - 10)
      const again = lab.ask('www.example')
      assert.deepEqual([again.rcode, again.ede], [2, 13])
      assert.equal(lab.sent, before, `${seconds} s`)
      lab.clock.advance(10)
    }
  })

  test('to reach a server is remembered for one second, at most for thirty', () => {
    const lab = new Lab()
    for (const seconds of [1, 2, 4, 8, 16, 30, 30]) {
      lab.ask('www.example')
      lab.fail(Failure.upstream_network)
      const before = lab.sent
      lab.clock.advance(seconds * 1000 - 10)
      lab.ask('www.example')
      assert.equal(lab.sent, before, `${seconds} s`)
      lab.clock.advance(10)
    }
  })

  test('is forgotten with the first answer, and after five minutes', () => {
    const lab = new Lab({ serveStaleMs: 0 })
    const fails = () => {
      const { sent } = lab
      lab.ask({ name: 'www.example', type: 16 })
      assert.equal(lab.sent, sent + 1)
      lab.answer({ flags: 0x8182 })
    }
    fails()
    lab.clock.advance(5000)
    lab.ask({ name: 'www.example', type: 16 })
    lab.answer({ answers: [record({ type: 16, ttl: 1, rdata: hex('0161') })] })
    lab.clock.advance(2000)
    fails()
    lab.clock.advance(4990)
    assert.equal(lab.ask({ name: 'www.example', type: 16 }).ede, 13)
    lab.clock.advance(10)
    fails()
    lab.clock.advance(10_000 + 300_000)
    fails()
    lab.clock.advance(5000)
    fails()
  })

  test('without a check says nothing of one with it, nor of another type', () => {
    const lab = new Lab()
    lab.ask('www.example')
    lab.answer({ flags: 0x8182 })
    assert.equal(asks(lab, { name: 'www.example', flags: 0x0110 }), true)
    assert.equal(asks(lab, { name: 'www.example', type: 28 }, [record({ type: 28, rdata: Buffer.alloc(16) })]), true)
  })

  test('of our own is not remembered', () => {
    const lab = new Lab()
    for (const failure of [Failure.upstream_none, Failure.overloaded]) {
      const before = lab.sent
      for (let i = 0; i < 2; i++) {
        lab.ask('www.example')
        lab.fail(failure)
      }
      assert.equal(lab.sent, before + 2)
    }
  })

  test('has room of its own: 20,000 failing names push out no answer', () => {
    const lab = new Lab()
    asks(lab, 'good.example')
    for (let i = 0; i < 20_000; i++) {
      lab.ask(`bad${i}.example`)
      lab.answer({ flags: 0x8182 })
    }
    assert.equal(asks(lab, 'good.example'), false)
  })
})
