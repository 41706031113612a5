import { dnsperf } from '../dnsperf.ts'
import { nameFile } from '../name-file.ts'
import { Peer } from '../servers/peer.ts'
import { isInstalled } from '../servers/programs.ts'
import { fillIn, type Server, type Surroundings, startGateway } from '../servers/server.ts'
import type { Contender } from '../servers/stage.ts'
import { BACKEND_PORTS, type UpstreamKind } from './backends.ts'

export const CONTENDERS = ['ours', 'dnsdist'] as const
export type ContenderName = (typeof CONTENDERS)[number]
/** How clients ask. */
export const CLIENT_KINDS = ['dot', 'udp'] as const
export type ClientKind = (typeof CLIENT_KINDS)[number]

/** By how clients ask. */
const PORTS: Readonly<Record<ContenderName, Readonly<Record<ClientKind, number>>>> = {
  ours: { dot: 28_290, udp: 28_291 },
  dnsdist: { dot: 28_292, udp: 28_293 },
}
const WARM_UP_SECONDS = 2

/** Forwarders that keep nothing. */
export function contenders(kind: UpstreamKind): readonly Contender<ContenderName>[] {
  return [
    { name: 'ours', isAvailable: true, start: (surroundings) => startOurs(kind, surroundings), warm: (_, folder) => warm('ours', folder) },
    {
      name: 'dnsdist',
      isAvailable: isInstalled('dnsdist'),
      start: (surroundings) => startDnsdist(kind, surroundings),
      warm: (_, folder) => warm('dnsdist', folder),
    },
  ]
}

export function portOf(name: ContenderName, client: ClientKind): number {
  return PORTS[name][client]
}

async function warm(name: ContenderName, folder: string): Promise<void> {
  const load = { file: nameFile(folder), hasOpt: false, seconds: WARM_UP_SECONDS, connections: 4, outstanding: 400 }
  for (const transport of CLIENT_KINDS) await dnsperf({ ...load, transport, port: portOf(name, transport) })
}

function startOurs(kind: UpstreamKind, surroundings: Surroundings): Promise<Server> {
  const { url } = surroundings.upstream
  const upstream = kind === 'tls' ? { url, ca: surroundings.certificate } : { url }
  const settings = { cache: { memory: 0 }, upstreams: [upstream] }
  const { dot, udp } = PORTS.ours
  return startGateway({ kind: 'dot', port: dot, plainPort: udp, connectionsPerClient: 100, settings }, surroundings)
}

function startDnsdist(kind: UpstreamKind, { folder, certificate, key }: Surroundings): Promise<Server> {
  const { dot, udp } = PORTS.dnsdist
  const connection = {
    udp: '',
    tcp: 'tcpOnly = true',
    tls: `tls = "openssl", subjectName = "localhost", validateCertificates = true, caStore = "${certificate}"`,
  }[kind]
  const ports = { dotPort: dot, dnsPort: udp, upstreamPort: BACKEND_PORTS[kind] }
  const file = fillIn('dnsdist-miss.conf', folder, { ...ports, certificate, key, connection })
  return Peer.start(dot, ['dnsdist', '--supervised', '--disable-syslog', '-C', file])
}
