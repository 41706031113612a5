import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { madeUpNames } from '../names.ts'
import { NAMES } from '../questions.ts'
import { Peer } from '../servers/peer.ts'
import { type Asked, fillIn, type Place } from '../servers/server.ts'

/** How upstreams are asked. */
export const UPSTREAM_KINDS = ['udp', 'tcp', 'tls'] as const
export type UpstreamKind = (typeof UPSTREAM_KINDS)[number]

export const BACKEND_PORTS: Readonly<Record<UpstreamKind, number>> = { udp: 28_294, tcp: 28_294, tls: 28_295 }
/** The programs that this takes. */
export const BACKEND_PROGRAMS: Readonly<Record<UpstreamKind, string>> = { udp: 'nsd', tcp: 'nsd', tls: 'unbound' }
const ZONE = 'example.com'
/** The answers are those of bench/upstream.ts. */
const ADDRESSES = ['192.0.2.0', '192.0.2.1']
const RECORD_FILE = 'records'

/**
 * Servers in C that know two addresses of every made-up name, in processes of their own, so that those who ask are what is
 * measured. nsd is the fastest there is over UDP and TCP; but of several questions in one TLS record it answers the first and
 * waits for the next record (seen with 4.6.1), so that over TLS it is unbound.
 */
export async function startBackend(kind: UpstreamKind, place: Place): Promise<Asked> {
  const port = BACKEND_PORTS[kind]
  const peer = await Peer.start(port, kind === 'tls' ? unbound(port, place) : nsd(port, place))
  return { url: `${kind}://127.0.0.1:${port}`, stop: () => peer.stop() }
}

function nsd(port: number, { folder }: Place): readonly string[] {
  const head = [`$ORIGIN ${ZONE}.`, '$TTL 86400', '@ SOA ns hostmaster 1 3600 600 86400 300', '@ NS ns', 'ns A 127.0.0.1']
  const records = madeUpNames(NAMES).flatMap((name) => ADDRESSES.map((address) => `${name}. A ${address}`))
  writeLines(join(folder, RECORD_FILE), [...head, ...records])
  return ['nsd', '-d', '-c', fillIn('nsd.conf', folder, { port, folder, zone: ZONE, zoneFile: RECORD_FILE })]
}

function unbound(port: number, { folder, certificate, key }: Place): readonly string[] {
  const recordFile = join(folder, RECORD_FILE)
  const records = madeUpNames(NAMES).flatMap((name) => ADDRESSES.map((address) => `local-data: "${name}. 86400 A ${address}"`))
  writeLines(recordFile, ['server:', ...records])
  return ['unbound', '-d', '-c', fillIn('unbound.conf', folder, { port, folder, certificate, key, zone: ZONE, recordFile })]
}

function writeLines(file: string, lines: readonly string[]): void {
  writeFileSync(file, `${lines.join('\n')}\n`)
}
