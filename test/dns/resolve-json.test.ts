import assert from 'node:assert/strict'
import test from 'node:test'
import { resolveJson } from '../../dns/resolve-json.ts'
import { aRecord, hex, question, record, response, wireName } from '../harness/messages.ts'

const QUESTION = question({ name: 'www.example.com' })

test('resolveJson() has the members that public resolvers have', () => {
  const txt = record({ type: 16, ttl: 60, rdata: hex('0561205c2262') })
  const unknown = record({ type: 65_280, ttl: 7, rdata: hex('0102') })
  const message = response(QUESTION, { flags: 0x81b0, answers: [aRecord('192.0.2.1', { ttl: 300 }), txt], authorities: [unknown] })
  assert.deepEqual(resolveJson(message), {
    Status: 0,
    TC: false,
    RD: true,
    RA: true,
    AD: true,
    CD: true,
    Question: [{ name: 'www.example.com.', type: 1 }],
    Answer: [
      { name: 'www.example.com.', type: 1, TTL: 300, data: '192.0.2.1' },
      { name: 'www.example.com.', type: 16, TTL: 60, data: '"a \\\\\\"b"' },
    ],
    Authority: [{ name: 'www.example.com.', type: 65_280, TTL: 7, data: '\\# 2 0102' }],
  })
})

test('resolveJson() takes the extended RCODE and the explanation from the OPT record, and leaves it out', () => {
  // BADVERS, with EDE 22 "x"
  const opt = record({ owner: hex('00'), type: 41, class: 1232, ttl: 0x0100_0000, rdata: hex('000f0003001678') })
  const json = resolveJson(
    response(QUESTION, { flags: 0x8180, additionals: [opt, aRecord('192.0.2.9', { owner: wireName('ns.example') })] }),
  )
  assert.equal(json.Status, 16)
  assert.equal(json.Comment, "22 (No Reachable Authority): 'x'")
  assert.deepEqual(
    json.Additional?.map(({ name }) => name),
    ['ns.example.'],
  )
})
