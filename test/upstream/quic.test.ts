import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { Failure } from '../../dns/failure.ts'
import type { Endpoint } from '../../net/address.ts'
import { monotonicClock } from '../../net/clock.ts'
import type { QuicDialOptions, QuicEngine } from '../../net/quic.ts'
import { Wheel } from '../../net/wheel.ts'
import { createServer } from '../../upstream/dial.ts'
import { issue, type TestCertificate } from '../certs/issue.ts'
import { aRecord, response } from '../harness/messages.ts'
import { engine } from '../harness/quic.ts'
import { type Asked, QuicTestServer, replying } from '../harness/quic-servers.ts'
import type { Handler } from '../harness/servers.ts'
import { UdpRelay } from '../harness/udp-relay.ts'
import { until } from '../harness/until.ts'
import { type AskOptions, ask as askFor, upstreamDependencies } from '../harness/upstream.ts'
import { leaf, type QuicServerParts, root, terms } from './servers.ts'

const answering: Handler = (query, reply) => reply(response(query, { answers: [aRecord()] }))
const identityOf = ({ certPem, keyPem }: TestCertificate) => ({ chainPem: certPem, keyPem })

const other = await issue({ isCa: true, subject: 'CN=other' })
const foreign = await issue({ names: ['dns.example'], issuer: other })
const expired = await issue({ names: ['dns.example'], issuer: root, from: -10, until: -1 })
const elsewhere = await issue({ names: ['elsewhere.example'], issuer: root })

/** The engine of the tests, which notes what is dialled. */
class NotingEngine implements QuicEngine {
  readonly opensUnidirectional = true
  readonly dialled: QuicDialOptions[] = []
  listen: QuicEngine['listen'] = (options) => engine().listen(options)
  dial: QuicEngine['dial'] = (options, handlerOf) => {
    this.dialled.push(options)
    return engine().dial(options, handlerOf)
  }
}

for (const protocol of ['quic', 'h3'] as const) {
  const token = protocol === 'quic' ? 'doq' : 'h3'
  const codes = protocol === 'quic' ? { noError: 0, busy: 4, cancelled: 3 } : { noError: 0x100, busy: 0x107, cancelled: 0x10c }

  const start = (parts: Partial<QuicTestServer['options']> = {}) =>
    QuicTestServer.start({ protocol: token, identity: identityOf(leaf), react: replying, ...parts })
  const answeringServer = async (parts: Partial<QuicTestServer['options']> = {}) => {
    const server = await start(parts)
    server.handler = answering
    return server
  }

  /** An upstream whose clock can be put forward. */
  const upstreamTo = (endpoint: Endpoint, parts: QuicServerParts = {}) => {
    let ahead = 0
    const clock = () => monotonicClock() + ahead
    const wheel = new Wheel(clock)
    const noting = new NotingEngine()
    const dependencies = { ...upstreamDependencies(), clock, wheel, quic: () => noting }
    const { serverName = 'dns.example', roots = [root.certPem] } = parts
    const options = {
      name: 'test',
      endpoint,
      terms: terms(parts.terms),
      trust: { serverName, roots },
      url: new URL('https://dns.example/dns-query'),
    }
    const upstream =
      protocol === 'quic' ? createServer({ ...options, protocol }, dependencies) : createServer({ ...options, protocol }, dependencies)
    const forward = (ms: number): void => {
      ahead += ms
      wheel.advance(clock())
    }
    const ask = ({ budgetMs = 2000, ...options }: AskOptions = {}) => askFor(upstream, { ...options, budgetMs: budgetMs + ahead })
    const many = (length: number) => Promise.all(Array.from({ length }, () => ask({ budgetMs: 10_000 })))
    return { upstream, ask, many, dependencies, forward, dialled: noting.dialled, counts: dependencies.meter.counts }
  }
  describe(`connections of a ${protocol} upstream`, () => {
    test('are opened one after the other as questions exceed `pipelining`, up to `connections`', async () => {
      const held: (() => void)[] = []
      await using server = await start()
      server.handler = (query, reply) => held.push(() => answering(query, reply, { destroy() {} }))
      const { upstream, many, counts } = upstreamTo(server.endpoint, { terms: { pipelining: 10, connections: 2 } })
      const first = many(11)
      await until(() => held.length >= 11)
      assert.equal(server.links.length, 2)
      const rest = many(30)
      await until(() => held.length >= 41)
      for (const send of held) send()
      const outcomes = [...(await first), ...(await rest)]
      assert.ok(outcomes.every(({ answer }) => answer !== null))
      assert.deepEqual([server.links.length, counts.connections, counts.sent], [2, 2, 41])
      await upstream.close()
      assert.equal(counts.connections, 0)
    })

    for (const connections of [1, 4]) {
      test(`ask as much at a time as the server allows, on ${connections}`, async () => {
        await using server = await answeringServer({ streams: 10 })
        const { upstream, many, counts } = upstreamTo(server.endpoint, { terms: { connections } })
        for (let round = 0; round < 3; round++) {
          const outcomes = await many(200)
          assert.deepEqual(new Set(outcomes.map(({ failure }) => failure)), new Set([null]))
        }
        assert.equal(server.queries.length, 600)
        assert.equal(counts.sent, 600)
        assert.ok(server.links.length <= connections)
        await upstream.close()
      })
    }

    test('are replaced when they are old, without a question lost', async () => {
      await using server = await answeringServer()
      const { upstream, ask, forward } = upstreamTo(server.endpoint, { terms: { maxAgeMs: 1_000_000, idleMs: 5_000_000 } })
      assert.ok((await ask()).answer)
      forward(890_000)
      assert.ok((await ask()).answer)
      assert.equal(server.links.length, 1)
      let release = (): void => {}
      server.handler = (query, reply) => {
        release = () => answering(query, reply, { destroy() {} })
      }
      const open = ask({ budgetMs: 5_000_000 })
      await until(() => server.queries.length >= 3)
      server.handler = answering
      forward(220_000)
      await until(() => server.links.length >= 2)
      assert.ok((await ask()).answer)
      assert.equal(server.links[0]?.isClosed, false)
      release()
      assert.ok((await open).answer)
      assert.equal(await server.links[0]?.closedWith.promise, codes.noError)
      assert.ok((await ask()).answer)
      assert.equal(server.links.length, 2)
      await upstream.close()
    })

    test('are closed when they are idle, and the next one resumes the session', async () => {
      await using server = await answeringServer()
      const { upstream, ask, forward, dialled } = upstreamTo(server.endpoint)
      for (let i = 0; i < 3; i++) {
        assert.ok((await ask()).answer)
        forward(29_000)
        assert.equal(server.links[i]?.isClosed, false)
        forward(1100)
        assert.equal(await server.links[i]?.closedWith.promise, codes.noError)
      }
      // RFC 8446 §C.4: once; without a ticket a day after the certificate was seen, however often it was resumed since
      forward(86_400_000 - 60_000)
      assert.ok((await ask()).answer)
      assert.deepEqual(
        dialled.map(({ ticket }) => ticket !== undefined),
        [false, true, true, false],
      )
      await upstream.close()
    })

    test('end with what the upstream has: a question that nobody waits for is cancelled', async () => {
      let late: Asked | null = null
      await using server = await answeringServer({
        react: (asked) => {
          if (asked.query.includes('late')) late = asked
          else replying(asked)
        },
      })
      const { upstream, ask } = upstreamTo(server.endpoint)
      const open = ask({ name: 'late.example', budgetMs: 1000 })
      await until(() => server.queries.length > 0)
      // a connection on which nothing has come since is left
      assert.ok((await ask()).answer)
      assert.equal((await open).failure, Failure.upstream_timeout)
      const { quic, stream, query } = late as unknown as Asked
      // the library hears of STOP_SENDING when it sends
      const [connection] = server.links
      while (connection?.resets.length === 0) {
        quic.send(stream, response(query, {}), false)
        await turn()
      }
      assert.deepEqual(connection?.resets, [{ stream, code: codes.cancelled }])
      await upstream.close()
    })

    test('drain: what is open is answered, then they close', async () => {
      let release = (): void => {}
      await using server = await start()
      server.handler = (query, reply) => {
        release = () => answering(query, reply, { destroy() {} })
      }
      const { upstream, ask } = upstreamTo(server.endpoint)
      const open = ask()
      await until(() => server.queries.length > 0)
      const drained = upstream.drain(5000)
      release()
      assert.ok((await open).answer)
      await drained
      assert.equal(await server.links[0]?.closedWith.promise, codes.noError)
    })
  })

  describe(`a ${protocol} upstream`, () => {
    test('gives a handshake up that gets nothing, says so at once for a moment, and dials anew', async () => {
      await using nobody = await UdpRelay.start(null)
      const { upstream, ask, many, forward, dialled } = upstreamTo(nobody.endpoint, { terms: { connectMs: 300 } })
      const outcomes = await many(20)
      assert.ok(outcomes.every(({ failure }) => failure === Failure.upstream_network))
      // the others were asked when it was under way already
      assert.ok((outcomes[0]?.ms ?? 0) > 200)
      assert.deepEqual([dialled.length, nobody.clients.size], [1, 1])
      const { failure, ms } = await ask()
      assert.equal(failure, Failure.upstream_network)
      assert.ok(ms < 100, `${ms} ms`)
      assert.equal(dialled.length, 1)
      await using server = await answeringServer()
      nobody.target = server.endpoint
      forward(250)
      assert.ok((await ask()).answer)
      await upstream.close()
    })

    test('fails at once where the machine has no QUIC', async () => {
      const options = {
        name: 'test',
        endpoint: { host: '127.0.0.1', port: 9 },
        terms: terms(),
        trust: { serverName: 'dns.example', roots: null },
      }
      const upstream = createServer({ ...options, protocol, url: new URL('https://dns.example/dns-query') }, upstreamDependencies())
      assert.equal((await askFor(upstream)).failure, Failure.upstream_network)
      await upstream.close()
    })

    test('asks once more, on a new connection, when the server has lost the old one without a word', async () => {
      await using before = await answeringServer()
      await using relay = await UdpRelay.start(before.endpoint)
      const { upstream, ask, many, counts } = upstreamTo(relay.endpoint)
      assert.ok((await ask()).answer)
      await using after = await answeringServer()
      relay.target = after.endpoint
      const outcomes = await many(10)
      assert.ok(outcomes.every(({ answer, ms }) => answer !== null && ms < 3000))
      assert.deepEqual([before.queries.length, after.queries.length, after.links.length], [1, 10, 1])
      assert.deepEqual([counts.sent, counts.answered, counts.failed], [21, 11, []])
      await upstream.close()
    })

    test('keeps the connection to a server that is slow and acknowledges', async () => {
      await using server = await start()
      server.handler = (query, reply) => setTimeout(() => answering(query, reply, { destroy() {} }), 1600)
      const { upstream, ask } = upstreamTo(server.endpoint)
      assert.ok((await ask({ budgetMs: 4000 })).answer)
      assert.deepEqual([server.queries.length, server.links.length], [1, 1])
      await upstream.close()
    })

    test('asks again what the server reset, once', async () => {
      for (const code of [0x1, 0x5]) {
        let left = 1
        await using server = await start({
          react: (asked) => {
            if (left-- > 0) asked.quic.reset(asked.stream, code)
            else replying(asked)
          },
        })
        server.handler = answering
        const { upstream, ask } = upstreamTo(server.endpoint)
        assert.ok((await ask()).answer)
        assert.equal(server.queries.length, 2)
        left = Number.POSITIVE_INFINITY
        assert.equal((await ask()).failure, Failure.upstream_network)
        assert.equal(server.queries.length, 4)
        await upstream.close()
      }
    })

    test('leaves a server alone that has too much to do', async () => {
      await using server = await start({ react: ({ quic }) => quic.close(codes.busy) })
      const { upstream, ask, forward, dialled } = upstreamTo(server.endpoint)
      assert.equal((await ask()).failure, Failure.upstream_network)
      assert.equal((await ask()).failure, Failure.upstream_network)
      assert.deepEqual([server.queries.length, dialled.length], [1, 1])
      server.react = replying
      server.handler = answering
      forward(1000)
      assert.ok((await ask()).answer)
      await upstream.close()
    })

    test('does not dial for every question a server that closes every connection', async () => {
      await using server = await start({ react: ({ quic }) => quic.close(codes.noError) })
      const { upstream, ask, dialled } = upstreamTo(server.endpoint)
      for (let i = 0; i < 20; i++) assert.equal((await ask()).failure, Failure.upstream_network)
      assert.equal(dialled.length, 2)
      await upstream.close()
    })

    test('takes a server that speaks something else for one that is not there', async () => {
      await using server = await start({ protocol: token === 'doq' ? 'h3' : 'doq' })
      const { upstream, ask, dependencies } = upstreamTo(server.endpoint, { terms: { connectMs: 300 } })
      assert.equal((await ask()).failure, Failure.upstream_network)
      assert.deepEqual(dependencies.trust.said, [])
      await upstream.close()
    })

    test('fails what is open, and dials nobody, once it is closed', async () => {
      await using server = await start({ react: () => {} })
      const { upstream, ask, many, dialled } = upstreamTo(server.endpoint)
      const open = many(5)
      // while the connection is being made
      await upstream.close()
      assert.ok((await open).every(({ failure }) => failure === Failure.upstream_network))
      assert.equal((await ask()).failure, Failure.upstream_network)
      assert.equal(dialled.length, 1)
    })
  })

  describe(`a ${protocol} upstream refuses, and asks nothing, where the server shows`, () => {
    for (const [what, shown, reason] of [
      ['another name', elsewhere, /^the certificate is not for dns\.example, or not valid$/],
      ['an expired certificate', expired, /^the certificate has expired$/],
      ['an unknown issuer', foreign, /^the issuer of the certificate is unknown$/],
    ] as const) {
      test(what, async () => {
        const server = await answeringServer({ identity: identityOf(shown) })
        await using relay = await UdpRelay.start(server.endpoint)
        const { upstream, ask, many, dependencies, forward, dialled } = upstreamTo(relay.endpoint)
        const outcomes = [...(await many(20)), await ask()]
        assert.ok(outcomes.every(({ failure }) => failure === Failure.upstream_certificate))
        assert.equal(dialled.length, 1)
        forward(1000)
        assert.equal((await ask()).failure, Failure.upstream_certificate)
        assert.equal(dialled.length, 2)
        assert.equal(dependencies.trust.said.length, 1)
        assert.match(dependencies.trust.said[0] ?? '', reason)
        assert.equal(server.queries.length, 0)
        await server[Symbol.asyncDispose]()
        await using good = await answeringServer()
        relay.target = good.endpoint
        forward(1000)
        assert.ok((await ask()).answer)
        assert.equal(dependencies.trust.said.at(-1), '')
        await upstream.close()
      })
    }

    test('a certificate of the tests, where the usual roots are trusted', async () => {
      await using server = await answeringServer()
      const { upstream, ask } = upstreamTo(server.endpoint, { roots: null })
      assert.equal((await ask()).failure, Failure.upstream_certificate)
      await upstream.close()
    })
  })
}
