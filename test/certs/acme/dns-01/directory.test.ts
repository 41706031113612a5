import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import fc from 'fast-check'
import { directly } from '../../../../certs/acme/dns-01/client.ts'
import { Directory } from '../../../../certs/acme/dns-01/directory.ts'
import { Response } from '../../../../certs/acme/dns-01/response.ts'
import { nameText } from '../../../../dns/text-name.ts'
import { dnsClient } from '../../../../gateway/assembly/dns-client.ts'
import { aRecord, hex, question, type ResponseParts, record, response, wireName } from '../../../harness/messages.ts'
import { dnsServer } from '../../../harness/servers.ts'
import { soaData, txtData } from '../../../harness/update-server.ts'
import { questionOf } from '../../../harness/zone.ts'

const SIGNAL = new AbortController().signal
const NAME = wireName('a.b.example.net')

/** Servers that say this of every question, asked one after the other. */
async function directory(t: TestContext, ...says: readonly ((name: string) => ResponseParts)[]): Promise<Directory> {
  const servers = await Promise.all(says.map((say) => dnsServer((query, reply) => reply(response(query, say(questionOf(query).name))))))
  t.after(() => Promise.all(servers.map((server) => server[Symbol.asyncDispose]())))
  return new Directory(() => servers.map(({ endpoint }) => directly(endpoint, dnsClient)))
}

const cname = (rdata: Buffer, owner?: Buffer): Buffer => record({ type: 5, rdata, ...(owner === undefined ? {} : { owner }) })
const soa = (zone: string): Buffer => record({ owner: wireName(zone), type: 6, rdata: soaData(zone) })

test('Directory believes the first source that knows something', async (t) => {
  const alias = { answers: [cname(wireName('c.example.org'))] }
  const known = (name: string): ResponseParts => (name === 'a.b.example.net' ? alias : {})
  const found = await directory(
    t,
    () => ({ flags: 0x8182, ...alias }),
    // a referral
    () => ({ flags: 0x8000 }),
    known,
    () => assert.fail('nobody asks the last one'),
  )
  assert.equal(nameText(await found.endOfAliases(NAME, SIGNAL), 0), 'c.example.org.')
  const none = await directory(
    t,
    () => ({ flags: 0x8182 }),
    () => ({ flags: 0x8000 }),
  )
  await assert.rejects(none.endOfAliases(NAME, SIGNAL), {
    message: /^a\.b\.example\.net\. is not found: 127\.0\.0\.1:\d+: SERVFAIL; 127\.0\.0\.1:\d+: it is not responsible for the name$/,
  })
})

test('Directory takes only the aliases of the name itself, and only names', async (t) => {
  const others = [
    cname(wireName('c.example.org'), wireName('x.example.net')),
    cname(Buffer.concat([wireName('c.example.org'), hex('00')])),
    cname(hex('0161')),
    record({ type: 5, class: 3, rdata: wireName('c.example.org') }),
  ]
  const found = await directory(t, () => ({ answers: others }))
  assert.equal(nameText(await found.endOfAliases(NAME, SIGNAL), 0), 'a.b.example.net.')
})

test('Directory finds the zone in denials and at the apex, and no other', async (t) => {
  const denied = await directory(t, () => ({ flags: 0x8183, authorities: [soa('example.net')] }))
  assert.equal(nameText(await denied.zoneOf(NAME, SIGNAL), 0), 'example.net.')
  // a forwarder that leaves the authority section out
  const bare = await directory(t, (name) => (name === 'example.net' ? { answers: [soa('example.net')] } : {}))
  assert.equal(nameText(await bare.zoneOf(NAME, SIGNAL), 0), 'example.net.')
  // of a zone elsewhere, below, and of the root
  const wrong = await directory(t, () => ({ answers: [soa('example.org'), soa('x.a.b.example.net')], authorities: [soa('')] }))
  await assert.rejects(wrong.zoneOf(NAME, SIGNAL), { message: 'no zone is known in which a.b.example.net. is' })
})

test('Response reads whatever comes', () => {
  const full = response(question({ name: 'a.b.example.net', type: 16 }), {
    answers: [
      cname(hex('016bc00c')),
      aRecord(),
      record({ type: 28, rdata: Buffer.alloc(16) }),
      record({ type: 16, rdata: txtData('text') }),
    ],
    authorities: [soa('example.net'), record({ type: 2, rdata: hex('c00c') })],
  })
  const change = fc.record({ at: fc.nat(full.length - 1), octet: fc.nat(255) })
  fc.assert(
    fc.property(fc.array(change, { maxLength: 6 }), fc.nat(full.length), (changes, length) => {
      const message = Buffer.from(full)
      for (const { at, octet } of changes) message.writeUInt8(octet, at)
      const read = Response.read(changes.length === 6 ? message.subarray(0, length) : message)
      if (read === null) return
      assert.ok(read.texts.concat(read.addresses).join('').length <= full.length * 4)
      for (const name of [read.aliasOf(NAME), read.zoneOf(NAME), ...read.nameServersOf(NAME)]) {
        assert.ok(name === null || nameText(name, 0) !== null)
      }
    }),
    { numRuns: 2000 },
  )
})
