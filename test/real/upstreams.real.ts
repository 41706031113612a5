import assert from 'node:assert/strict'
import test from 'node:test'
import { Holdings, missing } from '../harness/real.ts'
import { askMany, assertForwards, metric, startGateway } from './lab.ts'
import { PEERS, type Protocol, type RunningPeer, startPeers } from './peers.ts'

/** Questions, of which no cache knows any; at once. */
const MANY = 200
/** The questions of assertForwards() besides. */
const OTHERS = 3
const PROTOCOLS: readonly Protocol[] = ['udp', 'tcp', 'tls']
const TOOLS = { skip: missing('dig', 'dnsperf', ...Object.values(PEERS).map(({ tool }) => tool)) }

async function assertAsks(holdings: Holdings, { name, upstream }: RunningPeer, protocol: Protocol): Promise<void> {
  const gateway = await startGateway(holdings, upstream(protocol), { name: `${name}-${protocol}` })
  await assertForwards(gateway.dns)
  await askMany(holdings, gateway.dns, { count: MANY, atOnce: MANY })
  const of = (what: string): Promise<number> => metric(gateway, `atlas_upstream_${what}_total{upstream="${name}"`)
  const [answers, failures] = await Promise.all([of('answers'), of('failures')])
  assert.ok(answers >= MANY + OTHERS, `${name} over ${protocol}: ${answers} answers`)
  assert.equal(failures, 0, `${name} over ${protocol}: ${failures} failures`)
  await gateway.process.kill()
}

test(
  `asks ${Object.keys(PEERS).join(', ')} over ${PROTOCOLS.join(', ')}, hundreds of questions at once and what is too long for a datagram`,
  TOOLS,
  async (t) => {
    const holdings = new Holdings(t)
    for (const peer of await startPeers(holdings)) for (const protocol of PROTOCOLS) await assertAsks(holdings, peer, protocol)
  },
)
