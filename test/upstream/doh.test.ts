import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import type { Answer } from '../../dns/answer.ts'
import { u32 } from '../../dns/bytes.ts'
import { Failure } from '../../dns/failure.ts'
import type { TlsTrust } from '../../upstream/dial-tls.ts'
import { issue } from '../certs/issue.ts'
import { runGateway } from '../harness/gateway.ts'
import { aRecord, client, encode, parsedQuery, question, response } from '../harness/messages.ts'
import { httpsServer, tlsServer, udpServer } from '../harness/servers.ts'
import { ADDRESS, answer, answering, ask, asking, clock, forward, inform, OK, send, serving, upstreamTo } from './doh-harness.ts'
import { GOOD, root } from './servers.ts'

describe('an https upstream asks', () => {
  test('by GET with id 0 and padding, and tells nothing of itself', async () => {
    await using server = await httpsServer(answering, GOOD)
    const url = new URL(`https://dns.example:${server.endpoint.port}/token/dns-query?profile=a`)
    const { upstream } = upstreamTo(server.endpoint, { url })
    assert.ok((await ask(upstream)).message?.includes(ADDRESS))
    const [{ ...fields } = {}] = server.requests
    assert.deepEqual(fields, {
      ':method': 'GET',
      ':scheme': 'https',
      ':authority': `dns.example:${server.endpoint.port}`,
      ':path': `/token/dns-query?profile=a&dns=${server.queries[0]?.toString('base64url')}`,
      accept: 'application/dns-message',
      'accept-encoding': 'identity',
      [Object.getOwnPropertySymbols(fields)[0] as symbol]: [],
    })
    assert.deepEqual(server.queries[0], question({ name: 'example.com', id: 0, opt: `000c0054 ${'00'.repeat(84)}` }))
    await upstream.close()
  })

  test('a gateway of our own, which gives its questions to yet another server', async () => {
    await using last = await udpServer(answering)
    await using gateway = await runGateway([last.endpoint])
    const url = new URL(`https://localhost:${gateway.doh.port}/dns-query`)
    const { upstream } = upstreamTo(gateway.doh, { url, trust: { ca: gateway.ca, serverName: 'localhost' } })
    const outcomes = await asking(upstream, 200)
    assert.ok(outcomes.every(({ message }) => message?.includes(ADDRESS)))
    // DOH-10
    assert.ok(last.queries.some((query) => query.readUInt16BE(0) !== 0))
    await upstream.close()
  })

  test('over one connection, answers in any order', async () => {
    const held: (() => void)[] = []
    await using server = await serving((stream, query) => {
      held.push(() => answer(stream, query))
      if (held.length === 100) for (const send of held.toReversed()) send()
    })
    const { upstream, counts } = upstreamTo(server.endpoint)
    const outcomes = await asking(upstream, 100)
    assert.ok(outcomes.every(({ message }) => message?.includes(ADDRESS)))
    assert.deepEqual([server.sessions.length, counts.sent, counts.answered, counts.connections], [1, 100, 100, 1])
    assert.ok(upstream.rtt > 0)
    await upstream.close()
    assert.equal(counts.connections, 0)
  })

  test('a server that speaks HTTP/1.1 only, nothing at all', async () => {
    await using server = await tlsServer(answering, { ...GOOD, ALPNProtocols: undefined })
    const { upstream } = upstreamTo(server.endpoint)
    assert.equal((await ask(upstream)).failure, Failure.upstream_network)
    assert.equal(server.queries.length, 0)
    await upstream.close()
  })
})

describe('an https upstream accepts', () => {
  test('a media type with parameters and in capitals, an interim response, and an answer in pieces', async () => {
    await using server = await serving((stream, query) => {
      inform(stream, 2)
      stream.respond({ ':status': 200, 'content-type': 'Application/DNS-Message; charset=x', 'content-encoding': 'identity' })
      const message = response(query, { answers: [aRecord()] })
      for (const octet of message) stream.write(Buffer.from([octet]))
      stream.end()
    })
    const { upstream } = upstreamTo(server.endpoint)
    assert.ok((await ask(upstream)).message?.includes(ADDRESS))
    await upstream.close()
  })

  test('the longest answer there can be', async () => {
    await using server = await serving((stream, query) => {
      const answers = Array.from({ length: 3900 }, (_, i) => aRecord(`10.0.${i >> 8}.${i & 255}`))
      send(stream, OK, response(query, { answers }))
    })
    const { upstream } = upstreamTo(server.endpoint)
    assert.equal((await ask(upstream)).answer?.body.answers, 3900)
    await upstream.close()
  })
})

describe('an https upstream counts how long caches have kept an answer:', () => {
  const withAge = async (age: string): Promise<Answer> => {
    await using server = await serving((stream, query) =>
      send(stream, { ...OK, age }, response(query, { answers: [aRecord('192.0.2.1', { ttl: 600 })] })),
    )
    const { upstream } = upstreamTo(server.endpoint)
    const { answer } = await ask(upstream)
    await upstream.close()
    assert.ok(answer)
    return answer
  }
  /** As a client would get it. */
  const ttlOf = (answer: Answer): number => {
    const message = encode(answer, parsedQuery(question({ name: 'example.com' }), client('doh2')), clock())
    return u32(message, message.indexOf(ADDRESS) - 6)
  }

  for (const [age, left] of [
    ['250', 350],
    ['0', 600],
    ['-1', 600],
    ['soon', 600],
  ] as const) {
    test(`age ${age} leaves ${left} of 600 seconds`, async () => {
      const answer = await withAge(age)
      assert.equal(ttlOf(answer), left)
      assert.equal(answer.freshness(clock()), left)
    })
  }

  for (const age of ['600', '99999999999999999999']) {
    test(`one that is ${age} s old, and over, is for no cache`, async () => {
      const answer = await withAge(age)
      assert.equal(ttlOf(answer), 0)
      assert.equal(answer.body.freshness, 0)
    })
  }
})

describe('an https upstream leaves a server alone that asks for it', () => {
  const waits: readonly [field: string, ms: number][] = [
    ['5', 5000],
    ['3600', 30_000],
    [new Date(Date.now() + 3_600_000).toUTCString(), 30_000],
  ]
  for (const status of [429, 503]) {
    for (const [field, ms] of waits) {
      test(`by ${status} and Retry-After: ${field.replace(/.*GMT/, 'a date')}`, async () => {
        await using server = await serving((stream) => send(stream, { ':status': status, 'retry-after': field }))
        const { upstream } = upstreamTo(server.endpoint)
        const codes = [(await ask(upstream)).failure?.code, (await ask(upstream)).failure?.code]
        forward(ms - 500)
        codes.push((await ask(upstream)).failure?.code)
        assert.deepEqual(new Set(codes), new Set(['upstream_failed']))
        assert.equal(server.queries.length, 1)
        server.serve = answer
        forward(500)
        assert.ok((await ask(upstream)).answer)
        await upstream.close()
      })
    }
  }

  test('and for a second where it does not say for how long', async () => {
    await using server = await serving((stream) => send(stream, { ':status': 503, 'retry-after': 'never' }))
    const { upstream } = upstreamTo(server.endpoint)
    for (let i = 0; i < 2; i++) assert.equal((await ask(upstream)).failure, Failure.upstream_failed)
    assert.equal(server.queries.length, 1)
    server.serve = answer
    forward(1000)
    assert.ok((await ask(upstream)).answer)
    await upstream.close()
  })
})

const expired = await issue({ names: ['dns.example'], addresses: ['127.0.0.1'], issuer: root, from: -10, until: -1 })
const elsewhere = await issue({ names: ['elsewhere.example'], addresses: ['127.0.0.2'], issuer: root })
const selfSigned = await issue({ names: ['dns.example'], addresses: ['127.0.0.1'] })

describe('an https upstream asks nothing of a server that shows', () => {
  const refusals = [
    { what: 'an expired certificate', shows: expired, reason: /^certificate has expired$/ },
    { what: 'another name', shows: elsewhere, parts: { serverName: 'dns.example' }, reason: /^Hostname\/IP does not match/ },
    { what: 'a certificate that nobody issued', shows: selfSigned, reason: /^self-signed certificate$/ },
    { what: 'no pinned key', shows: selfSigned, parts: { verifiesChain: false, pins: ['AAAA'] }, reason: /has a pinned key$/ },
  ] satisfies { what: string; shows: typeof expired; parts?: Partial<TlsTrust>; reason: RegExp }[]
  for (const { what, shows, parts = {}, reason } of refusals) {
    test(what, async () => {
      await using server = await httpsServer(answering, { cert: shows.certPem, key: shows.keyPem })
      let connections = 0
      server.listener.on('connection', () => connections++)
      const { upstream, dependencies } = upstreamTo(server.endpoint, { trust: parts })
      const outcomes = await asking(upstream, 20)
      outcomes.push(await ask(upstream))
      assert.ok(outcomes.every(({ failure }) => failure === Failure.upstream_certificate))
      assert.deepEqual([connections, server.queries.length, dependencies.trust.said.length], [1, 0, 1])
      assert.match(dependencies.trust.said[0] ?? '', reason)
      await upstream.close()
    })
  }
})
