import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { issue } from '../certs/issue.ts'
import { freePort, missing } from '../harness/real.ts'
import { askMany, assertForwards, dig, type Lab, metric, NAMES, type RealGateway, startGateway, startLab } from './lab.ts'

/** Questions, of which no cache knows any; at once. */
const MANY = 200
/** The questions of assertForwards(). */
const OTHERS = 3
/** For the name servers of the root, and for what would come back if there was a loop. */
const PROBES = 2
/** What one connection need not carry alone. */
const FEW_CONNECTIONS = 16
const PATIENCE_MS = 20_000
/** Its name; the resolver of the lab knows the address. */
const NAME = NAMES.page

/** How the far gateway is asked, and what it calls that. */
interface Way {
  readonly url: string
  readonly transport: string
  readonly handshakes: string
}

function waysTo({ dot, doq, doh }: RealGateway): readonly Way[] {
  return [
    { url: `https://${NAME}:${doh}/dns-query`, transport: 'doh2', handshakes: 'doh2' },
    { url: `h3://127.0.0.1:${doh}/dns-query`, transport: 'doh3', handshakes: 'doh3' },
    { url: `quic://${NAME}:${doq}`, transport: 'doq', handshakes: 'doq' },
    { url: `tls://127.0.0.1:${dot}`, transport: 'dot', handshakes: 'dot' },
  ]
}

async function untilUp(gateway: RealGateway, url: string): Promise<void> {
  for (const end = performance.now() + PATIENCE_MS; (await metric(gateway, `atlas_upstream_up{upstream="far",url="${url}`)) < 1; ) {
    assert.ok(performance.now() < end, `not up: ${url}`)
    await pause(50)
  }
}

/** The settings of a gateway that asks the lab's for names of servers. */
function bootstrap({ resolver }: Lab): { settings: string } {
  return { settings: `bootstrap: ["127.0.0.1:${resolver}"]\n` }
}

async function assertAsks(lab: Lab, { url, transport, handshakes }: Way): Promise<void> {
  const { holdings, gateway: far } = lab
  const counts = () =>
    Promise.all([
      metric(far, `atlas_queries_total{transport="${transport}"`),
      metric(far, `atlas_handshakes_total{transport="${handshakes}",outcome="ok"`),
    ])
  const [queriesBefore, handshakesBefore] = await counts()
  const serverName = url.includes(NAME) ? '' : `, serverName: ${NAME}`
  const near = await startGateway(holdings, `{ name: far, url: "${url}"${serverName}, ca: ${far.ca} }`, {
    name: transport,
    ...bootstrap(lab),
  })
  await assertForwards(near.dns)
  await askMany(holdings, near.dns, { count: MANY, atOnce: MANY })
  const [queries, connections] = await counts()
  assert.ok(queries - queriesBefore >= MANY + OTHERS, `${queries - queriesBefore} questions over ${transport}`)
  assert.ok(connections - handshakesBefore <= FEW_CONNECTIONS, `${connections - handshakesBefore} connections over ${transport}`)
  assert.equal(await metric(near, 'atlas_upstream_failures_total{upstream="far"'), 0, url)
  await near.process.kill()
}

/** Whoever cannot prove its name is asked nothing, over whatever it is asked. */
async function assertStrict(lab: Lab): Promise<void> {
  const { holdings, gateway: far } = lab
  const ca = join(holdings.folder, 'stranger.pem')
  writeFileSync(ca, (await issue({ subject: 'O=stranger', isCa: true })).certPem)
  for (const { url, transport } of waysTo(far)) {
    // it asks for each name that is new; its own questions to its listeners are among its queries
    const asked = () => metric(far, 'atlas_upstream_queries_total{upstream="lab"')
    const before = await asked()
    const serverName = url.includes(NAME) ? '' : `, serverName: ${NAME}`
    const near = await startGateway(holdings, `{ name: far, url: "${url}"${serverName}, ca: ${ca} }`, {
      name: `strict-${transport}`,
      ...bootstrap(lab),
    })
    const { text } = await dig(near.dns, `${transport}.${NAMES.many}`)
    assert.match(text, /status: SERVFAIL/, text)
    assert.match(text, /EDE: 23/, text)
    assert.equal(await asked(), before, url)
    await near.process.kill()
  }
}

/** Of four ways to the server there are two; the better one of them is taken. */
async function assertClimbsDown(lab: Lab): Promise<void> {
  const { holdings, gateway: far } = lab
  const tls = `tls://${NAME}:${far.dot}`
  const urls = [`quic://${NAME}:${await freePort()}`, `https://${NAME}:${await freePort()}/dns-query`, tls, `udp://${NAME}:${far.dns}`]
  const near = await startGateway(holdings, `{ name: far, url: ${JSON.stringify(urls)}, ca: ${far.ca} }`, {
    name: 'ladder',
    ...bootstrap(lab),
  })
  // while it is being found out which way works
  await assertForwards(near.dns)
  await untilUp(near, tls)
  const counts = () => Promise.all(['dot', 'udp'].map((transport) => metric(far, `atlas_queries_total{transport="${transport}"`)))
  const [dotBefore = 0, udpBefore = 0] = await counts()
  await askMany(holdings, near.dns, { count: MANY, atOnce: MANY })
  const [dot = 0, udp = 0] = await counts()
  assert.ok(dot - dotBefore >= MANY, `${dot - dotBefore} questions over TLS`)
  assert.ok(udp - udpBefore <= PROBES, `${udp - udpBefore} questions in the clear`)
  await near.process.kill()
}

test('a gateway asks another over HTTPS, HTTP/3, QUIC and TLS, by names that a resolver knows; nothing where the certificate is wrong; and goes down a ladder', {
  skip: missing('dig', 'dnsperf'),
}, async (t) => {
  const lab = await startLab(t, `public: { name: ${NAME} }`)
  for (const way of waysTo(lab.gateway)) await assertAsks(lab, way)
  await assertStrict(lab)
  await assertClimbsDown(lab)
})
