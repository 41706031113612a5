import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { Failure } from '../../dns/failure.ts'
import type { Endpoint } from '../../net/address.ts'
import { monotonicClock } from '../../net/clock.ts'
import { ClientCookies } from '../../upstream/client-cookies.ts'
import { createServer } from '../../upstream/dial.ts'
import { aRecord, optResponse, response } from '../harness/messages.ts'
import { dnsServer, type Handler, udpServer } from '../harness/servers.ts'
import { ask, OwningUpstream, upstreamDependencies } from '../harness/upstream.ts'
import { terms } from './servers.ts'

const BADCOOKIE = 23
const DAY = 86_400_000
const TEN_MINUTES = 600_000
const SERVER_COOKIE = '0102030405060708'
const OTHER_COOKIE = '1112131415161718191a1b1c1d1e1f20'

function server(endpoint: Endpoint, dependencies = upstreamDependencies(), cookies = true) {
  return createServer({ name: 'test', protocol: 'udp', endpoint, terms: terms(), cookies }, dependencies)
}

/** The COOKIE option of a question in hex; null: none. */
function cookieOf(query: Buffer): string | null {
  let at = 12
  while (query[at] !== 0) at += 1 + (query[at] ?? 0)
  for (at += 5 + 11; at < query.length; at += 4 + query.readUInt16BE(at + 2)) {
    if (query.readUInt16BE(at) === 10) return query.toString('hex', at + 4, at + 4 + query.readUInt16BE(at + 2))
  }
  return null
}

const clientPart = (query: Buffer): string => cookieOf(query)?.slice(0, 16) ?? ''

/** With a COOKIE option of these octets in hex. */
function withCookie(query: Buffer, cookie: string, { rcode = 0, address = '192.0.2.1' } = {}): Buffer {
  const length = (cookie.length / 2).toString(16).padStart(4, '0')
  return response(query, {
    flags: 0x8180 | (rcode & 0xf),
    answers: rcode === 0 ? [aRecord(address)] : [],
    additionals: [optResponse({ rcode, rdata: `000a${length}${cookie}` })],
  })
}

/** Has cookies. */
const baking: Handler = (query, reply) => reply(withCookie(query, clientPart(query) + SERVER_COOKIE))
/** Has none. */
const plain: Handler = (query, reply) => reply(response(query, { answers: [aRecord()], additionals: [optResponse()] }))

describe('cookies towards an upstream', () => {
  test('are of eight octets at first, and bring the server’s back from then on', async () => {
    await using upstream = await udpServer(baking)
    const of = server(upstream.endpoint)
    for (let i = 0; i < 3; i++) assert.equal((await ask(of)).answer?.rcode, 0)
    const [first = '', ...others] = upstream.queries.map(cookieOf)
    assert.match(first ?? '', /^[0-9a-f]{16}$/)
    assert.deepEqual(others, [first + SERVER_COOKIE, first + SERVER_COOKIE])
    await of.close()
  })

  test('are the newest that the server has given, whatever it answered', async () => {
    await using upstream = await udpServer((query, reply) => reply(withCookie(query, clientPart(query) + OTHER_COOKIE, { rcode: 5 })))
    const of = server(upstream.endpoint)
    await ask(of)
    upstream.handler = baking
    for (let i = 0; i < 2; i++) await ask(of)
    const client = clientPart(upstream.queries[0] as Buffer)
    assert.deepEqual(upstream.queries.map(cookieOf), [client, client + OTHER_COOKIE, client + SERVER_COOKIE])
    await of.close()
  })

  test('come with a truncated answer too', async () => {
    await using both = await dnsServer(plain)
    both.udp.handler = (query, reply) => {
      const answer = withCookie(query, clientPart(query) + SERVER_COOKIE)
      answer.writeUInt16BE(0x8380, 2)
      reply(answer)
    }
    const of = server(both.endpoint)
    for (let i = 0; i < 2; i++) assert.equal((await ask(of)).answer?.rcode, 0)
    assert.equal(cookieOf(both.udp.queries[1] as Buffer), clientPart(both.udp.queries[0] as Buffer) + SERVER_COOKIE)
    await of.close()
  })

  test('are others for every server', async () => {
    await using upstream = await udpServer(plain)
    const both = [server(upstream.endpoint), server(upstream.endpoint)]
    for (const of of both) await ask(of)
    assert.equal(new Set(upstream.queries.map(cookieOf)).size, 2)
    for (const of of both) await of.close()
  })

  test('are new after a day', async () => {
    await using upstream = await udpServer(baking)
    const late = { ms: 0 }
    const of = server(upstream.endpoint, { ...upstreamDependencies(), clock: () => monotonicClock() + late.ms })
    await ask(of)
    late.ms = DAY - 120_000
    await ask(of)
    late.ms = DAY
    await ask(of)
    const [first, second, third] = upstream.queries.map(cookieOf)
    assert.equal(second, first + SERVER_COOKIE)
    assert.equal(third?.length, 16)
    assert.notEqual(third, first)
    await of.close()
  })

  test('are not sent where they are switched off', async () => {
    await using upstream = await udpServer(plain)
    const of = server(upstream.endpoint, upstreamDependencies(), false)
    await ask(of)
    assert.equal(cookieOf(upstream.queries[0] as Buffer), null)
    await of.close()
  })

  test('belong to one address of this machine, and are kept for a few', () => {
    const cookies = new ClientCookies(monotonicClock)
    const first = cookies.ofAddress('192.0.2.1')
    assert.equal(cookies.ofAddress('192.0.2.1'), first)
    const others = ['192.0.2.2', '192.0.2.3', '192.0.2.4', '192.0.2.5'].map((address) => cookies.ofAddress(address))
    const octets = [first, ...others, cookies.ofAddress('192.0.2.1')].map((cookie) => Buffer.from(cookie.octets).toString('hex'))
    assert.equal(new Set(octets).size, 6)
  })
})

describe('an answer with the wrong cookie', () => {
  // RFC 7873 §5.3: not ours, too short, without the server's part, of lengths that do not exist
  const wrong = (query: Buffer): readonly string[] => {
    const client = clientPart(query)
    return ['00'.repeat(8), `${'00'.repeat(8)}${SERVER_COOKIE}`, `${client.slice(0, 14)}`, `${client}01`, client + '01'.repeat(33), '']
  }

  test('is ignored, and the wait goes on', async () => {
    await using upstream = await udpServer((query, reply) => {
      for (const cookie of wrong(query)) reply(withCookie(query, cookie, { address: '203.0.113.66' }))
      baking(query, reply, { destroy: () => {} })
    })
    const dependencies = upstreamDependencies()
    const of = server(upstream.endpoint, dependencies)
    const { message } = await ask(of)
    assert.ok(message?.includes(Buffer.from([192, 0, 2, 1])))
    assert.equal(dependencies.meter.counts.ignored, 6)
    await of.close()
  })

  test('teaches nothing', async () => {
    await using upstream = await udpServer((query, reply) => {
      reply(withCookie(query, '00'.repeat(8) + SERVER_COOKIE))
      plain(query, reply, { destroy: () => {} })
    })
    const of = server(upstream.endpoint)
    for (let i = 0; i < 2; i++) assert.equal((await ask(of)).answer?.rcode, 0)
    assert.equal(cookieOf(upstream.queries[1] as Buffer), clientPart(upstream.queries[0] as Buffer))
    await of.close()
  })
})

describe('BADCOOKIE', () => {
  test('is answered with the cookie that came along', async () => {
    await using upstream = await udpServer((query, reply) => {
      const good = clientPart(query) + SERVER_COOKIE
      reply(withCookie(query, good, { rcode: cookieOf(query) === good ? 0 : BADCOOKIE }))
    })
    const of = server(upstream.endpoint)
    for (let i = 0; i < 2; i++) assert.equal((await ask(of)).answer?.rcode, 0)
    assert.equal(upstream.queries.length, 3)
    await of.close()
  })

  test('for the second time sends the question over TCP', async () => {
    await using both = await dnsServer(plain)
    both.udp.handler = (query, reply) => reply(withCookie(query, clientPart(query) + SERVER_COOKIE, { rcode: BADCOOKIE }))
    const of = server(both.endpoint)
    assert.equal((await ask(of)).answer?.rcode, 0)
    assert.equal(both.udp.queries.length, 2)
    assert.equal(both.tcp.queries.length, 1)
    await of.close()
  })

  test('costs no more than three packets, whatever else is tried', async () => {
    let answered = 0
    await using both = await dnsServer(() => {})
    both.udp.handler = (query, reply) => {
      // the first one is lost, the third send would be the fourth packet
      if (answered++ > 0) reply(withCookie(query, clientPart(query) + SERVER_COOKIE, { rcode: BADCOOKIE }))
    }
    const dependencies = upstreamDependencies()
    const of = server(both.endpoint, dependencies)
    const { failure } = await ask(new OwningUpstream([of], dependencies), { budgetMs: 2500 })
    assert.equal(failure, Failure.upstream_timeout)
    assert.equal(both.udp.queries.length, 3)
    assert.ok(both.tcp.queries.length <= 3)
    await of.close()
  })

  test('means nothing to somebody who has sent none', async () => {
    await using upstream = await udpServer((query, reply) => reply(withCookie(query, '', { rcode: BADCOOKIE })))
    const of = server(upstream.endpoint, upstreamDependencies(), false)
    assert.equal((await ask(of)).answer?.rcode, 2)
    assert.equal(upstream.queries.length, 1)
    await of.close()
  })
})

describe('an answer without a cookie, from a server that has them,', () => {
  const forged: Handler = (query, reply) => reply(response(query, { answers: [aRecord('203.0.113.66')] }))
  const genuine = Buffer.from([192, 0, 2, 1])

  test('is not believed: the question goes over TCP, with the cookie', async () => {
    await using both = await dnsServer(baking)
    const of = server(both.endpoint)
    await ask(of)
    both.udp.handler = forged
    for (let i = 0; i < 2; i++) assert.ok((await ask(of)).message?.includes(genuine))
    assert.deepEqual(both.tcp.queries.map(cookieOf), both.udp.queries.slice(1).map(cookieOf))
    assert.equal(both.tcp.queries.length, 2)
    await of.close()
  })

  test('is not believed when it is malformed, nor when it says that there is no EDNS', async () => {
    await using both = await dnsServer(baking)
    const of = server(both.endpoint)
    await ask(of)
    both.udp.handler = (query, reply) => reply(Buffer.concat([response(query, {}), Buffer.alloc(1)]))
    assert.ok((await ask(of)).message?.includes(genuine))
    both.udp.handler = (query, reply) => reply(response(query, { flags: 0x8181 }))
    assert.ok((await ask(of)).message?.includes(genuine))
    assert.equal(both.udp.queries.length, 3)
    await of.close()
  })

  test('is not believed right after the client’s cookie was renewed either', async () => {
    await using both = await dnsServer(baking)
    const late = { ms: 0 }
    const of = server(both.endpoint, { ...upstreamDependencies(), clock: () => monotonicClock() + late.ms })
    await ask(of)
    late.ms = DAY
    both.udp.handler = forged
    assert.ok((await ask(of)).message?.includes(genuine))
    await of.close()
  })

  test('is, once nobody could be asked over TCP: better than never again', async () => {
    await using upstream = await udpServer(baking)
    const of = server(upstream.endpoint)
    await ask(of)
    // another server has the address now
    upstream.handler = plain
    assert.equal((await ask(of)).failure, Failure.upstream_network)
    for (let i = 0; i < 3; i++) assert.equal((await ask(of)).answer?.rcode, 0)
    await of.close()
  })

  test('is, once TCP has said that there are none any more, and for a while', async () => {
    await using both = await dnsServer(baking)
    const late = { ms: 0 }
    const of = server(both.endpoint, { ...upstreamDependencies(), clock: () => monotonicClock() + late.ms })
    await ask(of)
    both.udp.handler = plain
    both.tcp.handler = plain
    for (let i = 0; i < 3; i++) assert.equal((await ask(of)).answer?.rcode, 0)
    assert.equal(both.tcp.queries.length, 1)
    // of an anycast address, some may have them
    both.udp.handler = baking
    await ask(of)
    both.udp.handler = plain
    await ask(of)
    assert.equal(both.tcp.queries.length, 1)
    late.ms = TEN_MINUTES
    await ask(of)
    assert.equal(both.tcp.queries.length, 2)
    await of.close()
  })
})
