import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type GatewayPorts, RunningGateway } from '../gateway.ts'
import { responseTo } from '../traffic.ts'
import type { Upstream } from '../upstream.ts'
import { Peer } from './peer.ts'
import { isInstalled } from './programs.ts'
import { questions } from './questions.ts'

export const SERVERS = ['ours', 'dnsdist', 'nginx', 'core http2'] as const
export type ServerName = (typeof SERVERS)[number]

/** A DoH server of this machine, one process, on loopback. */
export interface Server {
  readonly port: number
  readonly pid: number
  stop(): Promise<void>
}

/** What all servers are started with. */
export interface Surroundings {
  /** Theirs alone. */
  readonly folder: string
  readonly upstream: Upstream
  /** PEM files, the same for all. */
  readonly certificate: string
  readonly key: string
}

const PORTS = { ours: 28_270, dnsdist: 28_271, nginx: 28_272, core: 28_273, dnsdistPlain: 28_274 }
const CORE_SERVER = fileURLToPath(new URL('./core-server.ts', import.meta.url))
/** More than any load opens from one address. */
const CONNECTIONS_PER_CLIENT = 1000

const STARTS: Readonly<Record<ServerName, (surroundings: Surroundings) => Promise<Server>>> = {
  ours: startGateway,
  dnsdist: startDnsdist,
  nginx: startNginx,
  'core http2': startCore,
}

export function startServer(name: ServerName, surroundings: Surroundings): Promise<Server> {
  return STARTS[name](surroundings)
}

/** Those that come with their answers, and need not be asked before. */
export function isConstant(name: ServerName): boolean {
  return name === 'nginx' || name === 'core http2'
}

export function isAvailable(name: ServerName): boolean {
  return name === 'ours' || name === 'core http2' || isInstalled(name)
}

async function startGateway({ folder, upstream, certificate, key }: Surroundings): Promise<Server> {
  const file = join(folder, 'atlas.yaml')
  // JSON is YAML too
  writeFileSync(
    file,
    JSON.stringify({
      state: join(folder, 'state'),
      workers: 1,
      listen: { dns: [], dot: [], doq: [], doh: [`127.0.0.1:${PORTS.ours}`], admin: false },
      tls: { certificates: [{ cert: certificate, key }] },
      upstreams: [upstream.url],
      limits: { connectionsPerClient: CONNECTIONS_PER_CLIENT },
      log: { level: 'warn' },
    }),
  )
  const ports: GatewayPorts = { dns: 0, dot: 0, doh: PORTS.ours }
  const gateway = new RunningGateway(ports, { file })
  await gateway.ready()
  return { port: PORTS.ours, pid: gateway.pid, stop: () => gateway.stop() }
}

function startDnsdist({ folder, upstream, certificate, key }: Surroundings): Promise<Server> {
  const { port: upstreamPort } = new URL(upstream.url)
  const file = fillIn('dnsdist.conf', folder, { dohPort: PORTS.dnsdist, dnsPort: PORTS.dnsdistPlain, upstreamPort, certificate, key })
  return Peer.start(PORTS.dnsdist, ['dnsdist', '--supervised', '--disable-syslog', '-C', file])
}

function startNginx({ folder, certificate, key }: Surroundings): Promise<Server> {
  // as long as what the others say
  const content = 'x'.repeat(constantAnswer().length)
  const file = fillIn('nginx.conf', folder, { dohPort: PORTS.nginx, folder, certificate, key, content })
  return Peer.start(PORTS.nginx, ['nginx', '-e', 'stderr', '-p', folder, '-c', file])
}

function startCore({ certificate, key }: Surroundings): Promise<Server> {
  const args = [...process.execArgv, CORE_SERVER, String(PORTS.core), certificate, key, constantAnswer().toString('base64url')]
  return Peer.start(PORTS.core, [process.execPath, ...args])
}

function constantAnswer(): Buffer {
  const [question = Buffer.alloc(0)] = questions({ hasOpt: false })
  return responseTo(question, question.length)
}

/** Writes the file of bench/peers/ with `values` in the place of their {names}. */
function fillIn(name: string, folder: string, values: Readonly<Record<string, string | number>>): string {
  const template = readFileSync(new URL(`../peers/${name}`, import.meta.url), 'utf8')
  const file = join(folder, name)
  writeFileSync(
    file,
    Object.entries(values).reduce((text, [key, value]) => text.replaceAll(`{${key}}`, String(value)), template),
  )
  return file
}
