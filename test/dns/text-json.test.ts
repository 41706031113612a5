import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import * as packet from 'dns-packet'
import fc from 'fast-check'
import { answerTexts, type JsonMessage, messageJson } from '../../dns/text.ts'
import { aRecord, hex, question, record, response } from '../harness/messages.ts'

const QUERY = question({ name: 'example.com' })
const opt = record({ owner: hex('00'), type: 41, class: 1232, ttl: 0x8000, rdata: hex('') })
const answer = response(QUERY, { answers: [aRecord()], additionals: [opt] })

describe('messageJson()', () => {
  test('has the members of RFC 8427', () => {
    const name = { NAME: 'example.com.', TYPE: 1, TYPEname: 'A', CLASS: 1, CLASSname: 'IN' }
    const header = { ID: 4660, QR: 1, Opcode: 0, AA: 0, TC: 0, RD: 1, RA: 1, AD: 0, CD: 0, RCODE: 0 }
    const counts = { QDCOUNT: 1, ANCOUNT: 1, NSCOUNT: 0, ARCOUNT: 1 }
    assert.deepEqual(messageJson(answer), {
      ...header,
      ...counts,
      questionRRs: [name],
      answerRRs: [{ ...name, TTL: 300, RDLENGTH: 4, RDATAHEX: 'C0000201', rdataA: '192.0.2.1' }],
      authorityRRs: [],
      additionalRRs: [{ NAME: '.', TYPE: 41, TYPEname: 'OPT', CLASS: 1232, TTL: 0x8000, RDLENGTH: 0, RDATAHEX: '', rdataOPT: '' }],
    })
  })

  test('has no text for RDATA that it cannot read', () => {
    const message = messageJson(response(QUERY, { answers: [record({ type: 65280, rdata: hex('beef') })] })) as JsonMessage
    const [only] = message.answerRRs
    assert.equal(only?.RDATAHEX, 'BEEF')
    assert.deepEqual(
      Object.keys(only ?? {}).filter((key) => key.startsWith('rdata')),
      [],
    )
  })

  test('has the octets of a malformed message', () => {
    assert.deepEqual(messageJson(hex('0102')), { messageOctetsHEX: '0102', comment: 'malformed: cannot be read from octet 0 on' })
  })

  test('agrees with dns-packet about names, types, TTLs and addresses', () => {
    fc.assert(
      fc.property(fc.domain(), fc.ipV4(), fc.ipV6(), fc.nat(0x7fff_ffff), (name, v4, v6, ttl) => {
        const answers: packet.Answer[] = [
          { type: 'A', name, ttl, data: v4 },
          { type: 'AAAA', name, ttl, data: v6 },
          { type: 'MX', name, ttl, data: { preference: 7, exchange: name } },
          { type: 'TXT', name, ttl, data: [Buffer.from('t')] },
        ]
        const wire = packet.encode({
          type: 'response',
          id: 7,
          flags: packet.AUTHENTIC_DATA,
          questions: [{ type: 'A', name }],
          answers,
        })
        const decoded = packet.decode(wire)
        const message = messageJson(wire) as JsonMessage
        assert.deepEqual([message.ID, message.AD, message.questionRRs[0]?.NAME], [7, 1, `${name}.`])
        const seen = message.answerRRs.map((rr) => [rr.NAME, rr.TYPEname, rr.TTL])
        assert.deepEqual(
          seen,
          decoded.answers?.map((rr) => [`${rr.name}.`, rr.type, 'ttl' in rr ? rr.ttl : undefined]),
        )
        const texts = answerTexts(wire)
        const second = decoded.answers?.[1]
        assert.deepEqual([texts[0], texts[2], texts[3]], [v4, `7 ${name}.`, '"t"'])
        assert.equal(new URL(`http://[${texts[1]}]`).hostname, new URL(`http://[${second?.type === 'AAAA' ? second.data : ''}]`).hostname)
      }),
    )
  })
})
