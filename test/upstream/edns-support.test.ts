import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { Failure } from '../../dns/failure.ts'
import { monotonicClock } from '../../net/clock.ts'

import { aRecord, optResponse, response } from '../harness/messages.ts'
import { dnsServer, type Handler, udpServer } from '../harness/servers.ts'
import { ask, OwningUpstream, upstreamDependencies } from '../harness/upstream.ts'
import { serverFor, startServer } from './servers.ts'

const FORMERR = 0x8181
const NOTIMP = 0x8184
const FIVE_MINUTES = 300_000

const hasOpt = (query: Buffer): boolean => query.readUInt16BE(10) === 1
const answer: Handler = (query, reply) => reply(response(query, { answers: [aRecord()] }))

/** A server from before EDNS (RFC 6891 §7). */
const old =
  (flags = FORMERR): Handler =>
  (query, reply, connection) => {
    if (hasOpt(query)) reply(response(query, { flags }))
    else answer(query, reply, connection)
  }

/** Of those that do not even repeat the question. */
const older: Handler = (query, reply, connection) => {
  if (!hasOpt(query)) return answer(query, reply, connection)
  const header = Buffer.alloc(12)
  header.writeUInt16BE(query.readUInt16BE(0), 0)
  header.writeUInt16BE(FORMERR, 2)
  reply(header)
}

/** With a clock that can be put forward. */
function laterDependencies() {
  const late = { ms: 0 }
  return { late, dependencies: { ...upstreamDependencies(), clock: () => monotonicClock() + late.ms } }
}

for (const protocol of ['udp', 'tcp', 'tls'] as const) {
  describe(`EDNS towards a ${protocol} upstream that does not know it`, () => {
    for (const flags of [FORMERR, NOTIMP]) {
      test(`is left out once it has said so (${flags === FORMERR ? 'FORMERR' : 'NOTIMP'}), and for a while`, async () => {
        await using server = await startServer(protocol, old(flags))
        const upstream = serverFor(protocol, server.endpoint)
        for (let i = 0; i < 3; i++) assert.equal((await ask(upstream)).answer?.rcode, 0)
        assert.deepEqual(server.queries.map(hasOpt), [true, false, false, false])
        await upstream.close()
      })
    }

    test('is tried again after a while', async () => {
      await using server = await startServer(protocol, old())
      const { late, dependencies } = laterDependencies()
      const upstream = serverFor(protocol, server.endpoint, dependencies)
      await ask(upstream)
      late.ms = FIVE_MINUTES
      await ask(upstream)
      assert.deepEqual(server.queries.map(hasOpt), [true, false, true, false])
      await upstream.close()
    })

    test('is needed for questions with DO: there it is a failure', async () => {
      await using server = await startServer(protocol, old())
      const upstream = serverFor(protocol, server.endpoint)
      assert.equal((await ask(upstream, { dnssecOk: true })).answer?.rcode, 2)
      assert.deepEqual(server.queries.map(hasOpt), [true])
      await ask(upstream)
      assert.equal((await ask(upstream, { dnssecOk: true })).answer?.rcode, 2)
      assert.deepEqual(server.queries.map(hasOpt), [true, true, false, true])
      await upstream.close()
    })

    test('is there again as soon as an answer has it', async () => {
      await using server = await startServer(protocol, old())
      const upstream = serverFor(protocol, server.endpoint)
      await ask(upstream)
      server.handler = (query, reply) => reply(response(query, { answers: [aRecord()], additionals: hasOpt(query) ? [optResponse()] : [] }))
      await ask(upstream)
      await ask(upstream, { dnssecOk: true })
      await ask(upstream)
      assert.deepEqual(server.queries.map(hasOpt), [true, false, false, true, true])
      await upstream.close()
    })

    test('is not given up for a question that the server refuses without it as well', async () => {
      await using server = await startServer(protocol, (query, reply) => reply(response(query, { flags: FORMERR })))
      const dependencies = upstreamDependencies()
      const upstream = serverFor(protocol, server.endpoint, dependencies)
      for (let i = 0; i < 2; i++) assert.equal((await ask(upstream)).answer?.rcode, 2)
      assert.deepEqual(server.queries.map(hasOpt), [true, false, true, false])
      assert.equal(dependencies.meter.counts.sent, 4)
      await upstream.close()
    })

    test('is not given up for an error that has an OPT record, nor for an answer that has none', async () => {
      await using server = await startServer(protocol, (query, reply) => {
        if (server.queries.length === 1) reply(response(query, { flags: FORMERR, additionals: [optResponse()] }))
        else reply(response(query, { answers: [aRecord()] }))
      })
      const upstream = serverFor(protocol, server.endpoint)
      assert.equal((await ask(upstream)).answer?.rcode, 2)
      assert.equal((await ask(upstream)).answer?.rcode, 0)
      assert.equal((await ask(upstream)).answer?.rcode, 0)
      assert.deepEqual(server.queries.map(hasOpt), [true, true, true])
      await upstream.close()
    })
  })
}

for (const protocol of ['tcp', 'tls'] as const) {
  test(`a ${protocol} upstream may say so with a header alone`, async () => {
    await using server = await startServer(protocol, older)
    const upstream = serverFor(protocol, server.endpoint)
    assert.equal((await ask(upstream)).answer?.rcode, 0)
    assert.equal((await ask(upstream, { dnssecOk: true })).failure, Failure.upstream_malformed)
    assert.deepEqual(server.queries.map(hasOpt), [true, false, true])
    await upstream.close()
  })
}

describe('a header alone over UDP', () => {
  test('is not believed: TCP tells whether the server knows EDNS', async () => {
    await using server = await dnsServer(older)
    const upstream = serverFor('udp', server.endpoint)
    for (let i = 0; i < 3; i++) assert.equal((await ask(upstream)).answer?.rcode, 0)
    assert.deepEqual(server.udp.queries.map(hasOpt), [true, false, false])
    assert.deepEqual(server.tcp.queries.map(hasOpt), [true, false])
    await upstream.close()
  })

  test('changes nothing when it was forged', async () => {
    await using server = await dnsServer((query, reply) => reply(response(query, { answers: [aRecord()], additionals: [optResponse()] })))
    server.udp.handler = older
    const upstream = serverFor('udp', server.endpoint)
    for (let i = 0; i < 2; i++) assert.equal((await ask(upstream)).answer?.rcode, 0)
    assert.deepEqual(server.udp.queries.map(hasOpt), [true, true])
    assert.deepEqual(server.tcp.queries.map(hasOpt), [true, true])
    await upstream.close()
  })

  test('is ignored, as all without a question are, when it says anything else', async () => {
    await using server = await udpServer((query, reply) => {
      for (const flags of [0x8180, 0x8182, 0x8185, 0x0181, 0xa981]) {
        const header = Buffer.alloc(12)
        header.writeUInt16BE(query.readUInt16BE(0), 0)
        header.writeUInt16BE(flags, 2)
        reply(header)
      }
      reply(response(query, { answers: [aRecord()] }))
    })
    const dependencies = upstreamDependencies()
    const upstream = serverFor('udp', server.endpoint, dependencies)
    assert.equal((await ask(upstream)).answer?.rcode, 0)
    assert.equal(dependencies.meter.counts.ignored, 5)
    await upstream.close()
  })
})

describe('a question without EDNS', { concurrency: true }, () => {
  test('counts as a send: three packets at most go to a server that then falls silent', async () => {
    await using server = await udpServer((query, reply) => {
      if (server.queries.length === 1) reply(response(query, { flags: FORMERR }))
    })
    const dependencies = upstreamDependencies()
    const only = serverFor('udp', server.endpoint, dependencies)
    const upstream = new OwningUpstream([only], dependencies)
    const { failure } = await ask(upstream, { budgetMs: 2500 })
    assert.equal(failure, Failure.upstream_timeout)
    assert.deepEqual(server.queries.map(hasOpt), [true, false, true])
    await only.close()
  })

  test('is not sent when that would be the fourth', async () => {
    await using server = await udpServer((query, reply) => {
      if (server.queries.length === 3) reply(response(query, { flags: FORMERR }))
    })
    const dependencies = upstreamDependencies()
    const only = serverFor('udp', server.endpoint, dependencies)
    const { answer: said } = await ask(new OwningUpstream([only], dependencies), { budgetMs: 2500 })
    assert.equal(said?.rcode, 2)
    assert.equal(server.queries.length, 3)
    await only.close()
  })

  test('is not sent when another server has answered meanwhile', async () => {
    const held: (() => void)[] = []
    await using late = await udpServer((query, reply) => held.push(() => reply(response(query, { flags: FORMERR }))))
    await using quick = await udpServer(answer)
    const dependencies = upstreamDependencies()
    const servers = [serverFor('udp', late.endpoint, dependencies), serverFor('udp', quick.endpoint, dependencies)]
    assert.equal((await ask(new OwningUpstream(servers, dependencies))).answer?.rcode, 0)
    for (const send of held) send()
    // the late one has been heard when its next answer has come
    late.handler = answer
    await ask(servers[0] as (typeof servers)[0])
    assert.equal(dependencies.meter.counts.sent, 3)
    for (const server of servers) await server.close()
  })
})
