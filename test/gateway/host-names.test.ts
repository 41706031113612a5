import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import type { Config } from '../../gateway/config/config.ts'
import { CLIENTS } from '../harness/clients.ts'
import { runGateway, type TestGateway, upstreamConfig } from '../harness/gateway.ts'
import { aRecord, hex, response } from '../harness/messages.ts'
import { edeOf, rcode } from '../harness/pipeline.ts'
import { answering, ask } from '../harness/reload.ts'
import { type Handler, type TestServer, tcpServer, udpServer } from '../harness/servers.ts'
import { untilStatus, upstreamStatus } from '../harness/upstream-state.ts'
import { answeringFrom, type Zone } from '../harness/zone.ts'

const NAME = 'dns.lab.test'
const answeringWith =
  (address: string): Handler =>
  (query, reply) =>
    reply(response(query, { answers: [aRecord(address)] }))

/** The upstream `far`, which the zone knows where it is. */
function far({ endpoint }: TestServer): Config['upstreams'] {
  return [upstreamConfig({ ...endpoint, host: NAME }, { name: 'far', protocol: 'tcp' })]
}

/** An answer over plain DNS, to a question that was not asked before. */
async function answer(gateway: TestGateway): Promise<Buffer> {
  const reaction = await CLIENTS[0]?.send(gateway, ask())
  assert.ok(reaction?.kind === 'answer')
  return reaction.message
}

describe('a gateway whose upstream has a host name', () => {
  test('asks it where bootstrap resolvers say that it is, and elsewhere once they say so', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    await using first = await tcpServer(answeringWith('192.0.2.1'))
    await using second = await tcpServer(answeringWith('192.0.2.2'), first.endpoint.port, '127.0.0.2')
    const zone: Zone = new Map([[NAME, { addresses: ['127.0.0.1'], ttl: 60 }]])
    await using resolver = await udpServer(answeringFrom(zone))
    await using gateway = await runGateway([], { upstreams: far(first), bootstrap: [resolver.endpoint] })
    for (const client of CLIENTS) {
      const reaction = await client.send(gateway, ask())
      assert.ok(reaction.kind === 'answer' && reaction.message.includes(hex('c0000201')), client.name)
    }
    const url = `tcp://${NAME}:${first.endpoint.port}`
    const { url: configured, ways } = await upstreamStatus(gateway, 'far')
    assert.deepEqual([configured, ways.map((way) => way.url)], [url, [`${url} at 127.0.0.1`]])

    const before = first.queries.length
    zone.set(NAME, { addresses: ['127.0.0.2'], ttl: 60 })
    t.mock.timers.tick(60_000)
    await untilStatus(gateway, 'far', (now) => now.ways[0]?.url === `${url} at 127.0.0.2`)
    assert.ok((await answer(gateway)).includes(hex('c0000202')))
    assert.deepEqual([first.queries.length, second.queries.length], [before, 1])
    // nobody but the resolver is asked for the name
    assert.equal(resolver.queries.length, 4)
  })

  test('tries all its addresses', async () => {
    await using server = await tcpServer(answering)
    // nobody listens on the first
    const zone: Zone = new Map([[NAME, { addresses: ['127.0.0.2', '127.0.0.1'] }]])
    await using resolver = await udpServer(answeringFrom(zone))
    await using gateway = await runGateway([], { upstreams: far(server), bootstrap: [resolver.endpoint] })
    assert.equal(rcode(await answer(gateway)), 0)
    const { state, ways } = await untilStatus(gateway, 'far', (now) => now.ways[0]?.state === 'down')
    assert.deepEqual(
      [state, ways.map((way) => [way.state, way.reason])],
      [
        'up',
        [
          ['down', 'upstream_network'],
          ['up', null],
        ],
      ],
    )
  })

  test('serves with its other upstreams until the name is found', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    await using server = await tcpServer(answeringWith('192.0.2.1'))
    await using other = await udpServer(answeringWith('192.0.2.2'))
    const zone: Zone = new Map()
    await using resolver = await udpServer(answeringFrom(zone))
    const upstreams = [...(far(server) ?? []), upstreamConfig(other.endpoint, { name: 'other' })]
    await using gateway = await runGateway([], { upstreams, bootstrap: [resolver.endpoint] })
    assert.ok((await answer(gateway)).includes(hex('c0000202')))
    assert.deepEqual((await upstreamStatus(gateway, 'far')).ways, [])
    assert.ok(gateway.log.some((line) => line.includes('the host of an upstream is not found') && line.includes(NAME)))

    zone.set(NAME, { addresses: ['127.0.0.1'] })
    t.mock.timers.tick(1000)
    await untilStatus(gateway, 'far', ({ state }) => state === 'up')
    assert.ok((await answer(gateway)).includes(hex('c0000201')))
  })

  test('fails at once while the name is not found, and says so', async () => {
    await using server = await tcpServer(answering)
    await using resolver = await udpServer(answeringFrom(new Map()))
    await using gateway = await runGateway([], { upstreams: far(server), bootstrap: [resolver.endpoint] })
    const before = performance.now()
    const message = await answer(gateway)
    assert.deepEqual([rcode(message), edeOf(message)], [2, 22])
    assert.ok(performance.now() - before < 2000)
  })

  test('follows a reload to another name, and to other resolvers', async () => {
    await using server = await tcpServer(answering)
    await using resolver = await udpServer(answeringFrom(new Map([[NAME, { addresses: ['127.0.0.1'] }]])))
    await using empty = await udpServer(answeringFrom(new Map()))
    await using gateway = await runGateway([], { upstreams: far(server), bootstrap: [empty.endpoint] })
    assert.equal(rcode(await answer(gateway)), 2)
    const outcome = await gateway.reload({ bootstrap: [resolver.endpoint] })
    assert.equal(outcome.outcome, 'applied', JSON.stringify(outcome))
    assert.equal(rcode(await answer(gateway)), 0)
    await gateway.reload({ upstreams: [upstreamConfig({ ...server.endpoint, host: 'other.test' }, { name: 'far', protocol: 'tcp' })] })
    assert.equal(rcode(await answer(gateway)), 2)
    assert.deepEqual((await upstreamStatus(gateway, 'far')).ways, [])
  })
})
