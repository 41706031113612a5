import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect } from 'node:net'
import test, { after, before, describe } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { doh1, doh2, exchange, openTcp, openTls } from '../harness/clients.ts'
import { LIMITS, prefixes, runGateway, type TestGateway } from '../harness/gateway.ts'
import { aRecord, hex, question, response } from '../harness/messages.ts'
import { dropped } from '../harness/metrics.ts'
import { doh3 } from '../harness/quic.ts'
import { dnsServer, holding } from '../harness/servers.ts'
import { until } from '../harness/until.ts'

const CLIENT_COOKIE = '2464c4abcf10c957'
const asking = (id: number, cookie = '') =>
  question({ id, name: 'localhost', ...(cookie !== '' && { opt: `000a${(cookie.length / 2).toString(16).padStart(4, '0')}${cookie}` }) })

let upstream: Awaited<ReturnType<typeof dnsServer>>
before(async () => {
  upstream = await dnsServer((query, reply) => reply(response(query, { answers: [aRecord()] })))
})
after(() => upstream[Symbol.asyncDispose]())

describe('over UDP', () => {
  /** What comes back for so many queries at once, when all are answered or counted as dropped. */
  async function flood(gateway: TestGateway, count: number, cookie = ''): Promise<Buffer[]> {
    const socket = createSocket('udp4')
    socket.connect(gateway.dns.port, gateway.dns.host)
    await once(socket, 'connect')
    const replies: Buffer[] = []
    socket.on('message', (message) => replies.push(message))
    const before = await dropped(gateway, 'rate_limited')
    for (let id = 1; id <= count; id++) socket.send(asking(id, cookie))
    await until(async () => replies.length + (await dropped(gateway, 'rate_limited')) - before >= count)
    socket.close()
    return replies
  }
  const isCut = (reply: Buffer) => ((reply[2] ?? 0) & 0x02) !== 0
  const start = () =>
    runGateway([upstream.endpoint], { limits: { ...LIMITS, udp: { perSecond: 10, slip: 2, exempt: prefixes('192.0.2.1') } } })

  test('a flood in somebody’s name brings that one no more octets than were sent', async () => {
    await using gateway = await start()
    const replies = await flood(gateway, 60)
    const cut = replies.filter(isCut)
    const whole = replies.length - cut.length
    // a moment may pass meanwhile
    assert.ok(whole >= 10 && whole <= 15, `${whole} whole`)
    assert.equal(cut.length, Math.floor((60 - whole) / 2))
    for (const reply of cut) assert.ok(reply.length <= asking(1).length)
  })

  test('a client with a cookie of ours is answered each time', async () => {
    await using gateway = await start()
    const [first = Buffer.alloc(0)] = await flood(gateway, 1, CLIENT_COOKIE)
    const at = first.indexOf(hex('000a0018')) + 4
    const replies = await flood(gateway, 60, first.toString('hex', at, at + 24))
    assert.deepEqual([replies.length, replies.some(isCut)], [60, false])
  })
})

test('queries are counted over all transports; too many are REFUSED, and 429 over HTTPS', async () => {
  await using gateway = await runGateway([upstream.endpoint], { limits: { ...LIMITS, queriesPerSecond: 1 } })
  const path = `/dns-query?dns=${asking(1).toString('base64url')}`
  for (let i = 0; i < 20; i++) await doh2(gateway, { path })
  for (const open of [openTcp, openTls]) {
    const reaction = await exchange(await open(gateway), asking(7, CLIENT_COOKIE))
    assert.ok(reaction.kind === 'answer')
    // REFUSED, and an Extended DNS Error that says why
    assert.deepEqual([(reaction.message[3] ?? 0) & 15, reaction.message.includes('too many queries')], [5, true])
  }
  for (const client of [doh1, doh2, doh3]) {
    const { status, headers } = await client(gateway, { path })
    assert.deepEqual([status, headers['retry-after']], [429, '2'])
  }
})

describe('who waits for upstreams', () => {
  test('waits in so many queries at most, over all transports; what they are told, and what is known, does not count', async () => {
    const held: (() => void)[] = []
    await using slow = await dnsServer(holding((send) => void held.push(send)))
    const limits = { ...LIMITS, inFlightPerClient: 3 }
    await using gateway = await runGateway([slow.endpoint], { limits })
    const ask = (name: string) => doh2(gateway, { path: `/dns-query?dns=${question({ name, opt: '' }).toString('base64url')}` })
    const waiting = [1, 2, 3].map((i) => ask(`slow${i}.example.com`))
    await until(() => held.length >= 3)
    const { body } = await ask('slow4.example.com')
    assert.equal((body[3] ?? 0) & 15, 5)
    const overTls = await exchange(await openTls(gateway), question({ name: 'slow5.example.com' }))
    assert.ok(overTls.kind === 'answer' && ((overTls.message[3] ?? 0) & 15) === 5)
    assert.equal(((await ask('localhost')).body[3] ?? 0) & 15, 0)
    assert.equal(await dropped(gateway, 'in_flight_limit'), 2)
    for (const send of held.splice(0)) send()
    for (const each of await Promise.all(waiting)) assert.equal((each.body[3] ?? 0) & 15, 0)
    assert.equal(((await ask('www.example.com')).body[3] ?? 0) & 15, 0, 'there is room again')
  })
})

describe('connections', () => {
  /** How many of so many connections, one after the other, were let in. */
  const letIn = async (count: number, open: () => Promise<{ destroy(): void }>) => {
    let opened = 0
    for (let i = 0; i < count; i++) {
      const connection = await open().catch(() => null)
      connection?.destroy()
      if (connection !== null) opened++
    }
    return opened
  }

  test('may each cost a handshake so often; without TLS they cost none', async () => {
    await using gateway = await runGateway([upstream.endpoint], { limits: { ...LIMITS, handshakesPerSecond: 1 } })
    // ten seconds' worth at once, and what comes meanwhile
    const opened = await letIn(20, () => openTls(gateway))
    assert.ok(opened >= 10 && opened <= 15, String(opened))
    assert.equal(await dropped(gateway, 'handshake_limit'), 20 - opened)
    assert.equal(await letIn(20, () => openTcp(gateway)), 20)
    await gateway.reload({ limits: LIMITS })
    assert.equal(await letIn(5, () => openTls(gateway)), 5)
  })

  test('have a ceiling for all clients together', async () => {
    await using gateway = await runGateway([upstream.endpoint], { limits: { ...LIMITS, connections: 3 } })
    const sockets: { destroy(): void }[] = await Promise.all([openTcp(gateway), openTls(gateway), openTls(gateway)])
    const open = () => openTls(gateway).then((socket) => void sockets.push(socket))
    // a TCP connection is open before it is counted
    while ((await dropped(gateway, 'connection_ceiling')) === 0) await assert.rejects(open())
    for (const socket of sockets.splice(0)) socket.destroy()
    while (sockets.length === 0) await open().catch(turn)
    for (const socket of sockets) socket.destroy()
  })
})

test('short of memory, the gateway lets nobody in and ends the connections of the heaviest client, until there is room', async () => {
  await using gateway = await runGateway([upstream.endpoint], { limits: LIMITS })
  const open = async (localAddress: string) => {
    const socket = connect({ host: gateway.dns.host, port: gateway.dns.port, localAddress })
    await once(socket, 'connect')
    return socket
  }
  const heavy = await Promise.all(Array.from({ length: 10 }, () => open('127.0.0.2')))
  const light = await open('127.0.0.3')
  const ended = heavy.map((socket) => once(socket, 'close'))
  assert.equal((await gateway.reload({ limits: { ...LIMITS, memory: 1 } })).outcome, 'applied')
  for (const socket of heavy) socket.resume()
  await Promise.all(ended)
  assert.equal(await dropped(gateway, 'overload_shed'), 10)
  assert.equal((await exchange(light, asking(1))).kind, 'answer')
  const newcomer = await open('127.0.0.4')
  await once(newcomer.resume(), 'close')
  assert.equal(await dropped(gateway, 'overload_refused'), 1)
  assert.ok(gateway.log.some((line) => line.includes('memory is short')))
  await gateway.reload({ limits: LIMITS })
  await until(() => gateway.log.some((line) => line.includes('there is room again')))
  assert.equal((await exchange(await openTcp(gateway), asking(2))).kind, 'answer')
})
