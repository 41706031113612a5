import assert from 'node:assert/strict'
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { describe } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { AdminClient } from '../../gateway/admin/client.ts'
import type { ListenerStatus } from '../../gateway/admin/control.ts'
import type { ProberTimes } from '../../gateway/probe/prober.ts'
import { monotonicClock } from '../../net/clock.ts'
import { CLIENTS } from '../harness/clients.ts'
import { prefixes, runGateway, type TestGateway, testConfig } from '../harness/gateway.ts'
import { aRecord, question, response } from '../harness/messages.ts'
import { dnsServer, type Handler } from '../harness/servers.ts'
import { runThreads } from '../harness/threads.ts'
import { until } from '../harness/until.ts'

const answering: Handler = (query, reply) => reply(response(query, { answers: [aRecord()] }))
/** Round after round. */
const HASTY: ProberTimes = { clock: monotonicClock, wallClock: Date.now, pause: (_ms, stop) => (stop.aborted ? Promise.resolve() : turn()) }
const DEAF_WORKER = new URL('./deaf-worker.ts', import.meta.url)

async function get({ admin }: TestGateway, path: string): Promise<{ status: number; text: string }> {
  const response = await fetch(`http://127.0.0.1:${admin.port}${path}`)
  return { status: response.status, text: await response.text() }
}

async function listeners({ state }: TestGateway): Promise<readonly ListenerStatus[]> {
  return new AdminClient(join(state, 'admin.sock')).get<readonly ListenerStatus[]>('/v1/listeners')
}

describe('the self-probe', () => {
  test('asks every transport through its socket; only then the gateway is ready', async () => {
    await using upstream = await dnsServer(answering)
    await using gateway = await runThreads([upstream.endpoint], {}, { probing: {} })
    await until(async () => (await get(gateway, '/readyz')).status === 200)
    const probes = (await listeners(gateway)).flatMap((listener) =>
      listener.probes.map((probe) => [listener.kind, probe.transport, probe.outcome]),
    )
    assert.deepEqual(probes, [
      ['doh', 'doh', 'ok'],
      ['doh', 'doh3', 'ok'],
      ['dot', 'dot', 'ok'],
      ['doq', 'doq', 'ok'],
      ['dns', 'udp', 'ok'],
      ['dns', 'tcp', 'ok'],
    ])
    const { text } = await get(gateway, '/metrics')
    assert.ok(text.includes(`atlas_probe_up{transport="doq",address="127.0.0.1:${gateway.doq.port}"} 1\n`))
    assert.equal(upstream.udp.queries.length, 0)
  })

  test('is no way around an access list, and an access list is no fault of a listener', async () => {
    await using upstream = await dnsServer(answering)
    const access = { dns: prefixes('192.0.2.0/24'), encrypted: prefixes('192.0.2.0/24'), tokenFile: null }
    await using gateway = await runGateway([upstream.endpoint], { access }, { probing: {} })
    await until(async () => (await get(gateway, '/readyz')).status === 200)
    const outcomes = (await listeners(gateway)).flatMap(({ probes }) => probes.map(({ outcome }) => outcome))
    assert.deepEqual(new Set(outcomes), new Set(['refused']))
  })

  test('is in the query log, without its token', async () => {
    const log = { level: 'info', queries: { kind: 'share', share: 1 } } as const
    await using gateway = await runGateway([], { log }, { probing: {} })
    await until(async () => (await get(gateway, '/readyz')).status === 200)
    assert.ok(gateway.log.some((line) => line.includes('"name":"probe.invalid."')))
    assert.doesNotMatch(gateway.log.join('\n'), /[0-9a-f]{32}/)
  })

  test('undoes a reload whose new listener does not answer', async () => {
    await using upstream = await dnsServer(answering)
    const plain = { listen: { ...testConfig([]).listen, dot: [], doh: [], doq: [] } }
    await using gateway = await runThreads([upstream.endpoint], plain, { script: DEAF_WORKER, probing: { timeoutMs: 300 } })
    await until(async () => (await get(gateway, '/readyz')).status === 200)
    const before = gateway.gateway.facts
    writeFileSync(join(gateway.state, 'mute'), '')
    const dns = [gateway.dns, { host: '127.0.0.2', port: 0 }].map((endpoint) => ({
      endpoint,
      access: null,
      proxyProtocol: null,
      clientCa: null,
      cleartext: false,
      byDefault: false,
    }))
    const outcome = await gateway.reload({ listen: { ...plain.listen, dns } })
    rmSync(join(gateway.state, 'mute'))
    assert.ok(outcome.outcome === 'rolled-back', JSON.stringify(outcome))
    assert.match(
      outcome.message,
      /^Cannot serve with the new configuration: udp 127\.0\.0\.2:\d+ does not answer: no answer within 0\.3 s$/,
    )
    assert.deepEqual(gateway.gateway.facts, before)
    // what was known of the others is still known
    assert.equal((await get(gateway, '/readyz')).status, 200)
    assert.equal((await CLIENTS[0]?.send(gateway, question({ name: 'after.example', opt: '' })))?.kind, 'answer')
  })

  test('finds the worker whose socket is deaf, and has it bound anew', { timeout: 60_000 }, async () => {
    await using upstream = await dnsServer(answering)
    const plain = { listen: { ...testConfig([]).listen, dot: [], doh: [], doq: [] } }
    await using gateway = await runThreads([upstream.endpoint], plain, {
      script: DEAF_WORKER,
      probing: { timeoutMs: 300, times: HASTY },
    })
    await until(async () => (await get(gateway, '/readyz')).status === 200)
    const file = join(gateway.state, 'deaf-1')
    writeFileSync(file, '')
    await until(() => !existsSync(file))
    await until(async () => (await get(gateway, '/metrics')).text.includes('atlas_rebinds_total 1\n'))
    const line = gateway.log.find((each) => each.includes('bound anew'))
    assert.deepEqual(
      { ...(JSON.parse(line ?? '{}') as object), time: 0 },
      {
        level: 50,
        time: 0,
        worker: 1,
        transport: 'udp',
        address: `127.0.0.1:${gateway.dns.port}`,
        msg: 'a socket does not answer: it is bound anew',
      },
    )
    // of two dozen clients some get to that worker
    const udp = CLIENTS.find(({ name }) => name === 'udp')
    for (let i = 0; i < 24; i++) assert.equal((await udp?.send(gateway, question({ name: `q${i}.example`, opt: '' })))?.kind, 'answer')
    await until(async () => (await get(gateway, '/readyz')).status === 200)
  })
})
