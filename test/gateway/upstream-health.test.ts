import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { join } from 'node:path'
import test, { describe } from 'node:test'
import type { UpstreamStatus } from '../../gateway/admin/control.ts'
import { CLIENTS } from '../harness/clients.ts'
import { runGateway, type TestGateway } from '../harness/gateway.ts'
import { aRecord, question, response } from '../harness/messages.ts'
import { scrape, untilMetrics } from '../harness/metrics.ts'
import { rcode } from '../harness/pipeline.ts'
import { type Handler, type TestServer, udpServer } from '../harness/servers.ts'
import { runThreads, type ThreadedGateway } from '../harness/threads.ts'

const answering: Handler = (query, reply) => reply(response(query, { answers: [aRecord()] }))
const silent: Handler = () => {}
let asked = 0

/** Three servers of one group. */
async function threeServers(): Promise<readonly [TestServer, TestServer, TestServer] & AsyncDisposable> {
  const servers = [await udpServer(answering), await udpServer(answering), await udpServer(answering)] as const
  return Object.assign(servers, {
    async [Symbol.asyncDispose]() {
      for (const server of servers) await server[Symbol.asyncDispose]()
    },
  })
}

/** Asks so many names of their own, one after the other, and gets an answer to each. */
async function askMany(gateway: TestGateway, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const reaction = await CLIENTS[0]?.send(gateway, question({ name: `q${asked++}.example.com`, opt: '' }))
    assert.ok(reaction?.kind === 'answer' && rcode(reaction.message) === 0)
  }
}

function isUp(gateway: TestGateway, server: TestServer, name: string): string {
  assert.ok(gateway)
  return `atlas_upstream_up{upstream="${name}",url="udp://127.0.0.1:${server.endpoint.port}"}`
}

function linesAbout({ log }: TestGateway, upstream: string): readonly string[] {
  const lines = log.map((line) => JSON.parse(line) as { upstream?: string; msg: string })
  return lines.filter((line) => line.upstream === upstream).map(({ msg }) => msg)
}

describe('three upstreams', () => {
  for (const strategy of ['ordered', 'round-robin', 'weighted', 'fastest', 'race', 'hash'] as const) {
    test(`${strategy}: one is dead from the start, and no client waits for it`, async () => {
      await using servers = await threeServers()
      servers[0].handler = silent
      await using gateway = await runGateway(
        servers.map(({ endpoint }) => endpoint),
        { strategy },
      )
      await untilMetrics(gateway, (now) => [1, 2].every((i) => now.value(isUp(gateway, servers[i] as TestServer, `upstream${i}`)) === 1))
      await askMany(gateway, 100)
      assert.equal(servers[0].queries.length, 0)
    })
  }

  test('one dies and comes back: the log says so once each, metrics and the admin door as long as it lasts', async () => {
    await using servers = await threeServers()
    await using gateway = await runGateway(servers.map(({ endpoint }) => endpoint))
    const up = isUp(gateway, servers[0], 'upstream0')
    await untilMetrics(gateway, (now) => now.value(up) === 1)
    await askMany(gateway, 20)
    servers[0].handler = silent
    const known = servers[0].queries.length
    await askMany(gateway, 100)
    // each of these has waited: until one was late, or four had no answer
    assert.ok(servers[0].queries.length - known <= 4)
    while (linesAbout(gateway, 'upstream0').length === 0) await askMany(gateway, 1)
    assert.equal((await scrape(gateway)).value(up), 0)
    const statuses = await upstreamsOf(gateway)
    assert.deepEqual(
      statuses.map(({ state }) => state),
      ['down', 'up', 'up'],
    )
    assertCountsClientsOnly(statuses[0], servers[0])
    const before = servers[0].queries.length
    await askMany(gateway, 50)
    assert.equal(servers[0].queries.length, before)
    servers[0].handler = answering
    await untilMetrics(gateway, (now) => now.value(up) === 1)
    while (linesAbout(gateway, 'upstream0').length < 2) await askMany(gateway, 1)
    assert.deepEqual(linesAbout(gateway, 'upstream0'), [
      'the upstream does not answer: it is not asked until it does',
      'the upstream answers again',
    ])
  })

  test('the only one that is left is asked though it was down', async () => {
    await using server = await udpServer(silent)
    await using gateway = await runGateway([server.endpoint], { timeouts: { queryMs: 600, handshakeMs: 1000, drainMs: 1000 } })
    for (let i = 0; i < 8; i++) await CLIENTS[0]?.send(gateway, question({ name: `d${i}.example.com`, opt: '' }))
    server.handler = answering
    await askMany(gateway, 5)
  })
})

test('two workers know of each other what does not answer', async () => {
  await using servers = await threeServers()
  servers[0].handler = silent
  await using gateway: ThreadedGateway = await runThreads(servers.map(({ endpoint }) => endpoint))
  await untilMetrics(gateway, (now) => now.value(isUp(gateway, servers[1], 'upstream1')) === 1)
  let both = false
  while (!both) {
    await askMany(gateway, 10)
    both = [0, 1].every((index) => gateway.counted(index, 'atlas_queries_total', 'transport="udp"') > 20)
  }
  assert.equal(servers[0].queries.length, 0)
})

/** `server` has answered 20 questions, and is down. */
function assertCountsClientsOnly(upstream: UpstreamStatus | undefined, { queries }: TestServer): void {
  assert.deepEqual([upstream?.queries, upstream?.answers], [queries.length, 20])
  assert.ok(upstream?.failures.every(({ count }) => count <= queries.length - 20))
  const outcomes = new Map(upstream?.probes.map(({ outcome, count }) => [outcome, count]))
  // the root's name servers and the question that looks for a loop at first, then without an answer until it was down
  assert.ok((outcomes.get('answered') ?? 0) >= 2)
  assert.ok((outcomes.get('upstream_timeout') ?? 0) >= 2)
}

/** What the admin door says. */
async function upstreamsOf({ state }: TestGateway): Promise<readonly UpstreamStatus[]> {
  const outgoing = request({ socketPath: join(state, 'admin.sock'), path: '/v1/upstreams', headers: { host: 'localhost' } }).end()
  const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage]
  return JSON.parse(Buffer.concat(await incoming.toArray()).toString()) as readonly UpstreamStatus[]
}
