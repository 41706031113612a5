import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import test, { after, before, describe } from 'node:test'
import {
  assertOthersAreAnswered,
  clientHello,
  dropsBetween,
  FAULT_TIMEOUTS,
  type FaultStand,
  heldMebibytes,
  openBare,
  openFaultStand,
  openMany,
  openSecure,
  untilNothingIsLeft,
} from '../../harness/faults.ts'
import type { TestGateway } from '../../harness/gateway.ts'
import type { Scrape } from '../../harness/metrics.ts'

const HANDSHAKES = 300
/** Of those that stop halfway. */
const KILOBYTES_EACH = 100
/** What may be left afterwards. */
const MEBIBYTES = 12
/** Others ask each time that so many have come. */
const OTHERS_EACH = 100

let stand: FaultStand
let hello: Buffer
before(async () => {
  stand = await openFaultStand({ timeouts: { ...FAULT_TIMEOUTS, handshakeMs: 1500 } })
  hello = await clientHello()
})
after(() => stand[Symbol.asyncDispose]())

const LISTENERS = [
  { name: 'dot', protocol: 'dot', label: 'dot', endpoint: ({ dot }: TestGateway) => dot },
  { name: 'doh', protocol: 'h2', label: 'doh2', endpoint: ({ doh }: TestGateway) => doh },
] as const

/** Handshakes by transport and outcome. */
function handshakes(of: Scrape, transport: string): { ok: number; failed: number } {
  const series = (outcome: string, version: string) =>
    of.value(`atlas_handshakes_total{transport="${transport}",outcome="${outcome}",version="${version}",resumed="false"}`)
  return { ok: series('ok', 'TLSv1.3'), failed: series('failed', 'none') }
}

/** How a handshake stops: after so much of it, in such a way. */
const STOPS: Readonly<Record<string, (socket: Socket) => Promise<void>>> = {
  'before its first octet, by an end': async (socket) => void socket.end(),
  'before its first octet, by a reset': async (socket) => void socket.resetAndDestroy(),
  'in the ClientHello, by an end': async (socket) => void socket.end(hello.subarray(0, 100)),
  'in the ClientHello, in silence': async (socket) => void socket.write(hello.subarray(0, 100)),
  'behind the answer to it, by a reset': async (socket) => {
    socket.write(hello)
    await once(socket, 'readable')
    socket.resetAndDestroy()
  },
  'behind the answer to it, in silence': async (socket) => {
    socket.write(hello)
    await once(socket, 'readable')
  },
}

for (const { name, protocol, label, endpoint } of LISTENERS) {
  describe(`a flood of handshakes with ${name}`, () => {
    test('without a query, ended or reset, leaves nothing behind', async () => {
      const { gateway } = stand
      await assertOthersAreAnswered(gateway)
      const before = await untilNothingIsLeft(gateway)
      const held = heldMebibytes()
      await openMany(HANDSHAKES, async (index) => {
        const { raw, stream } = await openSecure(gateway, { endpoint: endpoint(gateway), protocol })
        stream.resume()
        // the ticket says that the gateway has the end of the handshake; a reset would overtake it
        await once(stream, 'session')
        if (index % 2 === 0) stream.end()
        else raw.resetAndDestroy()
        if (index % OTHERS_EACH === 0) await assertOthersAreAnswered(gateway)
      })
      const after = await untilNothingIsLeft(gateway)
      assert.deepEqual(dropsBetween(before, after), {})
      assert.ok(handshakes(after, label).ok - handshakes(before, label).ok >= HANDSHAKES)
      const grown = heldMebibytes() - held
      assert.ok(grown < MEBIBYTES, `${grown} MiB`)
    })

    test('that stop halfway costs little, disturbs nobody, and each is counted', async () => {
      const { gateway } = stand
      await assertOthersAreAnswered(gateway)
      const before = await untilNothingIsLeft(gateway)
      const held = heldMebibytes()
      const stops = Object.values(STOPS)
      await openMany(HANDSHAKES, async (index) => {
        const socket = await openBare(endpoint(gateway))
        await stops[index % stops.length]?.(socket)
        if (index % OTHERS_EACH === 0) await assertOthersAreAnswered(gateway)
      })
      const grown = heldMebibytes() - held
      assert.ok(grown < (HANDSHAKES * KILOBYTES_EACH) / 1024, `${grown} MiB`)
      const after = await untilNothingIsLeft(gateway)
      assert.deepEqual(dropsBetween(before, after), { handshake_failed: HANDSHAKES })
      assert.equal(handshakes(after, label).failed - handshakes(before, label).failed, HANDSHAKES)
    })
  })
}
