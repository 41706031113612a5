import assert from 'node:assert/strict'
import test from 'node:test'
import { Answer } from '../../dns/answer.ts'
import type { Query } from '../../dns/query.ts'
import { aRecord, encode, hex, parsedQuery, question, readAnswer, record, response, wireName } from '../harness/messages.ts'

const TC = 0x0200

function limited(sizeLimit: number, opt?: string): Query {
  const query = parsedQuery(question({ name: 'example.com', type: 16, ...(opt === undefined ? {} : { opt }) }))
  query.sizeLimit = sizeLimit
  return query
}

const texts = (count: number) =>
  Array.from({ length: count }, () => record({ type: 16, rdata: Buffer.concat([hex('64'), Buffer.alloc(100, 97)]) }))
const flags = (message: Buffer) => message.readUInt16BE(2)
const counts = (message: Buffer) => [6, 8, 10].map((at) => message.readUInt16BE(at))

test('encodeInto() truncates an answer that does not fit, and keeps the OPT record', () => {
  const query = limited(512, '')
  const message = encode(readAnswer(query, response(query.wire, { answers: texts(5) })), query)
  assert.equal(flags(message) & TC, TC)
  assert.deepEqual(counts(message), [0, 0, 1])
})

test('encodeInto() fills the limit to the last octet', () => {
  const query = limited(512)
  const whole = readAnswer(query, response(query.wire, { answers: texts(4) }))
  query.sizeLimit = query.questionEnd + whole.body.end - whole.body.start
  assert.equal(flags(encode(whole, query)) & TC, 0)
  query.sizeLimit--
  assert.equal(flags(encode(whole, query)) & TC, TC)
})

test('encodeInto() drops additional records that do not fit without truncating', () => {
  const query = limited(512)
  const additionals = Array.from({ length: 40 }, (_, i) => aRecord(`192.0.2.${i}`, { owner: wireName('ns.example.com') }))
  const message = encode(readAnswer(query, response(query.wire, { answers: texts(1), additionals })), query)
  assert.equal(flags(message) & TC, 0)
  assert.deepEqual(counts(message), [1, 0, 0])
})

test('encodeInto() drops the explanation before data, and says so with TC', () => {
  const query = limited(512, '')
  const { body } = readAnswer(query, response(query.wire, { answers: texts(1) }))
  const answer = new Answer({ rcode: 0, source: 'upstream', ede: 3, edeText: Buffer.alloc(64, 97), body })
  query.sizeLimit = query.questionEnd + body.end - body.start + 11 + 60
  const message = encode(answer, query)
  assert.equal(flags(message) & TC, TC)
  assert.deepEqual(counts(message), [1, 0, 1])
  assert.ok(!message.includes(hex('000f0042')))
  query.sizeLimit = 65_535
  assert.equal(flags(encode(answer, query)) & TC, 0)
  assert.ok(encode(answer, query).includes(hex('000f00420003')))
})

test('encodeInto() pads to the next block, also when only the option header fits', () => {
  const query = limited(65_535, '')
  query.padding = 468
  const { body } = readAnswer(query, response(query.wire, { answers: texts(1) }))
  const answer = (text: number) => new Answer({ rcode: 0, source: 'upstream', ede: 0, edeText: new Uint8Array(text), body })
  const bare = encode(answer(0), { ...query, padding: 0 } as Query).length
  for (const [text, expected] of [
    [0, 468],
    [468 - 4 - bare, 468],
    [468 - 3 - bare, 936],
    [468 - bare, 936],
  ] as const) {
    assert.equal(encode(answer(text), query).length, expected, String(text))
  }
})

test('encodeInto() never pads beyond the largest message', () => {
  const query = limited(65_535, '')
  query.padding = 468
  const big = Array.from({ length: 570 }, () => texts(1)).flat()
  const message = encode(readAnswer(query, response(query.wire, { answers: big })), query)
  assert.equal(message.length, 65_520 < message.length ? 65_535 : Math.ceil(message.length / 468) * 468)
})

test('an extended RCODE needs an OPT record; without one it is SERVFAIL', () => {
  const bad = new Answer({ rcode: 23, source: 'local' })
  const withOpt = encode(bad, limited(65_535, ''))
  assert.equal(flags(withOpt) & 15, 7)
  assert.equal(withOpt.at(-6), 1)
  assert.equal(flags(encode(bad, limited(65_535))) & 15, 2)
})
