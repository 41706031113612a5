import assert from 'node:assert/strict'
import { createHash, X509Certificate } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { aRecord, response } from '../harness/messages.ts'
import { type Finished, freePort, Holdings, type Running, run, start, startAtlas } from '../harness/real.ts'
import { dnsServer } from '../harness/servers.ts'

export const ADDRESS = '192.0.2.80'
export const TTL = 600
export const BIG_COUNT = 30

export const ZONE = 'lab.example'

/** Hosts, in one zone that only the lab's servers have. `slow` is answered when the test says so; every name below `many` is one. */
export const NAMES = {
  www: 'www.lab.example',
  big: 'big.lab.example',
  page: 'page.lab.example',
  slow: 'slow.lab.example',
  many: 'many.lab.example',
} as const

/** 30 texts of about 100 octets: too much for a datagram of 1,232. */
const BIG = Array.from({ length: BIG_COUNT }, (_, i) => `${NAMES.big}. ${TTL} IN TXT ${String(i).padStart(2, '0')}${'x'.repeat(90)}`)
const RECORDS = [
  `${NAMES.www}. ${TTL} IN A ${ADDRESS}`,
  `${NAMES.www}. ${TTL} IN TXT only-the-lab-knows`,
  `${NAMES.page}. ${TTL} IN A 127.0.0.1`,
  `${NAMES.many}. ${TTL} IN A ${ADDRESS}`,
  ...BIG,
]

/** The zone for an authoritative server, without what is answered when the test says so. */
export const ZONE_FILE = `${ZONE}. ${TTL} IN SOA ns.${ZONE}. nobody.${ZONE}. 1 3600 1200 604800 ${TTL}
${ZONE}. ${TTL} IN NS ns.${ZONE}.
ns.${ZONE}. ${TTL} IN A 127.0.0.1
*.${NAMES.many}. ${TTL} IN A ${ADDRESS}
${RECORDS.join('\n')}
`

/** Of the local CA's certificate for the gateway, in its state directory. */
export const IDENTITY = 'identities/local/localhost'
/** Of nobody's key. */
export const OTHER_PIN = `${'A'.repeat(43)}=`

export interface RealGateway {
  readonly process: Running
  readonly dns: number
  readonly dot: number
  readonly doq: number
  /** TCP, and UDP for HTTP/3. */
  readonly doh: number
  readonly admin: number
  /** Path of the configuration. */
  readonly config: string
  /** Path of the state directory. */
  readonly state: string
  /** Path of the local CA's certificate. */
  readonly ca: string
}

type Listener = 'dns' | 'dot' | 'doq' | 'doh'

/** The server behind `slow.lab.example`: says nothing until it is released. */
export interface SlowServer {
  readonly port: number
  /** Resolves once somebody has asked. */
  readonly asked: Promise<void>
  release(): void
}

/** A gateway in front of an unbound in front of a slow server. */
export interface Lab {
  readonly holdings: Holdings
  readonly gateway: RealGateway
  readonly unbound: Running
  /** Where unbound answers, over UDP and TCP. */
  readonly resolver: number
  readonly slow: SlowServer
  restartUnbound(): Promise<Running>
}

/** `settings`: lines of the gateway's configuration besides listeners and upstreams. */
export async function startLab(t: TestContext, settings = ''): Promise<Lab> {
  const holdings = new Holdings(t)
  const slow = await startSlow(holdings)
  const port = await freePort()
  const config = unboundConfig(port, slow.port)
  const unbound = await startUnbound(holdings, 'lab', config)
  const gateway = await startGateway(holdings, `{ name: lab, url: "udp://127.0.0.1:${port}" }`, { settings })
  return { holdings, gateway, unbound, resolver: port, slow, restartUnbound: () => startUnbound(holdings, 'lab', config) }
}

async function startSlow(holdings: Holdings): Promise<SlowServer> {
  const asked = Promise.withResolvers<void>()
  let waiting: (() => void)[] | null = []
  const server = await dnsServer((query, reply) => {
    const answer = (): void => reply(response(query, { answers: [aRecord(ADDRESS)] }))
    if (waiting === null) answer()
    else waiting.push(answer)
    asked.resolve()
  })
  holdings.defer(() => server[Symbol.asyncDispose]())
  return {
    port: server.endpoint.port,
    asked: asked.promise,
    release: () => {
      for (const answer of waiting ?? []) answer()
      waiting = null
    },
  }
}

export async function startUnbound(holdings: Holdings, name: string, config: string): Promise<Running> {
  const file = join(holdings.folder, `unbound-${name}.conf`)
  writeFileSync(file, config)
  const unbound = start(holdings, 'unbound', ['-d', '-d', '-p', '-c', file])
  await unbound.until(/start of service/)
  return unbound
}

/** Runs as whoever started it, needs no folder, no keys and no internet. */
export function unboundServer(port: number): string {
  return `server:
  interface: 127.0.0.1@${port}
  verbosity: 1
  use-syslog: no
  logfile: ""
  chroot: ""
  username: ""
  directory: ""
  pidfile: ""
  module-config: "iterator"
  do-not-query-localhost: no
  do-ip6: no
  num-threads: 1
`
}

function unboundConfig(port: number, slow: number): string {
  return `${unboundServer(port)}  local-zone: "${ZONE}." static
  local-zone: "${NAMES.slow}." transparent
  local-zone: "${NAMES.many}." redirect
${RECORDS.map((record) => `  local-data: '${record}'`).join('\n')}
forward-zone:
  name: "${NAMES.slow}"
  forward-addr: 127.0.0.1@${slow}
remote-control:
  control-enable: no
`
}

/** `upstream`: as an entry of the configuration; `settings`: more lines of it. */
export async function startGateway(
  holdings: Holdings,
  upstream: string,
  { name = 'atlas', settings = '' }: { name?: string; settings?: string } = {},
): Promise<RealGateway> {
  const file = join(holdings.folder, `${name}.yaml`)
  const state = join(holdings.folder, `${name}-state`)
  const any = '["127.0.0.1:0"]'
  writeFileSync(
    file,
    `listen: { doh: ${any}, dot: ${any}, doq: ${any}, dns: ${any}, admin: "127.0.0.1:0" }
state: ${state}
upstreams: [${upstream}]
${settings}
`,
  )
  const process = startAtlas(holdings, ['run', '--config', file])
  const [line] = await process.until(/^\{.*"msg":"serving"\}$/m)
  const [, admin] = await process.until(/http:\/\/127\.0\.0\.1:(\d+)\/metrics/)
  const bound = JSON.parse(line) as Record<Listener, { port: number }[]>
  const port = (kind: Listener): number => bound[kind][0]?.port ?? 0
  const ports = { dns: port('dns'), dot: port('dot'), doq: port('doq'), doh: port('doh'), admin: Number(admin) }
  return { process, ...ports, config: file, state, ca: join(state, 'ca.pem') }
}

/** RFC 7858 §4.2: the hash of the key of the gateway's certificate. */
export function pinOf({ state }: RealGateway): string {
  const { publicKey } = new X509Certificate(readFileSync(join(state, IDENTITY, 'chain.pem')))
  return createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('base64')
}

/** The sum of a family of metrics over all labels that begin so. */
export async function metric({ admin }: RealGateway, begin: string): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${admin}/metrics`)).text()
  const lines = text.split('\n').filter((line) => line.startsWith(begin))
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0)
}

/** Asks once: a retry would hide a lost answer. */
export function dig(port: number, ...rest: readonly string[]): Promise<Finished> {
  return run('dig', ['@127.0.0.1', '-p', String(port), '+tries=1', ...rest])
}

/** What is there, what is too long for UDP and what is not there. */
export async function assertForwards(port: number): Promise<void> {
  const answer = await dig(port, NAMES.www)
  assert.match(answer.text, /status: NOERROR/, answer.text)
  assert.match(answer.text, new RegExp(`\\sA\\s+${ADDRESS}$`, 'm'), answer.text)
  const big = await dig(port, '+tcp', NAMES.big, 'TXT')
  assert.equal(big.text.match(/^big\.lab\.example\.\s.*\sTXT\s/gm)?.length, BIG_COUNT, big.text)
  const none = await dig(port, `none.${NAMES.www}`)
  assert.match(none.text, /status: NXDOMAIN/, none.text)
}

/** Asks for so many names that no cache has, `atOnce` of them at a time. */
export async function askMany(holdings: Holdings, port: number, { count, atOnce }: { count: number; atOnce: number }): Promise<void> {
  const file = join(holdings.folder, `names-${port}`)
  writeFileSync(file, Array.from({ length: count }, (_, i) => `${port}-${i}.${NAMES.many} A\n`).join(''))
  const { code, text } = await run('dnsperf', ['-s', '127.0.0.1', '-p', String(port), '-d', file, '-n', '1', '-q', String(atOnce)])
  assert.equal(code, 0, text)
  assert.match(text, new RegExp(`NOERROR ${count} \\(100\\.00%\\)`), text)
}
