import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import {
  assertOthersAreAnswered,
  dropsBetween,
  ended,
  heldMebibytes,
  OPAQUE,
  openFaultStand,
  STREAMS,
  untilNothingIsLeft,
} from '../../harness/faults.ts'
import { LIMITS } from '../../harness/gateway.ts'
import { question } from '../../harness/messages.ts'
import { scrape, untilMetrics } from '../../harness/metrics.ts'
import { frame } from '../../harness/servers.ts'

const PIPELINED = 10_000
/** What the gateway and the sockets of both ends may hold in this process; the answers to all would be 70. */
const MEBIBYTES = 20

for (const [name, open] of Object.entries(STREAMS)) {
  describe(`ten thousand queries over ${name}, of a client that reads nothing,`, () => {
    test('are read until as many are open as may be', async () => {
      await using stand = await openFaultStand()
      const { gateway, owed } = stand
      await assertOthersAreAnswered(gateway)
      const before = await untilNothingIsLeft(gateway)
      const held = heldMebibytes()
      const { raw, stream } = await open(gateway)
      const queries = Array.from({ length: PIPELINED }, (_, id) => frame(question({ name: `slow${id}.example`, id })))
      stream.write(Buffer.concat(queries))
      const { inFlightPerConnection } = LIMITS
      await untilMetrics(gateway, () => owed.length >= inFlightPerConnection, 'as many are open as may be')
      await assertOthersAreAnswered(gateway)
      await assertOthersAreAnswered(gateway)
      const now = await scrape(gateway)
      assert.deepEqual([owed.length, now.value('atlas_queries_open')], [inFlightPerConnection, inFlightPerConnection])
      assert.ok(heldMebibytes() - held < MEBIBYTES)
      raw.resetAndDestroy()
      for (const send of owed.splice(0)) send()
      assert.deepEqual(dropsBetween(before, await untilNothingIsLeft(gateway)), {})
      assert.equal(owed.length, 0)
    })

    test('are answered as far as its connection takes it; then nothing is read, and after a while it is closed', async () => {
      const cache = { memory: 8_388_608, serveStaleMs: 0, prefetch: false, persist: false }
      await using stand = await openFaultStand({ cache })
      const { gateway } = stand
      await assertOthersAreAnswered(gateway)
      const before = await untilNothingIsLeft(gateway)
      const held = heldMebibytes()
      const { raw, stream } = await open(gateway)
      const query = frame(question({ name: 'big.example', type: OPAQUE }))
      stream.write(Buffer.alloc(PIPELINED * query.length, query))
      const asked = `atlas_queries_total{transport="${name}"}`
      await untilMetrics(gateway, (now) => now.value(asked) - before.value(asked) > 100, 'it is served')
      await assertOthersAreAnswered(gateway)
      const grown = heldMebibytes() - held
      assert.ok(grown < MEBIBYTES, `${grown} MiB`)
      const after = await untilNothingIsLeft(gateway)
      assert.deepEqual(dropsBetween(before, after), { slow_reader: 1 })
      assert.ok(after.value(asked) - before.value(asked) < PIPELINED)
      const closed = ended(raw)
      raw.resume()
      stream.resume()
      await closed
    })
  })
}
