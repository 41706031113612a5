import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { describe } from 'node:test'
import { pino } from 'pino'
import { lazyQuic } from '../../gateway/assembly/quic.ts'
import { monotonicClock } from '../../net/clock.ts'
import { Flusher } from '../../net/flusher.ts'
import { Wheel } from '../../net/wheel.ts'
import { runGateway, testConfig } from '../harness/gateway.ts'
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

describe('the engine that upstreams are asked with', () => {
  const dependencies = { clock: monotonicClock, wheel: new Wheel(monotonicClock), flusher: new Flusher() }

  test('is made once, when it is needed', () => {
    const state = mkdtempSync(join(tmpdir(), 'atlas-test-'))
    const quic = lazyQuic(testConfig([], { state }), pino({ level: 'silent' }), dependencies)
    assert.deepEqual(readdirSync(state), [])
    const engine = quic()
    assert.ok(engine)
    assert.equal(quic(), engine)
    rmSync(state, { recursive: true })
  })

  test('is none, with a line in the log, where its directory cannot be used', () => {
    const lines: string[] = []
    const log = pino({}, { write: (line: string) => void lines.push(line) })
    const quic = lazyQuic(testConfig([], { state: '/dev/null' }), log, dependencies)
    assert.equal(quic(), null)
    assert.equal(quic(), null)
    assert.equal(lines.length, 1)
    assert.match(lines[0] ?? '', /upstreams cannot be asked over QUIC/)
  })
})
