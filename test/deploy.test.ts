import assert from 'node:assert/strict'
import { cpSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import test from 'node:test'
import { parse } from 'yaml'
import { loadConfig } from '../gateway/config/load.ts'
import { aRecord, response } from './harness/messages.ts'
import { Holdings, run, start } from './harness/real.ts'
import { dnsServer } from './harness/servers.ts'

const ROOT = new URL('..', import.meta.url).pathname
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8')
const PACKAGE = JSON.parse(read('package.json')) as { version: string; optionalDependencies: Record<string, string> }
const CONFIG = 'deploy/compose/atlas.yaml'
const ADDRESS = '192.0.2.7'

interface Service {
  readonly ports?: readonly string[]
  readonly networks: { readonly dns: { readonly ipv4_address: string } }
  readonly volumes: readonly string[]
  readonly healthcheck: { readonly test: readonly string[] }
  readonly stop_grace_period: string
}

const SERVICES = (parse(read('docker-compose.yml')) as { services: Record<'gateway' | 'unbound', Service> }).services
const composeConfig = () => loadConfig({ file: join(ROOT, CONFIG), env: {}, cwd: ROOT }).config

test('the compiled program checks the configuration of the image, answers, and ends on SIGTERM', async (t) => {
  const holdings = new Holdings(t)
  const tree = join(holdings.folder, 'tree')
  const [tsc, project] = [join(ROOT, 'node_modules/typescript/bin/tsc'), join(ROOT, 'deploy/tsconfig.build.json')]
  const built = await run(process.execPath, [tsc, '-p', project, '--outDir', tree])
  assert.equal(built.code, 0, built.text)
  const files = readdirSync(tree, { recursive: true, encoding: 'utf8' })
  assert.ok(files.includes('gateway/main.js'))
  assert.deepEqual(
    files.filter((file) => /^test\b|\.ts$/.test(file)),
    [],
  )

  for (const path of ['package.json', 'deploy/atlas-dns', 'deploy/node']) cpSync(join(ROOT, path), join(tree, path))
  symlinkSync(join(ROOT, 'node_modules'), join(tree, 'node_modules'))
  const atlas = join(tree, 'deploy/atlas-dns')
  assert.equal((await run(atlas, ['--version'])).text.trim(), PACKAGE.version)
  const checked = await run(atlas, ['check', '--config', join(ROOT, CONFIG)])
  assert.equal(checked.code, 0, checked.text)

  const server = await dnsServer((query, reply) => reply(response(query, { answers: [aRecord(ADDRESS)] })))
  holdings.defer(() => server[Symbol.asyncDispose]())
  const file = join(holdings.folder, 'atlas.yaml')
  const any = '["127.0.0.1:0"]'
  writeFileSync(
    file,
    `listen: { doh: ${any}, dot: ${any}, doq: ${any}, dns: ${any}, admin: false }
upstreams: ["udp://127.0.0.1:${server.endpoint.port}"]
`,
  )
  const gateway = start(holdings, atlas, ['run', '--config', file])
  const [line] = await gateway.until(/^\{.*"msg":"serving"\}$/m)
  const { dot } = JSON.parse(line) as { dot: { port: number }[] }
  const ca = join(holdings.folder, 'state/ca.pem')
  const answer = await run(atlas, ['query', '--short', `@tls://localhost:${dot[0]?.port}`, 'www.example.com', '--ca', ca])
  assert.deepEqual([answer.text.trim(), answer.code], [ADDRESS, 0])
  gateway.signal('SIGTERM')
  assert.equal(await gateway.exit, 0, gateway.text)
})

test('the image has the Node.js that package.json pins', () => {
  const tags = [...read('deploy/Dockerfile').matchAll(/^FROM node:(\S+?)-\S+/gm)].map(([, version]) => version)
  const pinned = Object.entries(PACKAGE.optionalDependencies).filter(([name]) => name.startsWith('node-'))
  assert.equal(tags.length, 2)
  assert.deepEqual(new Set(tags), new Set(pinned.map(([, version]) => version)))
})

test('docker-compose.yml publishes what the gateway listens on, under the numbers that it tells its clients', () => {
  const { listen, public: facts, doh } = composeConfig()
  assert.equal(doh.http3, true)
  const published = (kind: 'doh' | 'dot' | 'doq', protocol: string): string[] =>
    listen[kind].map(({ endpoint }) => `${facts.ports[kind]}:${endpoint.port}/${protocol}`)
  const expected = [...published('doh', 'tcp'), ...published('doh', 'udp'), ...published('dot', 'tcp'), ...published('doq', 'udp')]
  assert.deepEqual(SERVICES.gateway.ports, expected)
  assert.equal(listen.dns.length, 0)
  assert.equal(SERVICES.unbound.ports, undefined)
})

test('docker-compose.yml, the configurations it mounts and the image agree', () => {
  const { gateway, unbound } = SERVICES
  const { listen, state, timeouts, upstreams } = composeConfig()
  const [upstream] = upstreams ?? []
  assert.equal(upstream?.urls[0]?.host, unbound.networks.dns.ipv4_address)
  assert.match(read('deploy/compose/unbound.conf'), new RegExp(`^ {2}interface: 0\\.0\\.0\\.0@${upstream?.urls[0]?.port}$`, 'm'))
  assert.match(gateway.healthcheck.test.join(' '), new RegExp(`http://127\\.0\\.0\\.1:${listen.admin?.endpoint.port}/readyz`))
  assert.ok(Number.parseInt(gateway.stop_grace_period, 10) * 1000 > timeouts.drainMs)
  assert.ok(gateway.volumes.includes(`state:${state}`))
  assert.match(read('deploy/Dockerfile'), new RegExp(`^VOLUME ${state}$`, 'm'))
  assert.match(read('deploy/Dockerfile'), /^CMD \["run", "--config", "\/etc\/atlas\/atlas\.yaml"\]$/m)
  assert.ok(gateway.volumes.includes(`./${dirname(CONFIG)}:/etc/atlas:ro`))
})
