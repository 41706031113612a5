import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import dnsPacket from 'dns-packet'
import fc from 'fast-check'
import { Answer } from '../../dns/answer.ts'
import { AnswerReader, isAnswerTo } from '../../dns/answer-reader.ts'
import { Query } from '../../dns/query.ts'
import { readQuery } from '../../dns/query-reader.ts'
import { corpus, hasCorpus } from '../harness/corpus.ts'
import { aRecord, client, encode, hex, parsedQuery, question, record, response, wireName } from '../harness/messages.ts'

const NAME = 'www.example.com'
const query = parsedQuery(question({ name: NAME, opt: '' }))
/** A rich answer whose octets are then damaged. */
const RICH = response(query.wire, {
  answers: [
    record({ type: 5, rdata: wireName('a.example.net') }),
    aRecord('192.0.2.1', { owner: wireName('a.example.net') }),
    record({ type: 46, owner: wireName('a.example.net'), rdata: Buffer.alloc(30) }),
  ],
  authorities: [record({ type: 2, owner: wireName('example.net'), rdata: hex('026e73c02d') })],
  additionals: [aRecord('192.0.2.53', { owner: wireName('ns.example.net') }), hex('00 0029 04d0 00008000 0006 000f00020003')],
})

function newQuery(wire: Uint8Array): Query {
  return new Query(client('tcp'), { deliver: () => {}, refuse: () => {} }, 0, wire)
}

/** Reads `message` as an answer to the query; what is accepted must be well-formed for an independent reader. */
function tryAnswer(message: Uint8Array): void {
  const copy = Buffer.from(message)
  if (!isAnswerTo(query, copy)) return
  const result = new AnswerReader().read(query, copy, 0)
  if (!(result instanceof Answer)) return
  const sent = encode(result, query)
  // our own reader has no complaint about what we send either
  assert.ok(isAnswerTo(query, sent))
  assert.ok(new AnswerReader().read(query, sent, 0) instanceof Answer, sent.toString('hex'))
}

describe('whatever arrives', () => {
  test('as a query is read or refused, never thrown at', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (octets) => {
        readQuery(newQuery(octets))
      }),
      { numRuns: 20_000 },
    )
  })

  test('as an answer is read or refused, and what is read is sent on well-formed', () => {
    const damage = fc.array(fc.tuple(fc.nat(RICH.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 })
    fc.assert(
      fc.property(damage, fc.nat(RICH.length), (changes, cut) => {
        const message = Buffer.from(RICH)
        // the question stays, or the message would be no answer
        for (const [at, octet] of changes) if (at >= query.questionEnd || (at >= 6 && at < 12)) message[at] = octet
        tryAnswer(message)
        tryAnswer(message.subarray(0, Math.max(cut, query.questionEnd)))
      }),
      { numRuns: 20_000 },
    )
  })

  test('of the corpus as an answer does no harm, under our id and question too', { skip: !hasCorpus }, () => {
    for (const packet of corpus()) {
      tryAnswer(packet)
      if (packet.length < 12) continue
      const graft = Buffer.concat([packet.subarray(0, 12), query.wire.subarray(12, query.questionEnd), packet.subarray(12)])
      graft.writeUInt16BE(0x8180, 2)
      graft.writeUInt16BE(1, 4)
      tryAnswer(graft)
    }
  })
})

describe('dns-packet, as a second reader,', () => {
  const label = fc.stringMatching(/^[a-z0-9_-]{1,20}$/)
  const name = fc.array(label, { minLength: 1, maxLength: 6 }).map((labels) => labels.join('.'))

  test('writes queries that are read the same', () => {
    fc.assert(
      fc.property(
        name,
        fc.constantFrom('A', 'AAAA', 'TXT', 'MX', 'SRV', 'CAA', 'DNSKEY'),
        fc.boolean(),
        fc.nat(65_535),
        (host, type, dnssecOk, id) => {
          const flags = dnsPacket.RECURSION_DESIRED
          const additionals = [
            {
              type: 'OPT' as const,
              name: '.' as const,
              udpPayloadSize: 4096,
              flags: dnssecOk ? dnsPacket.DNSSEC_OK : 0,
              extendedRcode: 0,
              ednsVersion: 0,
              flag_do: dnssecOk,
              options: [],
            },
          ]
          const wire = dnsPacket.encode({ id, type: 'query', flags, questions: [{ name: host, type, class: 'IN' }], additionals })
          const read = newQuery(wire)
          assert.equal(readQuery(read), null)
          assert.deepEqual([read.id, read.dnssecOk, read.udpSize, read.edns], [id, dnssecOk, 4096, true])
          assert.deepEqual(Buffer.from(read.wire.subarray(12, read.questionEnd - 4)), wireName(host))
        },
      ),
    )
  })

  test('reads what we send', () => {
    const result = new AnswerReader().read(query, Buffer.from(RICH), 0)
    assert.ok(result instanceof Answer)
    const read = dnsPacket.decode(encode(result, query))
    assert.deepEqual(
      read.answers?.map((each) => each.type),
      ['CNAME', 'A', 'RRSIG'],
    )
    assert.deepEqual(
      read.additionals?.map((each) => each.type),
      ['A', 'OPT'],
    )
    assert.equal(read.questions?.[0]?.name, NAME)
  })
})
