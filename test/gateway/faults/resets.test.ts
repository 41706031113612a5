import assert from 'node:assert/strict'
import { connect as connectHttp2 } from 'node:http2'
import test, { describe } from 'node:test'
import {
  assertOthersAreAnswered,
  dropsBetween,
  type FaultClient,
  heldMebibytes,
  OPAQUE,
  openFaultStand,
  openMany,
  openSecure,
  STREAMS,
  untilNothingIsLeft,
} from '../../harness/faults.ts'
import type { TestGateway } from '../../harness/gateway.ts'
import { question } from '../../harness/messages.ts'
import { untilMetrics } from '../../harness/metrics.ts'
import { frame } from '../../harness/servers.ts'

const CLIENTS_COUNT = 60
/** As many as one connection may have open over HTTP. */
const QUESTIONS_EACH = 100
const CACHE = { memory: 8_388_608, serveStaleMs: 0, prefetch: false, persist: false }
/** What may be left afterwards; all answers together are 40. */
const MEBIBYTES = 12

interface Asker {
  readonly open: (gateway: TestGateway) => Promise<FaultClient>
  /** Sends them all at once, and reads none of the answers. Resolves when the first of them begins to come. */
  readonly ask: (stream: FaultClient['stream'], queries: readonly Buffer[]) => Promise<void>
}

const target = (query: Buffer) => `/dns-query?dns=${query.toString('base64url')}`

function arrival(of: NodeJS.EventEmitter, event: string): Promise<void> {
  return new Promise((resolve) => {
    of.once(event, () => resolve())
  })
}

function write(stream: FaultClient['stream'], octets: Uint8Array): Promise<void> {
  stream.write(octets)
  return arrival(stream, 'readable')
}

const askStream: Asker['ask'] = (stream, queries) => write(stream, Buffer.concat(queries.map(frame)))

const ASKERS: Readonly<Record<string, Asker>> = {
  tcp: { open: STREAMS.tcp, ask: askStream },
  dot: { open: STREAMS.dot, ask: askStream },
  'HTTP/1.1': {
    open: (gateway) => openSecure(gateway, { endpoint: gateway.doh, protocol: 'http/1.1' }),
    ask: (stream, queries) =>
      write(stream, Buffer.from(queries.map((query) => `GET ${target(query)} HTTP/1.1\r\nhost: localhost\r\n\r\n`).join(''))),
  },
  'HTTP/2': {
    open: (gateway) => openSecure(gateway, { endpoint: gateway.doh, protocol: 'h2' }),
    ask: (stream, queries) => {
      const session = connectHttp2('https://localhost', { createConnection: () => stream })
      session.on('error', () => {})
      const requests = queries.map((query) => session.request({ ':path': target(query) }))
      for (const request of requests) request.on('error', () => {})
      return Promise.race(requests.map((request) => arrival(request, 'response')))
    },
  },
}

for (const [name, { open, ask }] of Object.entries(ASKERS)) {
  describe(`clients over ${name} that reset their connections`, () => {
    test('while the upstream owes their answers leave nothing behind, and the answers are kept for others', async () => {
      await using stand = await openFaultStand({ cache: CACHE })
      const { gateway, owed, upstream } = stand
      await assertOthersAreAnswered(gateway)
      const before = await untilNothingIsLeft(gateway)
      const opened = await openMany(CLIENTS_COUNT, async (index) => {
        const client = await open(gateway)
        void ask(client.stream, [question({ id: 0, name: `slow${index}.example` }), question({ id: 0, name: 'slow.example' })])
        return client
      })
      await untilMetrics(gateway, () => owed.length === CLIENTS_COUNT + 1, 'every question has come to the upstream')
      for (const { raw } of opened) raw.resetAndDestroy()
      await untilMetrics(gateway, (now) => now.sum('atlas_connections') === 0, 'no connection is left')
      await assertOthersAreAnswered(gateway)
      for (const send of owed.splice(0)) send()
      assert.deepEqual(dropsBetween(before, await untilNothingIsLeft(gateway)), {})
      const asked = upstream.tcp.queries.length
      const { raw, stream } = await open(gateway)
      await ask(stream, [question({ id: 0, name: 'slow0.example' })])
      assert.equal(upstream.tcp.queries.length, asked)
      raw.resetAndDestroy()
    })

    test('in the middle of an answer leave nothing behind', async () => {
      await using stand = await openFaultStand({ cache: CACHE })
      const { gateway } = stand
      await assertOthersAreAnswered(gateway)
      const before = await untilNothingIsLeft(gateway)
      const held = heldMebibytes()
      const queries = Array.from({ length: QUESTIONS_EACH }, () => question({ id: 0, name: 'big.example', type: OPAQUE }))
      await openMany(CLIENTS_COUNT, async () => {
        const { raw, stream } = await open(gateway)
        await ask(stream, queries)
        raw.resetAndDestroy()
      })
      await assertOthersAreAnswered(gateway)
      assert.deepEqual(dropsBetween(before, await untilNothingIsLeft(gateway)), {})
      await untilMetrics(gateway, () => heldMebibytes() - held < MEBIBYTES, 'what was written and not sent is gone')
    })
  })
}
