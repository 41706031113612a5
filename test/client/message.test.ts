import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import * as packet from 'dns-packet'
import fc from 'fast-check'
import { buildQuery, type QueryFacts } from '../../dns/query-writer.ts'
import { malformedAt } from '../../dns/text.ts'
import { mismatch } from '../../gateway/client/message.ts'
import { aRecord, hex, response, wireName } from '../harness/messages.ts'

const FACTS: QueryFacts = {
  id: 0x1234,
  name: wireName('www.example.com'),
  type: 28,
  class: 1,
  recursionDesired: true,
  checkingDisabled: false,
  edns: null,
}
const EDNS = { udpSize: 1400, dnssecOk: true, padding: false }

describe('buildQuery()', () => {
  test('writes the vector of RFC 8484 §4.1.1', () => {
    const wire = buildQuery({ ...FACTS, id: 0, type: 1 })
    assert.equal(Buffer.from(wire).toString('base64url'), 'AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB')
  })

  test('is what dns-packet reads', () => {
    const read = packet.decode(Buffer.from(buildQuery({ ...FACTS, recursionDesired: false, checkingDisabled: true, edns: EDNS })))
    assert.deepEqual([read.id, read.type, read.flags], [0x1234, 'query', packet.CHECKING_DISABLED])
    assert.deepEqual(read.questions, [{ name: 'www.example.com', type: 'AAAA', class: 'IN' }])
    const [opt] = read.additionals ?? []
    assert.ok(opt?.type === 'OPT')
    assert.deepEqual([opt.udpPayloadSize, opt.ednsVersion, opt.flag_do, opt.options], [1400, 0, true, []])
  })

  test('pads every name to a multiple of 128 octets', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 63 }), { maxLength: 5 }), (lengths) => {
        const labels = lengths.flatMap((length) => [Buffer.of(length), Buffer.alloc(length, 0x61)])
        const name = Buffer.concat([...labels, Buffer.of(0)])
        fc.pre(name.length <= 255)
        const wire = buildQuery({ ...FACTS, name, edns: { ...EDNS, padding: true } })
        assert.equal(wire.length % 128, 0)
        assert.ok(wire.length - name.length < 12 + 4 + 11 + 4 + 128)
        assert.equal(malformedAt(wire), -1)
      }),
    )
  })
})

describe('mismatch()', () => {
  const query = Buffer.from(buildQuery({ ...FACTS, type: 1 }))
  const answer = response(query, { answers: [aRecord()] })
  const changed = (offset: number, octet: number) => Buffer.from(answer).fill(octet, offset, offset + 1)

  test('finds nothing wrong with an answer, whatever its letter case', () => {
    assert.equal(mismatch(query, answer), null)
    assert.equal(mismatch(query, changed(13, 0x57)), null)
  })

  test('lets an error come without its question, but nothing else', () => {
    assert.equal(mismatch(query, hex('1234 8001 0000 0000 0000 0000')), null)
    assert.notEqual(mismatch(query, hex('1234 8000 0000 0000 0000 0000')), null)
    assert.notEqual(mismatch(query, hex('1234 8001 0000 0001 0000 0000')), null)
  })

  test('lets the answer to an update come without its zone (RFC 2136 §3.8)', () => {
    const update = Buffer.from(query)
    update.writeUInt16BE(0x2800, 2)
    assert.equal(mismatch(update, hex('1234 a800 0000 0000 0000 0000')), null)
    assert.notEqual(mismatch(update, hex('1234 a800 0000 0001 0000 0000')), null)
  })

  test('says what is wrong', () => {
    const cases: readonly (readonly [message: Uint8Array, reason: RegExp])[] = [
      [answer.subarray(0, 11), /^11 octets are no DNS message$/],
      [changed(0, 0), /^the answer has another id: 52 instead of 4660$/],
      [query, /^the message is no answer but a query$/],
      [changed(2, 0xa1), /^the answer has another opcode$/],
      [changed(14, 0x78), /^the answer is to another question$/],
      [changed(30, 2), /^the answer is to another question$/],
      [changed(32, 3), /^the answer is to another question$/],
      [changed(5, 2), /^the answer is to another question$/],
      [answer.subarray(0, 20), /^the answer is to another question$/],
    ]
    for (const [message, reason] of cases) assert.match(mismatch(query, message) ?? '', reason)
  })
})
