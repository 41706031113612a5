import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { RunningGateway } from '../gateway.ts'
import type { Upstream } from '../upstream.ts'

/** A server of this machine, one process, on loopback. */
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

/** The gateway with one worker that listens for one protocol and nothing else. */
export async function startGateway(
  { kind, port, connectionsPerClient }: { kind: 'doh' | 'dot'; port: number; connectionsPerClient: number },
  { folder, upstream, certificate, key }: Surroundings,
): Promise<Server> {
  const file = join(folder, 'atlas.yaml')
  // JSON is YAML too
  writeFileSync(
    file,
    JSON.stringify({
      state: join(folder, 'state'),
      workers: 1,
      listen: { dns: [], dot: [], doq: [], doh: [], [kind]: [`127.0.0.1:${port}`], admin: false },
      tls: { certificates: [{ cert: certificate, key }] },
      upstreams: [upstream.url],
      limits: { connectionsPerClient, idle: { stream: '10m' } },
      log: { level: 'warn' },
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
