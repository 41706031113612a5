import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { CLIENTS } from '../harness/clients.ts'
import { runGateway, type TestGateway } from '../harness/gateway.ts'
import { question } from '../harness/messages.ts'
import { answering } from '../harness/reload.ts'
import { dnsServer } from '../harness/servers.ts'
import { temporaryDirectory } from '../harness/temporary.ts'
import { runCommand } from './admin-door.ts'

const cache = { memory: 1_048_576, serveStaleMs: 0, prefetch: false, persist: false }

/** Runs a command with the configuration of this gateway; what it prints. */
function commander(t: TestContext, { state }: TestGateway): (...words: string[]) => Promise<string> {
  const config = join(temporaryDirectory(t), 'atlas.yaml')
  writeFileSync(config, `state: ${state}\n`)
  return async (...words) => (await runCommand([...words, '--config', config])).out
}

test('a real gateway shows what it has served, and forgets it', async (t) => {
  await using upstream = await dnsServer(answering)
  await using gateway = await runGateway([upstream.endpoint], { cache })
  const run = commander(t, gateway)
  for (const client of CLIENTS) await client.send(gateway, question({ name: 'www.example.com', opt: '' }))
  const status = await run('status')
  assert.match(status, /^Atlas DNS \S+, process \d+, up \d+ s: ready\n/)
  assert.match(status, /^udp +1 +1 +/m)
  assert.match(status, new RegExp(`^NOERROR +${CLIENTS.length} +100\\.0 %`, 'm'))
  for (const line of status.split('\n')) assert.ok([...line].length <= 80, line)
  assert.match(await run('cache'), /^use .* 1 entry\n/)
  assert.match(await run('cache', 'get', 'WWW.example.com'), /^A +IN +– +– +NOERROR/m)
  assert.equal(await run('cache', 'purge', '--suffix', 'example.com'), 'example.com and below: 1 entry thrown out\n')
  assert.equal(await run('cache', 'get', 'www.example.com'), 'www.example.com.: nothing is known of it\n')
  assert.match(await run('certs'), /^localhost, 127\.0\.0\.1, ::1 +local CA +ECDSA P-256 +\d+ +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC/m)
  assert.match(await run('top', '--once', '--interval', '100ms'), /^Atlas DNS .*: ready\n0 queries\/s {2}0 answers\/s/)
})

test('a real gateway does what it is told: upstreams, settings, the end', async (t) => {
  await using upstream = await dnsServer(answering)
  await using gateway = await runGateway([upstream.endpoint])
  const run = commander(t, gateway)
  assert.equal(await run('upstreams', 'disable', 'upstream0'), 'upstream0 is disabled\n')
  assert.match(await run('upstreams'), /^upstream0 +udp:\S+ +disabled +\d+ +0 +0 +– +0\n/m)
  assert.match(await run('upstreams', 'enable', 'upstream0'), /^upstream0 is (not asked yet|up)\n$/)
  await CLIENTS[0]?.send(gateway, question({ name: 'www.example.com', opt: '' }))
  assert.match(await run('upstreams'), /^upstream0 +udp:\S+ +up +\d+ +\d+ +\d+ +\S+ ms +0\n/m)
  await assert.rejects(run('upstreams', 'enable', 'nobody'), /expected one of upstream0: received "nobody"/)
  await assert.rejects(run('cache', 'get', 'a..b'), /expected a domain name: received "a\.\.b"/)
  await gateway.reload({ timeouts: { queryMs: 3000, handshakeMs: 5000, drainMs: 10_000 } }, { dryRun: true })
  assert.equal(await run('reload', '--dry-run'), 'would change:\n  timeouts.query: 4s → 3s\n')
  assert.equal(await run('reload'), 'applied:\n  timeouts.query: 4s → 3s\n')
  assert.match(await run('status'), /^last reload .*: applied$/m)
  assert.match(await run('drain'), /^process \d+ drains/)
  await gateway.gateway.drainAsked
})
