import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import test, { after, before, describe } from 'node:test'
import {
  assertOthersAreAnswered,
  clientHello,
  dropsBetween,
  ended,
  FAULT_TIMEOUTS,
  type FaultStand,
  heldMebibytes,
  openBare,
  openFaultStand,
  openMany,
  openSecure,
  STREAMS,
  untilNothingIsLeft,
} from '../../harness/faults.ts'
import type { TestGateway } from '../../harness/gateway.ts'
import { scrape } from '../../harness/metrics.ts'

/** So many kilobytes may a connection cost here, its client's end included. */
const KILOBYTES_EACH = 40
/** Of so many, one goes on sending octet by octet. */
const TRICKLES_EACH = 10
const TRICKLE_MS = 50

let stand: FaultStand
let hello: Buffer
before(async () => {
  stand = await openFaultStand({ timeouts: { ...FAULT_TIMEOUTS, handshakeMs: 1500 } })
  hello = await clientHello()
})
after(() => stand[Symbol.asyncDispose]())

interface Silence {
  readonly what: string
  readonly count: number
  readonly open: (gateway: TestGateway) => Promise<Socket>
  /** What would be sent in the end; all send the first octet. */
  readonly text: () => Buffer
  readonly drops: (count: number) => Record<string, number>
}

const SILENCES: readonly Silence[] = [
  {
    what: 'one octet of a frame over tcp',
    count: 2000,
    open: ({ dns }) => openBare(dns),
    // the longest message: none of it may be allocated before it is there
    text: () => Buffer.alloc(1000, 0xff),
    drops: (count) => ({ query_timeout: count }),
  },
  {
    what: 'one octet of a ClientHello to dot',
    count: 2000,
    open: ({ dot }) => openBare(dot),
    text: () => hello,
    drops: (count) => ({ handshake_failed: count }),
  },
  {
    what: 'one octet of a ClientHello to doh',
    count: 500,
    open: ({ doh }) => openBare(doh),
    text: () => hello,
    drops: (count) => ({ handshake_failed: count }),
  },
  {
    what: 'a handshake and one octet of a frame over dot',
    count: 200,
    open: async (gateway) => (await STREAMS.dot(gateway)).stream,
    text: () => Buffer.alloc(1000, 0xff),
    drops: (count) => ({ query_timeout: count }),
  },
  {
    what: 'a handshake and one octet of an HTTP/1.1 request',
    count: 100,
    open: async (gateway) => (await openSecure(gateway, { endpoint: gateway.doh, protocol: 'http/1.1' })).stream,
    text: () => Buffer.from(`GET /dns-query?dns=${'A'.repeat(1000)} HTTP/1.1\r\n`),
    drops: (count) => ({ http_body_timeout: count }),
  },
]

/** Sends one octet after the other, until the connection ends. */
function trickle(socket: Socket, text: Buffer): void {
  let at = 0
  const timer = setInterval(() => socket.write(text.subarray(at, ++at)), TRICKLE_MS)
  socket.once('close', () => clearInterval(timer))
}

describe('clients that send', () => {
  for (const { what, count, open, text, drops } of SILENCES) {
    test(`${what} and then nothing, or one octet now and then, are closed, and disturb nobody`, async () => {
      const { gateway } = stand
      await assertOthersAreAnswered(gateway)
      const before = await untilNothingIsLeft(gateway)
      const held = heldMebibytes()
      const closed: Promise<unknown>[] = []
      await openMany(count, async (index) => {
        const socket = await open(gateway)
        closed.push(ended(socket))
        socket.resume()
        if (index % TRICKLES_EACH === 0) trickle(socket, text())
        else socket.write(text().subarray(0, 1))
      })
      await assertOthersAreAnswered(gateway)
      const grown = heldMebibytes() - held
      assert.ok(grown < (count * KILOBYTES_EACH) / 1024, `${grown} MiB`)
      await Promise.all(closed)
      assert.deepEqual(dropsBetween(before, await untilNothingIsLeft(gateway)), drops(count))
      assert.equal((await scrape(gateway)).value('atlas_queries_open'), 0)
    })
  }
})
