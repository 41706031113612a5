import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import test, { after, before, describe } from 'node:test'
import { type TLSSocket, connect as tlsConnect } from 'node:tls'
import { CLIENTS, doh1, exchange, openTcp, openTls } from '../harness/clients.ts'
import { runGateway, type TestGateway, testConfig } from '../harness/gateway.ts'
import { aRecord, question, response } from '../harness/messages.ts'
import { metric } from '../harness/metrics.ts'
import { dnsServer, frame, type Handler } from '../harness/servers.ts'
import { runThreads, type ThreadedGateway } from '../harness/threads.ts'
import { until } from '../harness/until.ts'

const answering: Handler = (query, reply) => reply(response(query, { answers: [aRecord()] }))
const WORKERS: readonly number[] = [0, 1]
const SCRIPT = new URL('./faulty-worker.ts', import.meta.url)
let asked = 0

/** Another question each time, so that each is asked of the upstream. */
function ask(): Buffer {
  return question({ name: `q${asked++}.example.com`, opt: '' })
}

/** Does something, again and again, until both workers have counted it. */
async function untilBoth(gateway: ThreadedGateway, { family, labels = '' }: { family: string; labels?: string }, act: () => Promise<void>) {
  const before = WORKERS.map((index) => gateway.counted(index, family, labels))
  await until(async () => {
    await act()
    return WORKERS.every((index) => gateway.counted(index, family, labels) > (before[index] as number))
  })
}

async function everyClientIsAnswered(gateway: TestGateway): Promise<void> {
  for (const client of CLIENTS) assert.equal((await client.send(gateway, ask())).kind, 'answer', client.name)
}

describe('two workers', () => {
  let upstream: Awaited<ReturnType<typeof dnsServer>>
  let gateway: ThreadedGateway
  before(async () => {
    upstream = await dnsServer(answering)
    gateway = await runThreads([upstream.endpoint])
  })
  after(async () => {
    await gateway[Symbol.asyncDispose]()
    await upstream[Symbol.asyncDispose]()
  })

  test('answer every client, and share the connections and datagrams', async () => {
    await everyClientIsAnswered(gateway)
    const [udp, tcp] = CLIENTS
    const family = 'atlas_queries_total'
    await untilBoth(gateway, { family, labels: 'transport="udp"' }, async () => void (await udp?.send(gateway, ask())))
    await untilBoth(gateway, { family, labels: 'transport="tcp"' }, async () => void (await tcp?.send(gateway, ask())))
    const sum = WORKERS.reduce((total, index) => total + gateway.counted(index, family, 'transport="udp"'), 0)
    assert.equal(await metric(gateway, 'atlas_queries_total{transport="udp"}'), sum)
    assert.equal(await metric(gateway, 'atlas_workers'), 2)
    assert.deepEqual(
      WORKERS.map((index) => gateway.counted(index, family, 'transport="doq"')),
      [1, 0],
    )
  })

  test('both announce the HTTP/3 that one of them serves', async () => {
    const labels = 'transport="doh1"'
    await untilBoth(gateway, { family: 'atlas_queries_total', labels }, async () => {
      const { headers } = await doh1(gateway, { path: `/dns-query?dns=${ask().toString('base64url')}` })
      assert.match(String(headers['alt-svc']), new RegExp(`^h3=":${gateway.doh.port}"`))
    })
  })

  test('resume the TLS sessions of each other', async () => {
    for (const [kind, endpoint, protocol] of [
      ['dot', gateway.dot, 'dot'],
      ['doh2', gateway.doh, 'http/1.1'],
    ] as const) {
      const options = { ...endpoint, servername: 'localhost', ca: gateway.ca, ALPNProtocols: [protocol] }
      const first = tlsConnect(options)
      first.resume()
      const [session] = (await once(first, 'session')) as [Buffer]
      first.destroy()
      const labels = `transport="${kind}",outcome="ok",version="TLSv1.3",resumed="true"`
      await untilBoth(gateway, { family: 'atlas_handshakes_total', labels }, async () => {
        const socket: TLSSocket = tlsConnect({ ...options, session })
        await once(socket, 'secureConnect')
        assert.ok(socket.isSessionReused())
        // the server has the client's part of the handshake as well before the connection ends
        socket.end(kind === 'dot' ? frame(ask()) : 'GET / HTTP/1.0\r\n\r\n')
        await once(socket.resume(), 'close')
      })
    }
  })

  test('count the connections of a client together', async () => {
    const { connectionsPerClient } = testConfig([]).limits
    const line = 'atlas_drops_total{reason="connection_limit"}'
    const opened = (): number => WORKERS.reduce((sum, index) => sum + gateway.counted(index, 'atlas_connections'), 0)
    // QUIC clients of the tests before are here for a while
    const quic = (): number =>
      gateway.counted(0, 'atlas_connections', 'transport="doq"') + gateway.counted(0, 'atlas_connections', 'transport="doh3"')
    await until(() => opened() === quic())
    const [held, before] = [opened(), await metric(gateway, line)]
    const sockets = await Promise.all(Array.from({ length: connectionsPerClient + 40 }, () => openTcp(gateway)))
    for (const socket of sockets) socket.on('error', () => {}).resume()
    await until(async () => (await metric(gateway, line)) === before + held + 40)
    assert.equal(opened(), connectionsPerClient)
    assert.ok(WORKERS.every((index) => gateway.counted(index, 'atlas_connections', 'transport="tcp"') > 0))
    for (const socket of sockets) socket.destroy()
    await until(async () => (await metric(gateway, 'atlas_connections{transport="tcp"}')) === 0)
    assert.equal((await exchange(await openTcp(gateway), ask())).kind, 'answer')
  })

  test('keep others from their addresses', async () => {
    for (const [kind, endpoint, name] of [
      ['dns', gateway.dns, 'dns \\(TCP\\)'],
      ['dot', gateway.dot, 'dot'],
      ['doh', gateway.doh, 'doh'],
    ] as const) {
      const { listen } = testConfig([])
      const taken = {
        ...listen,
        [kind]: [{ endpoint, access: null, proxyProtocol: null, clientCa: null, cleartext: false, byDefault: false }],
      }
      const message = new RegExp(
        `^Cannot listen for ${name} on 127\\.0\\.0\\.1:${endpoint.port}: the address is in use by another process$`,
      )
      await assert.rejects(runGateway([], { listen: taken, workers: 2 }), { code: 'ATLAS_LISTEN', message })
    }
  })
})

describe('a worker that ends', () => {
  test('is replaced, with all that it served; counters do not fall, what was open is forgotten', async () => {
    await using upstream = await dnsServer(() => {})
    await using gateway = await runThreads([upstream.endpoint], { timeouts: { queryMs: 60_000, handshakeMs: 5000, drainMs: 10_000 } })
    const open: Socket[] = []
    await untilBoth(gateway, { family: 'atlas_queries_open' }, async () => {
      const socket = (await openTls(gateway)).on('error', () => {})
      const sent = await metric(gateway, 'atlas_queries_open')
      socket.write(frame(ask()))
      await until(async () => (await metric(gateway, 'atlas_queries_open')) > sent)
      open.push(socket.resume())
    })
    const lost = gateway.counted(0, 'atlas_queries_open')
    const counters = ['atlas_queries_total{transport="dot"}', 'atlas_upstream_queries_total{upstream="upstream0"}']
    const before = await Promise.all(counters.map((name) => metric(gateway, name)))
    const first = gateway.worker(0)
    await first.terminate()
    await until(() => gateway.worker(0) !== first)
    assert.equal(gateway.counted(0, 'atlas_connections'), 0)
    assert.equal(await metric(gateway, 'atlas_queries_open'), open.length - lost)
    // what the other worker asks again is answered from now on
    upstream.udp.handler = answering
    await gateway.worker(0).started
    await everyClientIsAnswered(gateway)
    const now = await Promise.all(counters.map((name) => metric(gateway, name)))
    for (const [i, value] of now.entries()) assert.ok(value > (before[i] as number), `${counters[i]}: ${before[i]} → ${value}`)
    assert.equal(await metric(gateway, 'atlas_worker_restarts_total{reason="crashed"}'), 1)
    assert.equal(await metric(gateway, 'atlas_workers'), 2)
    for (const socket of open) socket.destroy()
  })

  test('by a throw, by exit() or by doing nothing any more is replaced, and the log says why', async () => {
    await using upstream = await dnsServer(answering)
    const supervision = { lookMs: 100, missedLooks: 20, pauseMs: 1 }
    await using gateway = await runThreads([upstream.endpoint], {}, { script: SCRIPT, supervision })
    const { state } = gateway
    for (const [fault, index, reason] of [
      ['throw', 0, 'crashed'],
      ['exit', 1, 'crashed'],
      ['block', 1, 'unresponsive'],
    ] as const) {
      const line = `atlas_worker_restarts_total{reason="${reason}"}`
      const before = await metric(gateway, line)
      const worker = gateway.worker(index)
      writeFileSync(join(state, `${fault}-${index}`), '')
      await worker.ended
      await until(async () => (await metric(gateway, line)) > before && (await metric(gateway, 'atlas_workers')) === 2)
      await everyClientIsAnswered(gateway)
    }
    const lines = gateway.log.map((each) => JSON.parse(each) as { level: number; msg: string; worker: number; err?: { stack: string } })
    const [thrown, exited, blocked] = lines.filter(({ level }) => level === 50)
    assert.equal(thrown?.worker, 0)
    assert.match(thrown.err?.stack ?? '', /^TypeError: a defect\n.*faulty-worker\.ts:/)
    assert.match(exited?.err?.stack ?? '', /with code 3/)
    assert.match(blocked?.msg ?? '', /does not respond/)
    const pending = gateway.worker(0)
    await gateway.gateway.drain()
    assert.equal(await pending.ended, null)
  })
})

test('drain() of two workers answers what is open in both, takes nothing new, and leaves no thread', async () => {
  // by name: a question that has to wait is asked again
  const held = new Map<string, () => void>()
  await using upstream = await dnsServer((query, reply) => {
    const name = /q\d+/i.exec(query.toString('latin1'))?.[0].toLowerCase()
    // the gateway has questions of its own for a server that is silent
    if (name !== undefined) held.set(name, () => reply(response(query, { answers: [aRecord()] })))
  })
  await using gateway = await runThreads([upstream.endpoint])
  const replies: ReturnType<typeof exchange>[] = []
  await untilBoth(gateway, { family: 'atlas_queries_open' }, async () => {
    replies.push(exchange(await openTcp(gateway), ask()))
    await until(() => held.size === replies.length)
  })
  for (const client of CLIENTS) replies.push(client.send(gateway, ask()))
  await until(() => held.size === replies.length)
  const drained = gateway.gateway.drain()
  assert.equal((await fetch(`http://127.0.0.1:${gateway.admin.port}/readyz`)).status, 503)
  await until(async () => {
    const socket = connect(gateway.dns.port, gateway.dns.host)
    const event = await Promise.race([once(socket, 'connect').then(() => 'connect'), once(socket, 'error').then(() => 'error')]).catch(
      () => 'error',
    )
    socket.destroy()
    return event === 'error'
  })
  for (const send of held.values()) send()
  for (const reply of replies) assert.equal((await reply).kind, 'answer')
  await drained
  for (const index of WORKERS) assert.equal(await gateway.worker(index).ended, null)
})
