import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { NO_SUBNET, type Subnet, subnetOfAddress, WITHHELD } from '../../dns/client-subnet.ts'
import { Failure } from '../../dns/failure.ts'
import { parseAddress } from '../../net/address.ts'
import { SubnetRetry } from '../../upstream/subnet-retry.ts'
import { aRecord, hex, record, response } from '../harness/messages.ts'
import { dnsServer, type Handler } from '../harness/servers.ts'
import { ask, upstreamDependencies } from '../harness/upstream.ts'
import { serverFor, startServer } from './servers.ts'

const SUBNET = subnetOfAddress(parseAddress('198.51.100.7') ?? assert.fail())
const OPTION = '0008000700011800c63364'
const REFUSED = 0x8185
const PROTOCOLS = ['udp', 'tcp', 'tls'] as const

const opt = (options: string) => record({ owner: Buffer.from([0]), type: 41, class: 1232, ttl: 0, rdata: hex(options) })
const answering =
  (options: string, address = '192.0.2.1'): Handler =>
  (query, reply) =>
    reply(response(query, { answers: [aRecord(address)], additionals: [opt(options)] }))

/** As ask(), for a client of this network. */
const askFor = (upstream: Parameters<typeof ask>[0], subnet: Subnet, budgetMs = 2000) =>
  ask({ send: (query, sink) => upstream.send(Object.assign(query, { subnet }), sink) }, { budgetMs })

for (const protocol of PROTOCOLS) {
  describe(`a question with a client subnet over ${protocol}`, () => {
    test('has the option, before the padding, and the SCOPE of the answer is known', async (t) => {
      await using server = await startServer(protocol, answering('0008000700011810c63364'))
      const upstream = serverFor(protocol, server.endpoint)
      t.after(() => upstream.close())
      assert.equal((await askFor(upstream, SUBNET)).answer?.scope, 16)
      assert.equal((await askFor(upstream, NO_SUBNET)).answer?.scope, 0)
      assert.equal((await askFor(upstream, WITHHELD)).answer?.scope, 0)
      const [asked, without, withheld] = server.queries
      assert.ok(asked?.includes(hex(OPTION)))
      assert.equal(without?.includes(hex('000800')), false)
      assert.ok(withheld?.includes(hex('0008000400010000')))
      if (protocol === 'tls') for (const query of server.queries) assert.equal(query.length % 128, 0)
    })

    test('is not answered for another network', async (t) => {
      for (const wrong of [
        '00080007000118 10 c63365',
        '00080007000117 10 c63364',
        '0008000400010000',
        '0008000b00023800 c63364 00000000',
      ]) {
        const dependencies = upstreamDependencies()
        await using server = await startServer(protocol, (query, reply, connection) => {
          answering(wrong, '192.0.2.66')(query, reply, connection)
          if (protocol === 'udp') answering('0008000700011818c63364', '192.0.2.1')(query, reply, connection)
        })
        const upstream = serverFor(protocol, server.endpoint, dependencies)
        t.after(() => upstream.close())
        const { message, failure } = await askFor(upstream, SUBNET)
        // RFC 5452 §9.1: a forger cannot end the wait
        if (protocol === 'udp') assert.ok(message?.includes(Buffer.from([192, 0, 2, 1])), wrong)
        else assert.equal(failure, Failure.upstream_subnet_mismatch, wrong)
        assert.equal(dependencies.meter.counts.ignored, protocol === 'udp' ? 1 : 0)
      }
    })

    test('that is refused is asked once more without an address', async (t) => {
      const dependencies = upstreamDependencies()
      await using server = await startServer(protocol, (query, reply, connection) => {
        if (query.includes(hex(OPTION))) reply(response(query, { flags: REFUSED, additionals: [opt('')] }))
        else answering('0008000400010000')(query, reply, connection)
      })
      const upstream = new SubnetRetry(serverFor(protocol, server.endpoint, dependencies))
      t.after(() => upstream.close())
      const { answer, message } = await askFor(upstream, SUBNET)
      assert.ok(message?.includes(Buffer.from([192, 0, 2, 1])))
      // whoever asks from there gets this one, and nobody else
      assert.equal(answer?.scope, 24)
      assert.deepEqual([server.queries.length, server.queries[1]?.includes(hex('0008000400010000'))], [2, true])
      assert.deepEqual(dependencies.meter.counts.failed, ['upstream_subnet_refused'])
    })

    test('that is refused without an address, too, is refused', async (t) => {
      await using server = await startServer(protocol, (query, reply) => reply(response(query, { flags: REFUSED })))
      const upstream = new SubnetRetry(serverFor(protocol, server.endpoint))
      t.after(() => upstream.close())
      assert.equal((await askFor(upstream, SUBNET)).answer?.rcode, 2)
      assert.equal(server.queries.length, 2)
      for (const subnet of [WITHHELD, NO_SUBNET]) assert.equal((await askFor(upstream, subnet)).answer?.rcode, 2)
      assert.equal(server.queries.length, 4)
    })
  })
}

test('a truncated answer is asked for over TCP with the same option', async (t) => {
  await using server = await dnsServer((query, reply, connection) => {
    if (server.tcp.queries.length === 0) reply(response(query, { flags: 0x8380, additionals: [opt('0008000700011818c63364')] }))
    else answering('0008000700011818c63364')(query, reply, connection)
  })
  const upstream = serverFor('udp', server.endpoint)
  t.after(() => upstream.close())
  assert.equal((await askFor(upstream, SUBNET)).answer?.scope, 24)
  assert.ok(server.tcp.queries[0]?.includes(hex(OPTION)))
})
