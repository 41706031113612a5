import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import test from 'node:test'
import { FAILURES } from '../dns/failure.ts'
import { loadConfig } from '../gateway/config/load.ts'
import { Slab } from '../gateway/telemetry/slab.ts'
import { Telemetry } from '../gateway/telemetry/telemetry.ts'
import { client, parsedQuery, question } from './harness/messages.ts'

const ROOT = new URL('..', import.meta.url).pathname
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')
const pages = [
  'README.md',
  'SECURITY.md',
  'CHANGELOG.md',
  ...readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' }).map((name) => join('docs', name)),
].filter((name) => name.endsWith('.md'))

test('every configuration in the README is accepted', () => {
  const directory = mkdtempSync(join(tmpdir(), 'atlas-docs-'))
  const blocks = [...read('README.md').matchAll(/```yaml\n([\s\S]*?)```/g)]
  assert.ok(blocks.length >= 3)
  for (const [, yaml = ''] of blocks) {
    writeFileSync(join(directory, 'atlas.yaml'), yaml)
    loadConfig({ file: join(directory, 'atlas.yaml'), env: {}, cwd: directory })
  }
  rmSync(directory, { recursive: true })
})

test('the full example of the README shows the defaults', () => {
  const example = /## Configuration by example[\s\S]*?```yaml\n([\s\S]*?)```/.exec(read('README.md'))?.[1] ?? ''
  const directory = mkdtempSync(join(tmpdir(), 'atlas-docs-'))
  writeFileSync(join(directory, 'atlas.yaml'), example)
  const { config } = loadConfig({ file: join(directory, 'atlas.yaml'), env: {}, cwd: directory })
  const { config: standard } = loadConfig({ file: null, env: {}, cwd: directory })
  // what the comments call an example is no default
  const { public: _, access, tls, upstreams, bootstrap, listen, ...shown } = config
  const {
    public: __,
    access: standardAccess,
    tls: standardTls,
    upstreams: ___,
    bootstrap: ____,
    listen: standardListen,
    ...defaults
  } = standard
  assert.deepEqual(shown, defaults)
  assert.deepEqual({ ...access, tokenFile: null }, standardAccess)
  for (const kind of ['doh', 'dot', 'dns'] as const) {
    assert.deepEqual(
      listen[kind].map(({ endpoint }) => endpoint),
      standardListen[kind].map(({ endpoint }) => endpoint),
    )
  }
  assert.deepEqual(listen.admin, standardListen.admin)
  assert.equal(tls.minVersion, standardTls.minVersion)
  assert.equal(upstreams?.length, 2)
  assert.equal(bootstrap?.length, 1)
  rmSync(directory, { recursive: true })
})

test('docs/errors.md has a row for every failure, as the table says it', () => {
  const text = read('docs/errors.md').replaceAll(/ +/g, ' ')
  for (const { code, ede, http, doq } of FAILURES) {
    const row = text.split('\n').find((line) => line.startsWith(`| \`${code}\` |`))
    assert.ok(row?.endsWith(`| ${ede < 0 ? '–' : ede} | ${http} | ${doq === 0 ? '–' : `0x${doq}`} |`), code)
  }
  assert.equal(text.match(/^\| `[a-z0-9_]+` \|/gm)?.length, FAILURES.length)
})

test('docs/limits.md says of every failure what it means', () => {
  const text = read('docs/limits.md')
  for (const { code } of FAILURES) assert.ok(text.includes(`\`${code}\``), code)
})

test('docs/metrics.md names every metric, and every name is well-formed', () => {
  const telemetry = new Telemetry(new Slab(Slab.allocate()))
  const failed = parsedQuery(question({ name: 'example.com' }), client('udp'))
  for (const isProbe of [false, true]) {
    failed.isProbe = isProbe
    telemetry.upstreamMeter('a').failed(failed, FAILURES[0] ?? assert.fail())
  }
  telemetry.transportMeter({ label: 'dot', index: 2, encrypted: true, datagram: false }).handshake('ok', 'TLSv1.3', false)
  telemetry.cacheMeter()
  telemetry.certificateMeter().failed('a', 0)
  const rendered = telemetry.render([], {
    certificates: [{ labels: { name: 'a' }, expirySeconds: 0, dueSeconds: 0 }],
    cache: { entries: 0, bytesUsed: 0 },
    probes: [{ labels: { transport: 'udp', address: '127.0.0.1:53' }, up: true, seconds: 0.1 }],
    upstreams: [{ labels: { upstream: 'a', url: 'udp://192.0.2.1:53' }, up: true, rttSeconds: 0.1, loss: 0 }],
    rebinds: 0,
  })
  const names = [...rendered.matchAll(/^# TYPE (\S+) (\S+)$/gm)]
  assert.ok(names.length >= 12)
  for (const name of ['failures', 'probes']) assert.match(rendered, new RegExp(`^atlas_upstream_${name}_total\\{`, 'm'))
  for (const [, name = '', kind] of names) {
    assert.match(name, /^atlas_[a-z_]+$/)
    if (kind === 'counter') assert.match(name, /_total$/)
    assert.ok(read('docs/metrics.md').includes(`\`${name}\``), name)
  }
})

test('links between pages lead somewhere', () => {
  for (const page of pages) {
    for (const [, target = ''] of read(page).matchAll(/\]\(([^)#:]+)\)/g)) {
      assert.ok(existsSync(join(ROOT, dirname(page), target)), `${page}: ${target}`)
    }
  }
})
