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
      for (const { name, upstream } of await startPeers(holdings)) {
        const gateway = await startGateway(holdings, upstream(protocol), { name })
        await assertForwards(gateway.dns)
        await askMany(holdings, gateway.dns, { count: MANY, atOnce: MANY })
        const count = (what: string): Promise<number> => metric(gateway, `atlas_upstream_${what}`)
        const answers = await count(`answers_total{upstream="${name}"`)
        assert.ok(answers >= MANY + OTHERS, `${name}: ${answers} answers`)
        // of the zones that they have not, which the gateway asks for by itself, some say SERVFAIL
        const failed = `failures_total{upstream="${name}"`
        assert.equal((await count(failed)) - (await count(`${failed},reason="upstream_failed"`)), 0, name)
        await gateway.process.kill()
      }
    },
  )
}
