import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { Answer } from '../../dns/answer.ts'
import { AnswerReader, isAnswerTo } from '../../dns/answer-reader.ts'
import { Failure } from '../../dns/failure.ts'
import { MAX_RECORDS } from '../../dns/record-table.ts'
import { aRecord, client, encode, hex, parsedQuery, question, readAnswer, record, response, wireName } from '../harness/messages.ts'

const query = parsedQuery(question({ name: 'www.example.com', opt: '' }), client('tcp'))
const read = (message: Buffer, reader = new AnswerReader()) => reader.read(query, message, 0)
const counts = (message: Buffer) => [6, 8, 10].map((at) => message.readUInt16BE(at))
const opt = (rdata: string) => {
  const data = hex(rdata)
  return Buffer.concat([hex('00 0029 04d0 00000000'), Buffer.from([data.length >> 8, data.length & 255]), data])
}

describe('RDATA with names', () => {
  const name = wireName('mail.example.com')
  const valid: readonly (readonly [type: string, number: number, rdata: Buffer])[] = [
    ['NS', 2, name],
    ['SOA', 6, Buffer.concat([name, name, Buffer.alloc(20)])],
    ['MINFO', 14, Buffer.concat([name, name])],
    ['MX', 15, Buffer.concat([hex('000a'), name])],
    ['PX', 26, Buffer.concat([hex('000a'), name, name])],
    ['SRV', 33, Buffer.concat([Buffer.alloc(6), name])],
    ['NAPTR', 35, Buffer.concat([hex('00010002 0153 01 55 0121'), name])],
    ['MX with a compressed name', 15, hex('000ac00c')],
  ]
  for (const [type, number, rdata] of valid) {
    const inAdditional = (changed: Buffer) =>
      read(response(query.wire, { answers: [aRecord()], additionals: [record({ type: number, rdata: changed })] }))

    test(`${type} is accepted as it should be, and in no other length`, () => {
      assert.ok(inAdditional(rdata) instanceof Answer)
      assert.equal(inAdditional(Buffer.concat([rdata, hex('00')])), Failure.upstream_malformed)
      for (let length = 0; length < rdata.length; length++)
        assert.equal(inAdditional(rdata.subarray(0, length)), Failure.upstream_malformed, String(length))
    })
  }

  test('may not borrow octets of the record behind', () => {
    // the name lacks its root label, and the next record begins with one
    const additionals = [record({ type: 2, rdata: hex('0161') }), opt('')]
    assert.equal(read(response(query.wire, { answers: [aRecord()], additionals })), Failure.upstream_malformed)
  })
})

describe('the OPT record of an upstream', () => {
  test('may be all there is', () => {
    const message = encode(readAnswer(query, response(query.wire, { additionals: [opt('')] })), query)
    assert.deepEqual(counts(message), [0, 0, 1])
    assert.equal(message.length, query.questionEnd + 11)
  })

  test('with stray octets behind its options is malformed', () => {
    for (const stray of ['00', '0000', '000000', '00000001'])
      assert.equal(read(response(query.wire, { additionals: [opt(stray)] })), Failure.upstream_malformed, stray)
    assert.ok(read(response(query.wire, { additionals: [opt('fde80000')] })) instanceof Answer)
  })

  test('explains with its first EDE, with text or without', () => {
    const ede = (rdata: string) => readAnswer(query, response(query.wire, { answers: [aRecord()], additionals: [opt(rdata)] }))
    assert.deepEqual([ede('000f00020003').ede, Buffer.from(ede('000f00020003').edeText).toString()], [3, 'upstream'])
    assert.deepEqual([ede('000f000400036869').ede, Buffer.from(ede('000f000400036869').edeText).toString()], [3, 'upstream: hi'])
    assert.equal(ede('000f00020003 000f00020016').ede, 3)
    assert.equal(ede('000f000103').ede, -1)
    assert.equal(ede('fde800020003').ede, -1)
  })

  test('announces an idle timeout only in two octets', () => {
    const reader = new AnswerReader()
    const keepalive = (rdata: string) => {
      read(response(query.wire, { additionals: [opt(rdata)] }), reader)
      return reader.keepalive
    }
    assert.equal(keepalive('000b0002012c'), 300)
    assert.equal(keepalive('000b0000'), -1)
    assert.equal(keepalive('fde80002012c'), -1)
    assert.equal(keepalive('000b00020000'), 0)
    assert.equal(keepalive(''), -1)
  })
})

test('signatures that were not asked for are left out', () => {
  for (const type of [24, 249, 250]) {
    const additionals = [record({ owner: hex('00'), type, class: 255, ttl: 0, rdata: Buffer.alloc(8) })]
    const message = encode(readAnswer(query, response(query.wire, { answers: [aRecord()], additionals })), query)
    assert.deepEqual(counts(message), [1, 0, 1], String(type))
  }
})

test('a SOA record of another zone says nothing about freshness', () => {
  const numbers = Buffer.alloc(20)
  numbers.writeUInt32BE(60, 16)
  const soa = (owner: string) => record({ owner: wireName(owner), type: 6, ttl: 60, rdata: Buffer.concat([hex('0000'), numbers]) })
  const fresh = (...authorities: Buffer[]) => readAnswer(query, response(query.wire, { flags: 0x8183, authorities })).freshness(0)
  assert.equal(fresh(soa('bank.test')), 0)
  assert.equal(fresh(soa('bank.test'), soa('example.com')), 60)
})

test('an answer other than NOERROR and NXDOMAIN is never fresh', () => {
  const message = response(query.wire, { flags: 0x8186, answers: [aRecord()] })
  assert.equal(readAnswer(query, message).rcode, 6)
  assert.equal(readAnswer(query, message).freshness(0), 0)
})

test('an answer may have as many records as fit the bound, and no more', () => {
  const answers = Array.from({ length: MAX_RECORDS }, (_, i) => aRecord(`10.0.${i >> 8}.${i & 255}`))
  assert.ok(read(response(query.wire, { answers })) instanceof Answer)
  const tooMany = response(query.wire, { answers: [...answers, aRecord()] })
  assert.equal(read(tooMany), Failure.upstream_malformed)
})

test('sections that are written anew and do not fit are a failure of the upstream', () => {
  // compressed owners of 2 octets become 100 each
  const long = wireName(Array.from({ length: 49 }, () => 'a').join('.'))
  const first = aRecord('192.0.2.1', { owner: long })
  const owner = Buffer.from([0xc0, query.questionEnd])
  const additionals = [first, ...Array.from({ length: 1000 }, () => aRecord('192.0.2.1', { owner }))]
  assert.ok(read(response(query.wire, { answers: [aRecord()], additionals })) instanceof Answer)
  const stray = aRecord('203.0.113.66', { owner: wireName('bank.example') })
  const grown = response(query.wire, {
    answers: [aRecord()],
    authorities: [stray],
    additionals: additionals.map((each, i) =>
      i === 0 ? each : aRecord('192.0.2.1', { owner: pointerTo(query.questionEnd + 16 + stray.length) }),
    ),
  })
  assert.equal(read(grown), Failure.upstream_malformed)
})

test('exactly what fits is sent whole, additional records and explanation included', () => {
  const additionals = [aRecord('192.0.2.53', { owner: wireName('ns.example.com') })]
  const { body } = readAnswer(query, response(query.wire, { answers: [aRecord()], additionals }))
  const answer = new Answer({ rcode: 0, source: 'upstream', ede: 3, body })
  const of = parsedQuery(query.wire, client('udp'))
  const lengthAt = (limit: number) => {
    of.sizeLimit = limit
    const message = encode(answer, of)
    return [...counts(message), (message.readUInt16BE(2) >> 9) & 1]
  }
  const whole = query.questionEnd + (body.end - body.start) + 11 + 6
  assert.deepEqual(lengthAt(whole), [1, 0, 2, 0])
  assert.deepEqual(lengthAt(whole - 1), [1, 0, 2, 1])
  assert.deepEqual(lengthAt(whole - 6), [1, 0, 2, 1])
  assert.deepEqual(lengthAt(whole - 7), [1, 0, 1, 1])
  const bare = new Answer({ rcode: 0, source: 'upstream', body })
  of.sizeLimit = query.questionEnd + (body.additional - body.start) + 11
  assert.deepEqual([...counts(encode(bare, of)), (encode(bare, of).readUInt16BE(2) >> 9) & 1], [1, 0, 1, 0])
})

test('a header alone is no answer to anything', () => {
  assert.ok(!isAnswerTo(query, hex('1234 8180 0001 0000 0000 0000')))
})

function pointerTo(offset: number): Buffer {
  return Buffer.from([0xc0 | (offset >> 8), offset & 255])
}
