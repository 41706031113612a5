import assert from 'node:assert/strict'
import { lookup } from 'node:dns/promises'
import { once } from 'node:events'
import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import test from 'node:test'
import { fileURLToPath } from 'node:url'
import { missing, run } from '../harness/real.ts'
import { managePolicy, trustCa } from './chromium.ts'
import { NAMES, startLab } from './lab.ts'

const ARTEFACTS = fileURLToPath(new URL('artefacts/', import.meta.url))
const [WIDTH, HEIGHT] = [640, 360]
const BROWSE_MS = 60_000
/** A blank page of this size is less than 3 kB. */
const PLAUSIBLE_OCTETS = 6000
const PNG_SIGNATURE = Buffer.from('89504e470d0a1a0a', 'hex')
/** As the browser writes a document out, so that what was served and what was shown can be compared as they are. */
const PAGE = `<html><head><title>Atlas</title></head><body style="font: 24px sans-serif; background: #dff0ff">
<h1>Found through the gateway</h1>
<p>Only the resolver behind it knows where ${NAMES.page} is.</p>
</body></html>`

function missingHere(): string | false {
  const reason = missing('chromium', 'certutil')
  if (reason !== false || process.env.CI === 'true' || process.getuid?.() === 0) return reason
  return 'skipped: only root can set the policy of the browser'
}

test('Chromium finds a host by secure DNS that only the gateway knows', { skip: missingHere() }, async (t) => {
  const { gateway, holdings } = await startLab(t)
  const server = createServer((_, response) => response.setHeader('content-type', 'text/html').end(`<!DOCTYPE html>${PAGE}`))
  holdings.defer(() => server.close())
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const url = `http://${NAMES.page}:${(server.address() as AddressInfo).port}/`
  await assert.rejects(lookup(NAMES.page), 'nobody else knows the name')

  await trustCa(holdings.folder, gateway.ca)
  managePolicy(holdings, {
    DnsOverHttpsMode: 'secure',
    DnsOverHttpsTemplates: `https://localhost:${gateway.doh}/dns-query`,
    BuiltInDnsClientEnabled: true,
  })
  mkdirSync(ARTEFACTS, { recursive: true })
  const picture = join(ARTEFACTS, 'chromium.png')
  rmSync(picture, { force: true }) // of an earlier run
  const options = [
    '--headless=new',
    '--no-sandbox', // it does not start as root with it
    '--disable-gpu',
    '--disable-dev-shm-usage', // containers have little of it
    '--disable-quic', // accepts public CAs only
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    `--user-data-dir=${join(holdings.folder, 'profile')}`,
    `--window-size=${WIDTH},${HEIGHT}`,
    '--hide-scrollbars',
    `--screenshot=${picture}`,
    '--dump-dom',
  ]
  const shown = await run('env', [`HOME=${holdings.folder}`, 'chromium', ...options, url], { timeoutMs: BROWSE_MS })
  assert.equal(shown.code, 0, shown.text)
  assert.ok(shown.stdout.toString().includes(PAGE), shown.text)

  const metrics = await (await fetch(`http://127.0.0.1:${gateway.admin}/metrics`)).text()
  assert.match(metrics, /^atlas_queries_total\{transport="doh2"\} [1-9]/m)

  const png = readFileSync(picture)
  assert.deepEqual(png.subarray(0, PNG_SIGNATURE.length), PNG_SIGNATURE)
  assert.deepEqual([png.readUInt32BE(16), png.readUInt32BE(20)], [WIDTH, HEIGHT])
  assert.ok(png.length > PLAUSIBLE_OCTETS, `${png.length} octets`)
})
