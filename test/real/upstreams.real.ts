import assert from 'node:assert/strict'
import test from 'node:test'
import { Holdings, missing } from '../harness/real.ts'
import { askMany, assertForwards, metric, startGateway } from './lab.ts'
import { PEERS, type Protocol, startPeers } from './peers.ts'

/** Questions, of which no cache knows any; at once. */
const MANY = 200
/** The questions of assertForwards() besides. */
const OTHERS = 3
const PROTOCOLS: readonly Protocol[] = ['udp', 'tcp', 'tls']
const TOOLS = { skip: missing('dig', 'dnsperf', ...Object.values(PEERS).map(({ tool }) => tool)) }

for (const protocol of PROTOCOLS) {
  test(
    `asks ${Object.keys(PEERS).join(', ')} over ${protocol}, hundreds of questions at once and what is too long for a datagram`,
    TOOLS,
    async (t) => {
      const holdings = new Holdings(t)
      for (const { name, upstream, atOnce } of await startPeers(holdings)) {
        const gateway = await startGateway(holdings, upstream(protocol), { name })
        await assertForwards(gateway.dns)
        await askMany(holdings, gateway.dns, { count: MANY, atOnce: atOnce(protocol, MANY) })
        const [answers = 0, failures] = await Promise.all(
          ['answers', 'failures'].map((what) => metric(gateway, `atlas_upstream_${what}_total{upstream="${name}"`)),
        )
        assert.ok(answers >= MANY + OTHERS, `${name}: ${answers} answers`)
        assert.equal(failures, 0, name)
        await gateway.process.kill()
      }
    },
  )
}
