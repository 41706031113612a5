import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { runGateway } from '../harness/gateway.ts'
import { aRecord, hex, response } from '../harness/messages.ts'
import { udpServer } from '../harness/servers.ts'
import { ask } from '../harness/upstream.ts'
import { quicServerFor } from './servers.ts'

describe('a gateway as the upstream', () => {
  for (const protocol of ['quic', 'h3'] as const) {
    test(`answers over ${protocol}, more than it lets be open at a time, and goes without a question lost`, async () => {
      await using resolver = await udpServer((query, reply) => reply(response(query, { answers: [aRecord()] })))
      const gateway = await runGateway([resolver.endpoint])
      const endpoint = protocol === 'quic' ? gateway.doq : gateway.doh
      const upstream = quicServerFor(protocol, endpoint, {
        serverName: 'localhost',
        roots: [gateway.ca],
        url: `https://localhost:${gateway.doh.port}/dns-query`,
      })
      const outcomes = await Promise.all(Array.from({ length: 1000 }, (_, i) => ask(upstream, { name: `n${i}.example`, budgetMs: 10_000 })))
      assert.deepEqual(new Set(outcomes.map(({ failure }) => failure)), new Set([null]))
      assert.ok(outcomes.every(({ message }) => message?.includes(hex('c0000201'))))
      const last = Promise.all(Array.from({ length: 50 }, (_, i) => ask(upstream, { name: `m${i}.example` })))
      await gateway.gateway.drain()
      assert.ok((await last).every(({ answer }) => answer !== null))
      await upstream.close()
      await gateway[Symbol.asyncDispose]()
    })
  }
})
