import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import test, { after, before, describe } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { doh1, doh2, exchange, openTcp, openTls } from '../harness/clients.ts'
import { LIMITS, prefixes, runGateway, type TestGateway } from '../harness/gateway.ts'
import { aRecord, hex, question, response } from '../harness/messages.ts'
import { dropped } from '../harness/metrics.ts'
import { doh3 } from '../harness/quic.ts'
import { dnsServer } from '../harness/servers.ts'

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
    while (replies.length + (await dropped(gateway, 'rate_limited')) - before < count) await turn()
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
