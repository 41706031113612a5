import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { TRANSPORTS } from '../../dns/contracts.ts'
import { Failure } from '../../dns/failure.ts'
import { aRecord, client, hex, question, vector, wireName } from '../harness/messages.ts'
import { ask, counts, edeOf, flags, optOf, rcode, replyTo, withRecords } from '../harness/pipeline.ts'

const tsig = Buffer.concat([hex('00 00fa 00ff 00000000 0000')])

describe('a malformed message', () => {
  for (const [id, expected] of [
    ['V07', 'E07'],
    ['V09', 'E07'],
    ['V10', 'E07'],
    ['V11', 'E07'],
    ['V24', 'E07'],
    ['V05', 'E05'],
    ['V13', 'E05'],
    ['V26', 'E05'],
    ['V04', 'E04'],
    ['V22', 'E22'],
    ['V23', 'E23'],
    ['V29', 'E29'],
    ['V21', 'E21'],
  ] as const) {
    test(`${id} is answered with exactly ${expected}`, () => {
      assert.equal(replyTo(vector(id)).toString('hex'), vector(expected).toString('hex'))
    })
  }

  for (const id of ['V06', 'V25', 'V27', 'V28', 'V36', 'V20', 'V08']) {
    test(`${id} is FORMERR and is not forwarded`, () => {
      const { reply, forwarded } = ask(vector(id))
      assert.equal(reply && rcode(reply), 1)
      assert.equal(forwarded, null)
    })
  }

  test('has an OPT record in its answer when it had one', () => {
    assert.ok(optOf(replyTo(vector('V08'))) > 0)
    assert.ok(optOf(replyTo(withRecords(vector('V06'), 10, hex('0000290200000000000000')))) > 0)
    assert.equal(optOf(replyTo(vector('V27'))), -1)
  })

  test('of less than twelve octets cannot be answered', () => {
    for (let length = 0; length < 12; length++) {
      assert.equal(ask(vector('V01').subarray(0, length)).refused, Failure.message_too_short)
    }
  })

  test('that is a response is never answered', () => {
    assert.equal(ask(vector('V12')).refused, Failure.not_a_query)
  })

  test('with 65,535 questions is FORMERR', () => {
    const wire = vector('V01')
    wire.writeUInt16BE(65_535, 4)
    assert.equal(rcode(replyTo(wire)), 1)
  })

  test('with TC set is FORMERR', () => {
    assert.equal(rcode(replyTo(question({ name: 'a.example', flags: 0x0300 }))), 1)
  })

  test('with an OPT record in another section is FORMERR', () => {
    const opt = hex('00002904d0000000000000')
    assert.equal(rcode(replyTo(withRecords(vector('V01'), 6, opt))), 1)
    assert.equal(rcode(replyTo(withRecords(vector('V01'), 8, opt))), 1)
  })

  test('that announces records which do not follow is FORMERR', () => {
    const wire = vector('V01')
    wire.writeUInt16BE(1, 10)
    assert.equal(rcode(replyTo(wire)), 1)
  })

  test('with pointers in its name is FORMERR, wherever they lead', () => {
    for (const name of ['c020', 'c00ec00c', 'c000', '01 61 c00c']) {
      assert.equal(rcode(replyTo(hex(`1234 0100 0001 0000 0000 0000 ${name} 0001 0001`))), 1, name)
    }
  })

  test('with a reserved label type is FORMERR', () => {
    for (const type of ['40', '41', '80', 'bf']) {
      assert.equal(rcode(replyTo(hex(`1234 0100 0001 0000 0000 0000 ${type} 61 00 0001 0001`))), 1, type)
    }
  })
})

describe('an OPT record', () => {
  test('with stray octets after its options is FORMERR with OPT', () => {
    for (const opt of ['00', '0000', '000000', 'fde80004ab']) {
      const reply = replyTo(question({ name: 'a.example', opt }))
      assert.equal(rcode(reply), 1, opt)
      assert.ok(optOf(reply) > 0, opt)
    }
  })

  test('with a cookie of a length that cannot be is FORMERR with OPT', () => {
    for (let length = 0; length <= 42; length++) {
      const option = `000a${length.toString(16).padStart(4, '0')}${'01'.repeat(length)}`
      const reply = replyTo(question({ name: 'a.example', opt: option }))
      assert.equal(rcode(reply), length === 8 || (length >= 16 && length <= 40) ? 0 : 1, String(length))
    }
  })

  test('with two paddings is FORMERR with OPT', () => {
    assert.equal(rcode(replyTo(question({ name: 'a.example', opt: '000c0000 000c0001ff' }))), 1)
  })

  test('with thousands of options is FORMERR', () => {
    assert.equal(rcode(replyTo(question({ name: 'a.example', opt: 'fde80000'.repeat(10_000) }))), 1)
    assert.equal(rcode(replyTo(question({ name: 'a.example', opt: 'fde80000'.repeat(33) }))), 1)
    assert.equal(rcode(replyTo(question({ name: 'a.example', opt: 'fde80000'.repeat(32) }))), 0)
  })

  test('with a padding of more than 4 kB is FORMERR', () => {
    assert.equal(rcode(replyTo(question({ name: 'a.example', opt: `000c1000${'00'.repeat(4096)}` }))), 1)
  })

  test('with unknown options is answered without them', () => {
    const reply = replyTo(question({ name: 'a.example', opt: 'fde90003616263 00030000' }))
    assert.equal(rcode(reply), 0)
    assert.equal(reply.length, optOf(reply) + 11)
  })

  test('of version 255 is BADVERS, whatever its options are', () => {
    const wire = question({ name: 'a.example', opt: '000a0001ff' })
    const at = wire.indexOf(hex('000029'))
    wire[at + 6] = 255
    const reply = replyTo(wire)
    assert.equal(rcode(reply), 0)
    assert.equal(reply[optOf(reply) + 5], 1)
    assert.deepEqual(counts(reply), [1, 0, 0, 1])
  })

  test('has its DO flag copied and its other flags cleared', () => {
    const reply = replyTo(question({ name: 'a.example', opt: '', optFlags: 0xffff }))
    assert.equal(reply.readUInt16BE(optOf(reply) + 7), 0x8000)
    const without = replyTo(question({ name: 'a.example', opt: '', optFlags: 0x7fff }))
    assert.equal(without.readUInt16BE(optOf(without) + 7), 0)
  })

  test('is absent from the answer when it was absent from the query', () => {
    assert.equal(counts(replyTo(vector('V01')))[3], 0)
    assert.equal(counts(replyTo(vector('V29')))[3], 0)
  })
})

describe('edns-tcp-keepalive', () => {
  test('announces the idle timeout on streams, to who asks', () => {
    for (const transport of ['tcp', 'dot'] as const) {
      assert.ok(replyTo(vector('V17'), client(transport)).includes(hex('000b0002012c')), transport)
      assert.ok(!replyTo(vector('V02'), client(transport)).includes(hex('000b0002')), transport)
    }
  })

  test('is ignored on UDP and DoH, even if malformed', () => {
    for (const transport of ['udp', 'doh1', 'doh2'] as const) {
      for (const opt of ['000b0000', '000b000101']) {
        const reply = replyTo(question({ name: 'a.example', opt }), client(transport))
        assert.equal(rcode(reply), 0, transport)
        assert.ok(!reply.includes(hex('000b0002')), transport)
      }
    }
  })

  test('of a length other than 0 and 2 is FORMERR on streams', () => {
    assert.equal(rcode(replyTo(question({ name: 'a.example', opt: '000b000101' }))), 1)
    assert.equal(rcode(replyTo(question({ name: 'a.example', opt: '000b0002ffff' }))), 0)
  })

  test('says 0 to everybody while draining', () => {
    assert.ok(replyTo(vector('V02'), client('tcp', { keepalive: 0 })).includes(hex('000b00020000')))
    assert.equal(counts(replyTo(vector('V01'), client('tcp', { keepalive: 0 })))[3], 0)
  })
})

describe('padding', () => {
  test('fills every answer with OPT to a multiple of 468 on encrypted transports', () => {
    for (const transport of ['dot', 'doh1', 'doh2'] as const) {
      assert.equal(replyTo(vector('V02'), client(transport)).length % 468, 0, transport)
      assert.equal(replyTo(vector('V13'), client(transport)).length % 468, 0, transport)
      assert.ok(replyTo(vector('V01'), client(transport)).length < 100, transport)
    }
  })

  test('is never on a clear transport', () => {
    for (const transport of ['udp', 'tcp'] as const) {
      assert.ok(replyTo(vector('V19'), client(transport)).length < 100, transport)
    }
  })
})

describe('policy', () => {
  for (const [name, type, expectedRcode, ede] of [
    ['type 0', 0, 1, null],
    ['OPT', 41, 1, null],
    ['NXNAME', 128, 1, 30],
    ['an undefined meta type', 200, 4, 30],
    ['TKEY', 249, 5, 21],
    ['TSIG', 250, 5, 21],
    ['IXFR', 251, 5, 21],
    ['AXFR', 252, 5, 21],
    ['MAILB', 253, 4, 30],
    ['MAILA', 254, 4, 30],
  ] as const) {
    test(`a question for ${name} gets RCODE ${expectedRcode} and is not forwarded`, () => {
      const { reply, forwarded } = ask(question({ name: 'example.com', type, opt: '' }))
      assert.ok(reply)
      assert.equal(rcode(reply), expectedRcode)
      assert.equal(edeOf(reply), ede)
      assert.equal(forwarded, null)
    })
  }

  test('unknown types are forwarded', () => {
    for (const type of [64, 65, 127, 256, 65_280, 65_534, 65_535]) {
      assert.ok(ask(question({ name: 'example.com', type })).forwarded, String(type))
    }
  })

  test('classes other than IN are refused with EDE 21', () => {
    for (const qclass of [0, 3, 254, 255, 65_535]) {
      const reply = replyTo(question({ name: 'version.bind', type: 16, class: qclass, opt: '' }))
      assert.equal(rcode(reply), 5)
      assert.equal(edeOf(reply), 21)
    }
  })

  test('a query without RD is refused with EDE 20', () => {
    assert.equal(edeOf(replyTo(question({ name: 'example.com', flags: 0, opt: '' }))), 20)
  })

  test('every opcode but QUERY is NOTIMP, the opcode echoed', () => {
    for (let opcode = 1; opcode < 16; opcode++) {
      const reply = replyTo(question({ name: 'example.com', flags: (opcode << 11) | 0x0100 }))
      assert.equal(rcode(reply), 4)
      assert.equal((flags(reply) >>> 11) & 15, opcode)
    }
    const reply = replyTo(question({ name: 'example.com', flags: 0x2500, opt: '' }))
    assert.ok(optOf(reply) > 0, 'an OPT record is mirrored')
  })

  test('IXFR with its SOA record is refused, not malformed', () => {
    const soa = Buffer.concat([hex('c00c 0006 0001 00000000 0016 00 00'), Buffer.alloc(20)])
    assert.equal(rcode(replyTo(withRecords(question({ name: 'example.com', type: 251 }), 8, soa))), 5)
  })

  test('a signed query is refused; a signature that is not last is malformed', () => {
    assert.equal(rcode(replyTo(withRecords(vector('V01'), 10, tsig))), 5)
    assert.equal(rcode(replyTo(withRecords(vector('V01'), 10, tsig, hex('00002904d0000000000000')))), 1)
    assert.equal(rcode(replyTo(withRecords(vector('V01'), 10, tsig, tsig))), 1)
  })

  test('another record in the additional section is malformed', () => {
    assert.equal(rcode(replyTo(withRecords(vector('V01'), 10, aRecord()))), 1)
  })

  test('ANY is truncated on UDP and forwarded elsewhere', () => {
    const wire = question({ name: 'example.com', type: 255 })
    const { reply, forwarded } = ask(wire, client('udp'))
    assert.ok(reply)
    assert.equal(flags(reply) & 0x0200, 0x0200)
    assert.deepEqual(counts(reply), [1, 0, 0, 0])
    assert.equal(forwarded, null)
    assert.ok(ask(wire, client('tcp')).forwarded)
  })

  test('who is not admitted is refused on every transport, whatever was sent', () => {
    for (const transport of Object.keys(TRANSPORTS) as (keyof typeof TRANSPORTS)[]) {
      for (const wire of [vector('V01'), vector('V24'), Buffer.alloc(3)]) {
        const outcome = ask(wire, client(transport, { refusal: Failure.access_denied }))
        assert.equal(outcome.refused, Failure.access_denied)
        assert.equal(outcome.reply, null)
      }
    }
  })
})

describe('an ordinary query', () => {
  test('is answered under its own id, its own flags and its own letter case', () => {
    const reply = replyTo(vector('V30'))
    assert.equal(reply.readUInt16BE(0), 0x1234)
    assert.ok(reply.subarray(12).toString('latin1').startsWith('\x03wWw\x07ExAmPlE\x03cOm'))
    assert.equal(flags(reply), 0x8180)
  })

  test('has its CD flag copied, and AD, Z, AA and RCODE ignored', () => {
    assert.equal(flags(replyTo(vector('V33'))), 0x8190)
    assert.equal(flags(replyTo(vector('V34'))), 0x8180)
    assert.equal(flags(replyTo(vector('V35'))), 0x8180)
    assert.equal(flags(replyTo(question({ name: 'example.com', flags: 0x058f }))), 0x8180)
  })

  test('may have any name of up to 255 octets', () => {
    const longest = [63, 63, 63, 61].map((length) => 'a'.repeat(length)).join('.')
    assert.equal(wireName(longest).length, 255)
    assert.ok(ask(question({ name: longest })).forwarded)
    assert.equal(rcode(replyTo(question({ name: `${longest}a` }))), 1)
  })

  test('keeps octets that are no letters', () => {
    const name = hex('04 00ff2e5c 00')
    const wire = Buffer.concat([vector('V01').subarray(0, 12), name, hex('00010001')])
    const { forwarded, reply } = ask(wire)
    assert.deepEqual(Buffer.from(forwarded?.wire.subarray(12, 18) ?? []), name)
    assert.deepEqual(reply?.subarray(12, 18), name)
  })
})
