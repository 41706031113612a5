import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { Answer } from '../../dns/answer.ts'
import { AnswerReader, isAnswerTo } from '../../dns/answer-reader.ts'
import { Failure } from '../../dns/failure.ts'
import { aRecord, client, encode, hex, parsedQuery, question, readAnswer, record, response, wireName } from '../harness/messages.ts'

const NAME = 'www.example.com'
const query = parsedQuery(question({ name: NAME }), client('tcp'))
const alias = (target: Buffer, owner?: Buffer, ttl?: number) =>
  record({ type: 5, rdata: target, ...(owner === undefined ? {} : { owner }), ...(ttl === undefined ? {} : { ttl }) })
const soa = (ttl: number, minimum: number, owner = wireName('example.com')) => {
  const numbers = Buffer.alloc(20)
  numbers.writeUInt32BE(minimum, 16)
  return record({ owner, type: 6, ttl, rdata: Buffer.concat([wireName('ns.example.com'), wireName('root.example.com'), numbers]) })
}
const opt = (rdata = '', extendedRcode = '00') => {
  const data = hex(rdata)
  return Buffer.concat([hex(`00 0029 1000 ${extendedRcode} 00 0000`), Buffer.from([data.length >> 8, data.length & 255]), data])
}

function read(message: Buffer, of = query): Answer | Failure {
  return new AnswerReader().read(of, message, 0)
}

/** Counts and records as the client would see them. */
function seen(message: Buffer, of = query): Buffer {
  return encode(readAnswer(of, message), of)
}

describe('isAnswerTo()', () => {
  const good = response(query.wire, { answers: [aRecord()] })

  test('accepts the response to the question, whatever its letter case', () => {
    assert.ok(isAnswerTo(query, good))
    assert.ok(isAnswerTo(query, response(question({ name: NAME.toUpperCase() }), {})))
  })

  test('refuses another name, type or class', () => {
    for (const other of [{ name: 'www.example.org' }, { name: NAME, type: 28 }, { name: NAME, class: 3 }, { name: `${NAME}.x` }]) {
      assert.ok(!isAnswerTo(query, response(question(other), {})), JSON.stringify(other))
    }
  })

  test('refuses what is no response, another opcode, no question or two', () => {
    assert.ok(!isAnswerTo(query, response(query.wire, { flags: 0x0100 })))
    assert.ok(!isAnswerTo(query, response(query.wire, { flags: 0xa180 })))
    for (const count of [0, 2]) {
      const message = Buffer.from(good)
      message.writeUInt16BE(count, 4)
      assert.ok(!isAnswerTo(query, message))
    }
  })

  test('refuses every prefix that ends within the question', () => {
    for (let length = 0; length < query.questionEnd; length++) assert.ok(!isAnswerTo(query, good.subarray(0, length)))
  })
})

describe('AnswerReader.read()', () => {
  test('passes the records on as they stand', () => {
    const records = [aRecord('192.0.2.1'), aRecord('192.0.2.2')]
    const reply = seen(response(query.wire, { answers: records }))
    assert.deepEqual(reply.subarray(query.questionEnd), Buffer.concat(records))
  })

  test('keeps opaque RDATA bit by bit, also where it looks like a pointer', () => {
    const of = parsedQuery(question({ name: NAME, type: 65_280 }))
    const opaque = record({ type: 65_280, rdata: hex('c00c') })
    assert.ok(seen(response(of.wire, { answers: [opaque] }), of).includes(opaque))
    // also when the sections are written anew
    assert.ok(seen(response(of.wire, { answers: [opaque, aRecord()] }), of).includes(opaque))
  })

  test('removes the OPT record of the upstream, wherever it stands', () => {
    for (const additionals of [[opt()], [opt(), aRecord('192.0.2.9', { owner: wireName('ns.example.com') })]]) {
      const reply = seen(response(query.wire, { answers: [aRecord()], additionals }))
      assert.equal(reply.readUInt16BE(10), additionals.length - 1)
      assert.ok(!reply.includes(hex('0000291000')))
    }
  })

  test('refuses a message that is cut anywhere', () => {
    const whole = response(query.wire, { answers: [aRecord(), aRecord()], authorities: [soa(60, 60)], additionals: [opt()] })
    for (let length = query.questionEnd; length < whole.length; length++) {
      assert.equal(read(Buffer.from(whole.subarray(0, length))), Failure.upstream_malformed, String(length))
    }
  })

  test('refuses trailing octets', () => {
    assert.equal(read(Buffer.concat([response(query.wire, { answers: [aRecord()] }), hex('00')])), Failure.upstream_malformed)
  })

  test('refuses names that continue where octets change on the way: in the header, in a TTL', () => {
    // of the first record: its class ends in a length octet, and its TTL is four times the root
    const [classEnd, ttl] = [query.questionEnd + 5, query.questionEnd + 6]
    for (const target of [4, classEnd, ttl, ttl + 3].map((offset) => `c0${offset.toString(16).padStart(2, '0')}`)) {
      const first = aRecord('192.0.2.1', { ttl: 0 })
      const owner = hex(target)
      for (const second of [aRecord('192.0.2.1', { owner }), record({ type: 2, rdata: Buffer.concat([hex('026e73'), owner]) })]) {
        assert.equal(read(response(query.wire, { answers: [first], additionals: [second] })), Failure.upstream_malformed, target)
      }
    }
  })

  test('refuses bad pointers in owners and in the RDATA of known types', () => {
    for (const name of ['c0ff', 'c02d', '40', 'ff']) {
      const bad = hex(name)
      assert.equal(read(response(query.wire, { answers: [aRecord('192.0.2.1', { owner: bad })] })), Failure.upstream_malformed, name)
      for (const type of [2, 5, 12, 39])
        assert.equal(read(response(query.wire, { answers: [record({ type, rdata: bad })] })), Failure.upstream_malformed)
    }
  })

  test('refuses addresses of a wrong length', () => {
    for (const [type, length] of [
      [1, 3],
      [1, 6],
      [28, 4],
      [28, 17],
    ] as const) {
      assert.equal(read(response(query.wire, { answers: [record({ type, rdata: Buffer.alloc(length) })] })), Failure.upstream_malformed)
    }
  })

  test('refuses two OPT records, one outside the additional section, and one with broken options', () => {
    assert.equal(read(response(query.wire, { additionals: [opt(), opt()] })), Failure.upstream_malformed)
    assert.equal(read(response(query.wire, { answers: [opt()] })), Failure.upstream_malformed)
    assert.equal(read(response(query.wire, { additionals: [opt('000f0010ff')] })), Failure.upstream_malformed)
  })

  test('reports a truncated answer', () => {
    assert.equal(read(response(query.wire, { flags: 0x8380 })), Failure.upstream_truncated)
  })

  test('refuses more records than any answer needs before it looks at them', () => {
    const message = response(query.wire, {})
    message.writeUInt16BE(65_535, 6)
    assert.equal(read(message), Failure.upstream_malformed)
  })
})

describe('the alias chain', () => {
  const target = wireName('target.example.net')

  test('is kept, with the records at its end', () => {
    const reply = seen(response(query.wire, { answers: [alias(target), aRecord('192.0.2.1', { owner: target })] }))
    assert.equal(reply.readUInt16BE(6), 2)
  })

  test('is followed even when its records come in another order', () => {
    const reply = seen(response(query.wire, { answers: [aRecord('192.0.2.1', { owner: target }), alias(target)] }))
    assert.equal(reply.readUInt16BE(6), 2)
  })

  test('rids the answer of records that do not belong to it', () => {
    const stray = aRecord('203.0.113.66', { owner: wireName('bank.example') })
    const reply = seen(response(query.wire, { answers: [stray, aRecord(), stray], authorities: [soa(9, 9, wireName('bank.example'))] }))
    assert.deepEqual(
      [6, 8, 10].map((at) => reply.readUInt16BE(at)),
      [1, 0, 0],
    )
    assert.ok(!reply.includes(Buffer.from('bank')))
    assert.ok(reply.includes(hex('c0000201')))
  })

  test('rids the answer of records of other types and of other classes', () => {
    const reply = seen(
      response(query.wire, { answers: [record({ type: 16, rdata: hex('0161') }), aRecord(), aRecord('192.0.2.7', { class: 3 })] }),
    )
    assert.equal(reply.readUInt16BE(6), 1)
  })

  test('rids the answer of a second alias of one name', () => {
    const reply = seen(
      response(query.wire, { answers: [alias(target), alias(wireName('other.example')), aRecord('192.0.2.1', { owner: target })] }),
    )
    assert.equal(reply.readUInt16BE(6), 2)
    assert.ok(!reply.includes(Buffer.from('other')))
  })

  test('writes compressed names out when it rewrites', () => {
    // the target's tail points at the stray record's owner, which is dropped
    const stray = aRecord('203.0.113.66', { owner: wireName('x.example.net') })
    const compressed = Buffer.concat([hex('06'), Buffer.from('target'), Buffer.from([0xc0, query.questionEnd + 2])])
    const reply = seen(response(query.wire, { answers: [stray, alias(compressed), aRecord('192.0.2.1', { owner: compressed })] }))
    assert.ok(reply.includes(wireName('target.example.net')))
    assert.equal(reply.readUInt16BE(6), 2)
  })

  test('that loops is a failure of the upstream', () => {
    assert.equal(read(response(query.wire, { answers: [alias(hex('c00c'))] })), Failure.upstream_alias_loop)
    const loop = [alias(target), alias(hex('c00c'), target)]
    assert.equal(read(response(query.wire, { answers: loop })), Failure.upstream_alias_loop)
  })

  test('of more than sixteen aliases is a failure of the upstream', () => {
    const chain = (length: number) =>
      Array.from({ length }, (_, i) => alias(wireName(`a${i + 1}.test`), i === 0 ? undefined : wireName(`a${i}.test`)))
    assert.ok(read(response(query.wire, { answers: chain(16) })) instanceof Answer)
    assert.equal(read(response(query.wire, { answers: chain(17) })), Failure.upstream_alias_loop)
  })

  test('keeps DNAME records and signatures along the way', () => {
    const signature = (owner: Buffer) => record({ owner, type: 46, rdata: Buffer.alloc(30) })
    const answers = [
      record({ owner: wireName('example.com'), type: 39, rdata: wireName('example.net') }),
      signature(wireName('example.com')),
      alias(wireName('www.example.net')),
      aRecord('192.0.2.1', { owner: wireName('www.example.net') }),
      signature(wireName('www.example.net')),
    ]
    assert.equal(seen(response(query.wire, { answers })).readUInt16BE(6), 5)
  })

  test('is not followed for a question about the alias itself', () => {
    for (const type of [5, 255]) {
      const of = parsedQuery(question({ name: NAME, type }), client('tcp'))
      const reply = seen(response(of.wire, { answers: [alias(target), aRecord('192.0.2.1', { owner: target })] }), of)
      assert.equal(reply.readUInt16BE(6), 1, String(type))
    }
  })

  test('leaves denials and the records of the zone in the authority section, and nothing else', () => {
    const authority = (type: number, owner = 'example.com') =>
      record({ owner: wireName(owner), type, rdata: type === 2 ? wireName('ns.test') : Buffer.alloc(8) })
    const kept = [authority(2), authority(43), authority(46), authority(47), authority(50, 'hash.example.com'), soa(9, 9)]
    const dropped = [authority(2, 'example.net'), authority(16)]
    const reply = seen(response(query.wire, { answers: [aRecord()], authorities: kept }))
    assert.equal(reply.readUInt16BE(8), kept.length)
    for (const each of dropped) assert.equal(seen(response(query.wire, { answers: [aRecord()], authorities: [each] })).readUInt16BE(8), 0)
  })

  test('is compared with no more records than honest answers have', () => {
    const signatures = (count: number) => Array.from({ length: count }, () => record({ type: 46, rdata: Buffer.alloc(20) }))
    assert.equal(seen(response(query.wire, { answers: [aRecord(), ...signatures(256)] })).readUInt16BE(6), 257)
    assert.equal(seen(response(query.wire, { answers: [aRecord(), ...signatures(300)] })).readUInt16BE(6), 257)
  })

  test('keeps signatures of names on the way, and of no others', () => {
    const signature = (owner: string) => record({ owner: wireName(owner), type: 46, rdata: Buffer.alloc(20) })
    const answers = [
      alias(target),
      signature(NAME),
      aRecord('192.0.2.1', { owner: target }),
      signature('target.example.net'),
      signature('else.test'),
    ]
    assert.equal(seen(response(query.wire, { answers })).readUInt16BE(6), 4)
  })

  test('costs bounded work however hostile the answer is', () => {
    const deep = wireName(Array.from({ length: 120 }, () => 'a').join('.'))
    const answers = [alias(deep), ...Array.from({ length: 3900 }, () => record({ owner: hex('c02d'), type: 46, ttl: 1, rdata: hex('00') }))]
    const message = response(query.wire, { answers })
    const before = process.cpuUsage()
    read(message)
    const { user } = process.cpuUsage(before)
    assert.ok(user < 500_000, `${user} µs`)
  })
})

describe('TTLs', () => {
  test('are capped at seven days, those with the top bit set too', () => {
    for (const ttl of [604_801, 0x80000000, 0xffffffff]) {
      const reply = seen(response(query.wire, { answers: [aRecord('192.0.2.1', { ttl })] }))
      assert.equal(reply.readUInt32BE(query.questionEnd + 6), 604_800)
    }
  })

  test('of one RRset become its smallest', () => {
    const reply = seen(response(query.wire, { answers: [aRecord('192.0.2.1', { ttl: 300 }), aRecord('192.0.2.2', { ttl: 30 })] }))
    assert.deepEqual(
      [6, 22].map((at) => reply.readUInt32BE(query.questionEnd + at)),
      [30, 30],
    )
  })

  test('of other RRsets stay', () => {
    const target = wireName('t.test')
    const reply = seen(response(query.wire, { answers: [alias(target, undefined, 600), aRecord('192.0.2.2', { owner: target, ttl: 30 })] }))
    assert.equal(reply.readUInt32BE(query.questionEnd + 6), 600)
  })

  test('age with the answer and never fall below zero', () => {
    const answer = readAnswer(query, response(query.wire, { answers: [aRecord('192.0.2.1', { ttl: 30 })] }))
    const ttlAfter = (ms: number) => encode(answer, query, ms).readUInt32BE(query.questionEnd + 6)
    assert.deepEqual([0, 999, 1000, 29_999, 30_000, 1e9].map(ttlAfter), [30, 30, 29, 1, 0, 0])
  })
})

describe('Answer.freshness()', () => {
  const fresh = (message: Buffer, now = 0) => readAnswer(query, message).freshness(now)

  test('is the smallest TTL of the answer section', () => {
    const target = wireName('t.test')
    const answers = [alias(target, undefined, 600), aRecord('192.0.2.1', { owner: target, ttl: 45 })]
    assert.equal(fresh(response(query.wire, { answers, authorities: [soa(9, 9)], additionals: [opt()] })), 45)
    assert.equal(fresh(response(query.wire, { answers }), 5000), 40)
  })

  test('of a denial is what its SOA record allows', () => {
    assert.equal(fresh(response(query.wire, { flags: 0x8183, authorities: [soa(3600, 60)] })), 60)
    assert.equal(fresh(response(query.wire, { authorities: [soa(30, 60)] })), 30)
    assert.equal(
      fresh(response(query.wire, { flags: 0x8183, answers: [alias(wireName('t.test'), undefined, 10)], authorities: [soa(3600, 60)] })),
      10,
    )
  })

  test('is zero without records to take it from, and for failures', () => {
    assert.equal(fresh(response(query.wire, {})), 0)
    assert.equal(fresh(response(query.wire, { flags: 0x8182, answers: [aRecord()] })), 0)
    assert.equal(fresh(response(query.wire, { answers: [aRecord('192.0.2.1', { ttl: 0 })] })), 0)
  })
})

describe('an upstream failure', () => {
  test('of any RCODE is SERVFAIL with EDE 22', () => {
    for (const rcode of [1, 2, 4, 5, 9, 15]) {
      const answer = readAnswer(query, response(query.wire, { flags: 0x8180 | rcode }))
      assert.equal(answer.rcode, 2)
      assert.equal(answer.ede, 22)
    }
    assert.equal(readAnswer(query, response(query.wire, { additionals: [opt('', '01')] })).rcode, 2)
  })

  test('keeps the explanation the upstream gave, marked as its own and without control characters', () => {
    const text = Buffer.from('bad\u0007 sig\u001b[31m').toString('hex')
    const length = (2 + text.length / 2).toString(16).padStart(4, '0')
    const answer = readAnswer(query, response(query.wire, { flags: 0x8182, additionals: [opt(`000f${length}0006${text}`)] }))
    assert.equal(answer.ede, 6)
    assert.equal(Buffer.from(answer.edeText).toString(), 'upstream: bad sig[31m')
  })

  test('has its explanation cut to 64 octets of whole characters', () => {
    const text = Buffer.from('é'.repeat(100)).toString('hex')
    const answer = readAnswer(query, response(query.wire, { additionals: [opt(`000f00ca0003${text}`)] }))
    assert.ok(answer.edeText.length <= 64)
    assert.ok(!Buffer.from(answer.edeText).toString().includes('\ufffd'))
  })
})
