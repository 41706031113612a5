import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { describe } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { Config } from '../../gateway/config/config.ts'
import { loadConfig } from '../../gateway/config/load.ts'
import { issue } from '../certs/issue.ts'
import { prefixes, runGateway, TLS, testConfig } from '../harness/gateway.ts'
import { dotAt, free, occupied, shown } from '../harness/keeper.ts'
import { dialQuic } from '../harness/quic.ts'
import { ANYWHERE, answering, ask, at, everyClientIsAnswered, listen } from '../harness/reload.ts'
import { dnsServer } from '../harness/servers.ts'
import { temporaryDirectory } from '../harness/temporary.ts'
import { runThreads } from '../harness/threads.ts'
import { until } from '../harness/until.ts'

const SCRIPT = new URL('./faulty-worker.ts', import.meta.url)

describe('a reload', () => {
  test('while a worker waits to be replaced starts it with the new configuration, or finds out that it cannot', async (t) => {
    await using upstream = await dnsServer(answering)
    const pauses = { pauseMs: 600_000, maxPauseMs: 600_000 }
    await using gateway = await runThreads([upstream.endpoint], { workers: 1 }, { script: SCRIPT, supervision: pauses })
    const crash = async () => {
      const before = gateway.log.length
      writeFileSync(join(gateway.state, 'exit-0'), '')
      await until(() => gateway.log.slice(before).some((line) => line.includes('it is replaced')))
    }
    await crash()
    // replaced at once; the next one would wait for ten minutes
    await until(() => gateway.log.some((line) => line.includes('serves again')))
    await crash()
    const taken = await occupied(t)
    const refused = await gateway.reload(listen({ dot: [at(gateway.dot), at(taken)] }))
    assert.equal(refused.outcome, 'rolled-back', JSON.stringify(refused))
    const added = await free()
    const outcome = await gateway.reload(listen({ dot: [at(gateway.dot), at(added)] }))
    assert.equal(outcome.outcome, 'applied', JSON.stringify(outcome))
    assert.deepEqual(gateway.gateway.facts.endpoints.dot, [gateway.dot, added])
    await everyClientIsAnswered(gateway)
  })

  test('that is undone has not disturbed QUIC, whatever certificate it was for', async (t) => {
    const directory = temporaryDirectory(t)
    const files = { cert: join(directory, 'cert.pem'), key: join(directory, 'key.pem'), origin: 'test' }
    const { certPem, keyPem } = await issue({ names: ['localhost'] })
    writeFileSync(files.cert, certPem)
    writeFileSync(files.key, keyPem)
    await using upstream = await dnsServer(answering)
    await using gateway = await runGateway([upstream.endpoint])
    const quic = await dialQuic({ endpoint: gateway.doq, ca: gateway.ca, protocol: 'doq' })
    await quic.ready.promise
    const tls = { ...TLS, certificates: [files] }
    const taken = await occupied(t)
    assert.equal((await gateway.reload({ tls, ...listen({ dot: [at(gateway.dot), at(taken)] }) })).outcome, 'rolled-back')
    assert.equal(await Promise.race([quic.ended.promise, turn('open')]), 'open')
    assert.equal((await gateway.reload(listen({}))).outcome, 'applied')
    await quic.ended.promise
    await quic[Symbol.asyncDispose]()
  })

  test('that is undone leaves the admin listener where it was', async (t) => {
    await using upstream = await dnsServer(answering)
    await using gateway = await runGateway([upstream.endpoint])
    const admin = { endpoint: await free(), tokenFile: null, hosts: [] }
    const taken = await occupied(t)
    assert.equal((await gateway.reload(listen({ admin, dot: [at(gateway.dot), at(taken)] }))).outcome, 'rolled-back')
    assert.deepEqual(gateway.gateway.facts.admin, gateway.admin)
    assert.equal((await fetch(`http://127.0.0.1:${gateway.admin.port}/readyz`)).status, 200)
    await assert.rejects(fetch(`http://127.0.0.1:${admin.endpoint.port}/readyz`))
    assert.equal((await gateway.reload(listen({ admin }))).outcome, 'applied')
    assert.deepEqual(gateway.gateway.facts.admin, admin.endpoint)
  })

  test('from files back to the local CA makes that anew only if everything else succeeds', async (t) => {
    const directory = temporaryDirectory(t)
    const files = { cert: join(directory, 'cert.pem'), key: join(directory, 'key.pem'), origin: 'test' }
    const { certPem, keyPem } = await issue({ names: ['localhost'] })
    writeFileSync(files.cert, certPem)
    writeFileSync(files.key, keyPem)
    await using upstream = await dnsServer(answering)
    await using gateway = await runGateway([upstream.endpoint])
    const ca = () => readFileSync(join(gateway.state, 'ca.pem'), 'utf8')
    const before = ca()
    await gateway.reload({ tls: { ...TLS, certificates: [files] } })
    const back: Partial<Config> = {
      tls: TLS,
      public: { ...testConfig([]).public, name: 'other.example' },
    }
    const taken = await occupied(t)
    const planned = await gateway.reload(back, { dryRun: true })
    assert.ok(planned.outcome === 'planned')
    assert.match(planned.warnings.join(), /clients must trust it again/)
    assert.equal((await gateway.reload(listen({ dot: [at(gateway.dot), at(taken)] }))).outcome, 'rolled-back')
    assert.equal(ca(), before)
    assert.equal((await gateway.reload(listen({}))).outcome, 'applied')
    assert.notEqual(ca(), before)
    const session = await shown(gateway)
    assert.match(session.getPeerX509Certificate()?.subjectAltName ?? '', /other\.example/)
    session.destroy()
  })

  test('reaches connections from before a socket was bound anew', async () => {
    await using upstream = await dnsServer(answering)
    await using gateway = await runThreads([upstream.endpoint], { workers: 1 })
    const early = await dotAt(gateway, gateway.dot)
    await early.ask(ask())
    await gateway.worker(0).tell({ name: 'rebind', socket: 'dot', endpoint: gateway.dot })
    const late = await dotAt(gateway, gateway.dot)
    await early.ask(ask())
    await gateway.reload({ access: { dns: prefixes('127.0.0.0/8'), encrypted: prefixes('192.0.2.0/24'), tokenFile: null } })
    await early.closed()
    await late.closed()
  })

  test('knows an address in whatever notation', () => {
    const { listen: found } = loadConfig({
      file: null,
      env: { ATLAS_LISTEN_DOT: '[0:0::0:1]:853,[::ffff:192.0.2.1]:853,[fe80:0::1%lo]:853' },
      cwd: '/',
    }).config
    assert.deepEqual(
      found.dot.map(({ endpoint }) => endpoint.host),
      ['::1', '192.0.2.1', 'fe80::1%lo'],
    )
  })

  test('names the listener that is in the way of a wildcard', async () => {
    await using upstream = await dnsServer(answering)
    await using gateway = await runGateway([upstream.endpoint])
    const outcome = await gateway.reload(listen({ dns: [at({ host: '0.0.0.0', port: gateway.dns.port })] }), { dryRun: true })
    assert.ok(outcome.outcome === 'refused')
    assert.match(
      outcome.message,
      /^Cannot listen for dns on 0\.0\.0\.0:\d+: listen\.dns with 127\.0\.0\.1:\d+ has the socket now: take that out first/,
    )
    // another family is not in the way
    const other = await gateway.reload(listen({ dns: [ANYWHERE, at({ host: '::1', port: gateway.dns.port })] }), { dryRun: true })
    assert.equal(other.outcome, 'planned')
  })

  test('shows a chain that changed behind the same certificate', async (t) => {
    const directory = temporaryDirectory(t)
    const files = { cert: join(directory, 'cert.pem'), key: join(directory, 'key.pem'), origin: 'test' }
    const root = await issue({ subject: 'CN=root', isCa: true })
    const leaf = await issue({ issuer: root, names: ['localhost'] })
    writeFileSync(files.cert, leaf.certPem)
    writeFileSync(files.key, leaf.keyPem)
    await using gateway = await runGateway([], { tls: { ...TLS, certificates: [files] } })
    writeFileSync(files.cert, leaf.certPem + root.certPem)
    const outcome = await gateway.reload({})
    assert.ok(outcome.outcome === 'applied')
    assert.deepEqual(outcome.changes, [{ path: 'certificates', from: 'the chain or the key', to: 'other content' }])
  })
})
