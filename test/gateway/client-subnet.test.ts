import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { parseAddress } from '../../net/address.ts'
import { DOH_CLIENTS } from '../harness/clients.ts'
import { runGateway } from '../harness/gateway.ts'
import { aRecord, client, hex, question, record, response, vector } from '../harness/messages.ts'
import { ask, optOf, rcode } from '../harness/pipeline.ts'
import { dnsServer, type Handler } from '../harness/servers.ts'

const EDNS = { padding: true, cookies: false } as const
/** From an address that could be sent. */
const CLIENT = client('tcp', { address: '198.51.100.7', octets: parseAddress('198.51.100.7') ?? assert.fail() })
const malformed = ['000800080001180001020300', '0008000700031800c00002', '0008000700011801c00002', '00080003000118', '000800040000 0000']

/** The data of a message's CLIENT-SUBNET option, hexadecimal; null without one. */
function subnetIn(message: Buffer): string | null {
  const opt = message.indexOf(hex('00002904d0'))
  const at = opt < 0 ? -1 : message.indexOf(hex('0008'), opt + 11)
  return at < 0 ? null : message.toString('hex', at + 4, at + 4 + message.readUInt16BE(at + 2))
}

describe('the CLIENT-SUBNET option of a query', () => {
  test('is ignored with mode off, well-formed or not, and never in the answer', () => {
    for (const wire of [vector('V14'), vector('V15'), vector('V16'), ...malformed.map((opt) => question({ name: 'a.example', opt }))]) {
      const { reply, forwarded } = ask(wire, CLIENT)
      assert.ok(reply && forwarded)
      assert.deepEqual([rcode(reply), subnetIn(reply), forwarded.subnet.family, reply.length], [0, null, 0, optOf(reply) + 11])
    }
  })

  for (const mode of ['forward', 'add'] as const) {
    test(`is FORMERR with OPT where it is malformed, and is not forwarded: ${mode}`, () => {
      const { reply, forwarded } = ask(vector('V14'), CLIENT, null, [], mode)
      assert.deepEqual([reply?.toString('hex'), forwarded], [vector('E05').toString('hex'), null])
      for (const opt of malformed) {
        const other = ask(question({ name: 'a.example', opt }), CLIENT, null, [], mode)
        assert.deepEqual([other.reply && rcode(other.reply), other.forwarded], [1, null], opt)
        assert.ok(other.reply && optOf(other.reply) > 0)
      }
    })

    test(`is in the answer as it came, of names that are answered here too: ${mode}`, () => {
      assert.equal(subnetIn(ask(vector('V15'), CLIENT, null, [], mode).reply ?? assert.fail()), '00011800c00002')
      assert.equal(subnetIn(ask(vector('V16'), CLIENT, null, [], mode).reply ?? assert.fail()), '00010000')
      assert.equal(
        subnetIn(ask(question({ name: 'localhost', opt: '0008000700011800c00002' }), CLIENT, null, [], mode).reply ?? assert.fail()),
        '00011800c00002',
      )
      assert.equal(subnetIn(ask(vector('V02'), CLIENT, null, [], mode).reply ?? assert.fail()), null)
    })
  }

  test('leaves room for itself in a short datagram', () => {
    const opt = `00080014000280 00${'2a'.repeat(16)}`
    const wire = question({ name: 'a.example', opt, udpSize: 512 })
    const { reply } = ask(wire, client('udp'), null, [], 'forward')
    assert.ok(reply)
    assert.equal(subnetIn(reply), `00028000${'2a'.repeat(16)}`)
    assert.equal(reply.length, optOf(reply) + 11 + 24)
  })
})

/** Answers for SCOPE bits of what it is asked with. */
function tailoring(scope: number): Handler {
  return (query, reply) => {
    const data = subnetIn(query)
    const mirrored = data === null ? '' : data.slice(0, 6) + scope.toString(16).padStart(2, '0') + data.slice(8)
    const rdata = data === null ? Buffer.alloc(0) : hex(`0008${(mirrored.length / 2).toString(16).padStart(4, '0')}${mirrored}`)
    reply(
      response(query, { answers: [aRecord()], additionals: [record({ owner: Buffer.from([0]), type: 41, class: 1232, ttl: 0, rdata })] }),
    )
  }
}

describe('a gateway with edns.clientSubnet', () => {
  test('sends it cut, keeps the answer by network, and changes its mode with a reload', async () => {
    await using server = await dnsServer(tailoring(24))
    await using gateway = await runGateway([server.endpoint], {
      edns: { ...EDNS, clientSubnet: 'forward' },
      cache: { memory: 2 ** 21, serveStaleMs: 0, prefetch: false, persist: false },
    })
    const [, doh2] = DOH_CLIENTS[1]
    const get = async (opt: string) => {
      const dns = question({ name: 'www.example', id: 0, opt }).toString('base64url')
      const { headers, body } = await doh2(gateway, { path: `/dns-query?dns=${dns}` })
      return [headers['cache-control'], subnetIn(body)]
    }
    const sent = () => server.udp.queries.map(subnetIn)
    assert.deepEqual(await get('0008000800012000c6336407'), ['no-store', '00012018c6336407'])
    assert.deepEqual(await get('0008000700011800c63364'), ['no-store', '00011818c63364'])
    assert.deepEqual(sent(), ['00011800c63364'])
    assert.deepEqual(await get(''), ['max-age=300', null])
    assert.deepEqual(await get('0008000400010000'), ['max-age=300', '00010000'])
    assert.deepEqual(sent(), ['00011800c63364', null, '00010000'])
    assert.equal((await gateway.reload({ edns: { ...EDNS, clientSubnet: 'off' } })).outcome, 'applied')
    assert.deepEqual(await get('0008000700011800c63364'), ['max-age=300', null])
    assert.equal(sent().length, 3)
  })

  test('has answers for a network stored by no HTTP cache, whichever version', async () => {
    await using server = await dnsServer(tailoring(16))
    await using gateway = await runGateway([server.endpoint], { edns: { ...EDNS, clientSubnet: 'forward' } })
    const dns = question({ name: 'www.example', id: 0, opt: '0008000700011800c63364' }).toString('base64url')
    for (const [version, send] of DOH_CLIENTS) {
      const { headers } = await send(gateway, { path: `/dns-query?dns=${dns}` })
      assert.equal(headers['cache-control'], 'no-store', version)
    }
  })
})
