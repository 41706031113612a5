import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { ConfigError } from '../../gateway/config/load.ts'
import type { Endpoint } from '../../net/address.ts'
import { runGateway, testConfig } from '../harness/gateway.ts'
import { dotAt, free, isRefused, occupied, shown } from '../harness/keeper.ts'
import { ANYWHERE, answering, ask, at, everyClientIsAnswered, listen } from '../harness/reload.ts'
import { dnsServer } from '../harness/servers.ts'
import { runThreads } from '../harness/threads.ts'
import { until } from '../harness/until.ts'

describe('a reload that is refused, undone or only asked for', () => {
  test('that cannot bind an address is undone: nothing was closed, nothing new is open', async (t) => {
    await using upstream = await dnsServer(answering)
    await using gateway = await runGateway([upstream.endpoint], listen({ dot: [ANYWHERE, ANYWHERE] }))
    const before = gateway.gateway.facts
    const [stays, other] = before.endpoints.dot as [Endpoint, Endpoint]
    const kept = await dotAt(gateway, other)
    const [added, taken] = [await free(), await occupied(t)]
    const outcome = await gateway.reload({
      ...listen({ dot: [at(stays), at(added)], doh: [at(gateway.doh), at(taken)], dns: [], doq: [] }),
      timeouts: { queryMs: 100, handshakeMs: 5000, drainMs: 10_000 },
    })
    assert.ok(outcome.outcome === 'rolled-back')
    assert.equal(outcome.code, 'ATLAS_LISTEN')
    assert.match(outcome.message, new RegExp(`^Cannot listen for doh on 127\\.0\\.0\\.1:${taken.port}: the address is in use`))
    assert.deepEqual(gateway.gateway.facts, before)
    assert.ok(await isRefused(added))
    await kept.ask(ask())
    kept.socket.destroy()
    await everyClientIsAnswered(gateway)
    assert.deepEqual(await gateway.reload({ ...listen({ dot: [ANYWHERE, ANYWHERE] }), timeouts: testConfig([]).timeouts }), {
      outcome: 'unchanged',
      changes: [],
      restartOnly: [],
      warnings: [],
    })
  })

  test('with an error in the file is refused with every place that is wrong', async () => {
    await using upstream = await dnsServer(answering)
    const problems = [{ where: 'atlas.yaml:3:7', path: 'timeouts.query', message: 'expected a duration: received "soon"' }]
    let fails = false
    const load = () => {
      if (fails) throw new ConfigError(problems)
      return { config: testConfig([upstream.endpoint]), warnings: [] }
    }
    await using gateway = await runGateway([upstream.endpoint], {}, { source: { file: '/etc/atlas.yaml', load } })
    fails = true
    const message = 'atlas.yaml:3:7: timeouts.query: expected a duration: received "soon"'
    assert.deepEqual(await gateway.gateway.reload({ dryRun: false }), { outcome: 'refused', code: 'ATLAS_CONFIG', message, problems })
    assert.ok(gateway.log.some((line) => line.includes('atlas.yaml:3:7') && line.includes('the one in use stays')))
    await everyClientIsAnswered(gateway)
  })

  test('to another public name makes the local CA anew, and says so before', async () => {
    await using upstream = await dnsServer(answering)
    await using gateway = await runGateway([upstream.endpoint])
    const { localCa } = gateway.gateway.facts
    const renamed = { public: { ...testConfig([]).public, name: 'dns.example.net' } }
    const planned = await gateway.reload(renamed, { dryRun: true })
    assert.ok(planned.outcome === 'planned')
    assert.match(planned.warnings.join(), /clients must trust it again/)
    assert.deepEqual(gateway.gateway.facts.localCa, localCa)
    assert.equal((await gateway.reload({})).outcome, 'applied')
    assert.notEqual(gateway.gateway.facts.localCa?.fingerprint, localCa?.fingerprint)
    const session = await shown(gateway)
    assert.match(session.getPeerX509Certificate()?.subjectAltName ?? '', /DNS:dns\.example\.net/)
    session.destroy()
  })

  test('that fails does not touch the local CA, whatever names it was for', async (t) => {
    await using upstream = await dnsServer(answering)
    await using gateway = await runGateway([upstream.endpoint])
    const { localCa } = gateway.gateway.facts
    const taken = await occupied(t)
    const renamed = { public: { ...testConfig([]).public, name: 'dns.example.net' }, ...listen({ dot: [at(gateway.dot), at(taken)] }) }
    assert.equal((await gateway.reload(renamed)).outcome, 'rolled-back')
    assert.deepEqual(gateway.gateway.facts.localCa, localCa)
    await everyClientIsAnswered(gateway)
  })

  test('names what only a restart changes, and leaves it as it is', async () => {
    await using upstream = await dnsServer(answering)
    await using gateway = await runGateway([upstream.endpoint])
    const cache = { memory: 1_048_576, serveStaleMs: 60_000, prefetch: false, persist: false }
    const outcome = await gateway.reload({ workers: 4, cache })
    assert.ok(outcome.outcome === 'applied')
    assert.deepEqual(outcome.restartOnly, [
      { path: 'cache.memory', from: '0MiB', to: '1MiB' },
      { path: 'workers', from: 1, to: 4 },
    ])
    assert.deepEqual(outcome.changes, [{ path: 'cache.serveStale', from: '0s', to: '1m' }])
    await everyClientIsAnswered(gateway)
  })

  test('does not give an address from one protocol to another', async () => {
    await using upstream = await dnsServer(answering)
    await using gateway = await runGateway([upstream.endpoint])
    const outcome = await gateway.reload(listen({ dot: [], doh: [at(gateway.dot)] }))
    assert.ok(outcome.outcome === 'refused')
    assert.match(outcome.message, /^Cannot listen for doh on 127\.0\.0\.1:\d+: listen\.dot with 127\.0\.0\.1:\d+ has the socket now/)
  })

  test('as a dry run says what it would do, and does nothing', async () => {
    await using upstream = await dnsServer(answering)
    await using gateway = await runGateway([upstream.endpoint])
    const before = gateway.gateway.facts
    const outcome = await gateway.reload(listen({ dot: [], doq: [] }), { dryRun: true })
    assert.ok(outcome.outcome === 'planned')
    assert.deepEqual(
      outcome.changes.map(({ path, to }) => [path, to]),
      [
        ['listen.dot', null],
        ['listen.doq', null],
      ],
    )
    assert.deepEqual(gateway.gateway.facts, before)
    await everyClientIsAnswered(gateway)
  })
})

describe('with several workers', () => {
  test('all of them serve as the new configuration says, or none', async (t) => {
    await using upstream = await dnsServer(answering)
    await using gateway = await runThreads([upstream.endpoint])
    const added = await free()
    const kept = await dotAt(gateway, gateway.dot)
    assert.equal((await gateway.reload(listen({ dot: [at(gateway.dot), at(added)], doq: [] }))).outcome, 'applied')
    const before = [0, 1].map((worker) => gateway.counted(worker, 'atlas_handshakes_total', 'transport="dot"'))
    await until(async () => {
      const client = await dotAt(gateway, added)
      await client.ask(ask())
      client.socket.destroy()
      return [0, 1].every((worker) => gateway.counted(worker, 'atlas_handshakes_total', 'transport="dot"') > (before[worker] as number))
    })
    // another process has it: the exclusive bind finds out, which that of the workers would not
    const taken = await occupied(t)
    const outcome = await gateway.reload(listen({ dot: [at(gateway.dot), at(taken)], doq: [] }))
    assert.equal(outcome.outcome, 'rolled-back')
    const again = await dotAt(gateway, added)
    await again.ask(ask())
    await kept.ask(ask())
    for (const { socket } of [kept, again]) socket.destroy()
  })
})
