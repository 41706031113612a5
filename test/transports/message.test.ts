import assert from 'node:assert/strict'
import test, { after, before, describe } from 'node:test'
import { CLIENTS, type Reaction } from '../harness/clients.ts'
import { corpus, hasCorpus } from '../harness/corpus.ts'
import { runGateway, type TestGateway } from '../harness/gateway.ts'
import { aRecord, hex, question, response, vector } from '../harness/messages.ts'
import { dnsServer } from '../harness/servers.ts'

/** What conformance P-1 asks for a message that cannot be answered, by client. */
const UNANSWERABLE: Readonly<Record<string, Reaction>> = {
  udp: { kind: 'silence' },
  tcp: { kind: 'closed' },
  dot: { kind: 'closed' },
  doh1: { kind: 'status', status: 400 },
  doh2: { kind: 'status', status: 400 },
  'doh2 by GET': { kind: 'status', status: 400 },
  doh3: { kind: 'status', status: 400 },
  doq: { kind: 'closed' },
}

const rcode = (reaction: Reaction) => (reaction.kind === 'answer' ? (reaction.message[3] ?? 0) & 15 : reaction)

let gateway: TestGateway
let upstream: Awaited<ReturnType<typeof dnsServer>>

before(async () => {
  upstream = await dnsServer((query, reply) => reply(response(query, { answers: [aRecord()] })))
  gateway = await runGateway([upstream.endpoint])
})
after(async () => {
  await gateway[Symbol.asyncDispose]()
  await upstream[Symbol.asyncDispose]()
})

for (const client of CLIENTS) {
  describe(`over ${client.name}`, () => {
    const answersStill = async () => assert.equal(rcode(await client.send(gateway, vector('V01'))), 0)

    test('a query is answered under its id', async () => {
      const reaction = await client.send(gateway, vector('V02'))
      assert.ok(reaction.kind === 'answer')
      assert.equal(reaction.message.readUInt16BE(0), 0x1234)
      assert.ok(reaction.message.includes(hex('c0000201')))
      const padded = client.name !== 'udp' && client.name !== 'tcp'
      assert.equal(reaction.message.length % 468 === 0, padded)
    })

    for (const [id, expected] of [
      ['V07', 'E07'],
      ['V09', 'E07'],
      ['V10', 'E07'],
      ['V11', 'E07'],
      ['V24', 'E07'],
      ['V22', 'E22'],
      ['V23', 'E23'],
      ['V29', 'E29'],
      ['V21', 'E21'],
    ] as const) {
      test(`${id} gets ${expected}, and the next query is answered`, async () => {
        const reaction = await client.send(gateway, vector(id))
        assert.deepEqual(reaction, { kind: 'answer', message: vector(expected) })
        await answersStill()
      })
    }

    for (const id of ['V05', 'V06', 'V13', 'V20', 'V25', 'V26', 'V27', 'V28', 'V36']) {
      test(`${id} is FORMERR, and the next query is answered`, async () => {
        assert.equal(rcode(await client.send(gateway, vector(id))), 1)
        await answersStill()
      })
    }

    test('what has no header, and a response, get the reaction of the transport', async () => {
      for (const message of [vector('V01').subarray(0, 11), vector('V01').subarray(0, 4), vector('V12')]) {
        assert.deepEqual(await client.send(gateway, message), UNANSWERABLE[client.name])
        await answersStill()
      }
    })

    test('every type of question that is not served is refused', async () => {
      for (const [type, expected] of [
        [0, 1],
        [41, 1],
        [128, 1],
        [252, 5],
        [251, 5],
        [249, 5],
        [253, 4],
      ] as const) {
        assert.equal(rcode(await client.send(gateway, question({ name: 'example.com', type }))), expected)
      }
      await answersStill()
    })

    test('every packet of the corpus leaves it serving', { skip: !hasCorpus }, async () => {
      for (const packet of corpus()) {
        // as it is, and as a query: most were recorded as responses
        for (const first of [packet, asQuery(packet)]) {
          if (client.name === 'doh2 by GET' && first.length > 9000) continue
          if (client.name === 'udp' && needsPatience(first)) continue
          const reaction = await client.send(gateway, first)
          assert.ok(reaction.kind !== 'status' || reaction.status === 400, JSON.stringify(reaction))
        }
      }
      await answersStill()
    })
  })
}

/** Empty and longer ones than a datagram are for other transports. */
function needsPatience(packet: Buffer): boolean {
  return packet.length > 60_000
}

function asQuery(packet: Buffer): Buffer {
  const query = Buffer.from(packet)
  if (query.length >= 4) {
    query[2] = 1
    query[3] = 0
  }
  return query
}
