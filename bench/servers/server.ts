import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { RunningGateway } from '../gateway.ts'

/** A server of this machine, one process, on loopback. */
export interface Server {
  readonly port: number
  readonly pid: number
  stop(): Promise<void>
}

/** Whom servers ask. */
export interface Asked {
  readonly url: string
  stop(): Promise<void>
}

export interface Place {
  /** Theirs alone. */
  readonly folder: string
  /** PEM files, the same for all. */
  readonly certificate: string
  readonly key: string
}

/** What all servers are started with. */
export interface Surroundings extends Place {
  readonly upstream: Pick<Asked, 'url'>
}

export interface GatewayForm {
  readonly kind: 'doh' | 'dot'
  readonly port: number
  /** Of plain DNS besides. */
  readonly plainPort?: number
  readonly connectionsPerClient: number
  /** What else is in the configuration, in place of what all have. */
  readonly settings?: Readonly<Record<string, unknown>>
}

/** The gateway with one worker that listens for what is named and nothing else. */
export async function startGateway(
  { kind, port, plainPort, connectionsPerClient, settings }: GatewayForm,
  { folder, upstream, certificate, key }: Surroundings,
): Promise<Server> {
  const file = join(folder, 'atlas.yaml')
  const dns = plainPort === undefined ? [] : [`127.0.0.1:${plainPort}`]
  // JSON is YAML too
  writeFileSync(
    file,
    JSON.stringify({
      state: join(folder, 'state'),
      workers: 1,
      listen: { dns, dot: [], doq: [], doh: [], [kind]: [`127.0.0.1:${port}`], admin: false },
      tls: { certificates: [{ cert: certificate, key }] },
      upstreams: [upstream.url],
      limits: { connectionsPerClient, idle: { stream: '10m' } },
      log: { level: 'warn' },
      ...settings,
    }),
  )
  const gateway = new RunningGateway({ dns: 0, dot: 0, [kind]: port }, { file })
  await gateway.ready()
  return { port, pid: gateway.pid, stop: () => gateway.stop() }
}

/** Writes the file of bench/peers/ with `values` in the place of their {names}. */
export function fillIn(name: string, folder: string, values: Readonly<Record<string, string | number>>): string {
  const template = readFileSync(new URL(`../peers/${name}`, import.meta.url), 'utf8')
  const file = join(folder, name)
  writeFileSync(
    file,
    Object.entries(values).reduce((text, [key, value]) => text.replaceAll(`{${key}}`, String(value)), template),
  )
  return file
}
