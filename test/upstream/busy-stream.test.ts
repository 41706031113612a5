import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { aRecord, response } from '../harness/messages.ts'
import { dnsServer, type Handler, udpServer } from '../harness/servers.ts'
import { ask, type Outcome, OwningUpstream, upstreamDependencies } from '../harness/upstream.ts'
import { serverFor } from './servers.ts'

const answering: Handler = (query, reply) => reply(response(query, { answers: [aRecord()] }))
const silent: Handler = () => {}

/** Asks in turns some milliseconds apart, each time so many at once, as the gateway does: what is late is asked again. All are answered. */
async function load(server: ReturnType<typeof serverFor>, { turns, each }: { turns: number; each: number }): Promise<void> {
  const upstream = new OwningUpstream([server], upstreamDependencies())
  const outcomes: Promise<Outcome>[] = []
  for (let turn = 0; turn < turns; turn++) {
    for (let i = 0; i < each; i++) outcomes.push(ask(upstream, { name: `n${turn}-${i}.example` }))
    await pause(7)
  }
  for (const { answer, failure } of await Promise.all(outcomes)) assert.ok(answer, failure?.code ?? '')
}

describe('a udp upstream with much to ask', () => {
  test('asks over one TCP connection', async () => {
    await using server = await dnsServer(answering)
    const upstream = serverFor('udp', server.endpoint)
    await load(upstream, { turns: 60, each: 40 })
    assert.ok(server.tcp.queries.length > 800, `${server.tcp.queries.length} over TCP`)
    assert.equal(server.tcp.peers.size, 1)
    await upstream.close()
  })

  test('goes back to datagrams when there is less', async () => {
    await using server = await dnsServer(answering)
    const upstream = serverFor('udp', server.endpoint)
    await load(upstream, { turns: 30, each: 40 })
    await pause(30)
    const before = server.udp.queries.length
    for (let i = 0; i < 20; i++) assert.ok((await ask(upstream)).answer)
    assert.ok(server.udp.queries.length - before >= 19)
    await upstream.close()
  })

  test('stays on datagrams where nobody listens on TCP, and loses nothing by trying', async () => {
    await using server = await udpServer(answering)
    const upstream = serverFor('udp', server.endpoint)
    await load(upstream, { turns: 60, each: 40 })
    assert.ok(server.queries.length >= 60 * 40)
    await upstream.close()
  })

  test('asks few over TCP while it is silent there', async () => {
    await using server = await dnsServer(answering)
    server.tcp.handler = silent
    const upstream = serverFor('udp', server.endpoint)
    await load(upstream, { turns: 60, each: 40 })
    // what was sent in the tenth of a second until it was noticed
    assert.ok(server.tcp.queries.length < 1500, `${server.tcp.queries.length}`)
    const before = server.tcp.queries.length
    await load(upstream, { turns: 30, each: 40 })
    assert.equal(server.tcp.queries.length, before)
    await upstream.close()
  })
})
