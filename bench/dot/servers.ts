import { fileURLToPath } from 'node:url'
import { dnsperf } from '../dnsperf.ts'
import { nameFile } from '../name-file.ts'
import { questions } from '../questions.ts'
import { Peer } from '../servers/peer.ts'
import { isInstalled } from '../servers/programs.ts'
import { fillIn, type Server, type Surroundings, startGateway } from '../servers/server.ts'
import type { Contender } from '../servers/stage.ts'
import { responseTo } from '../traffic.ts'

export const SERVERS = ['ours', 'dnsdist', 'core tls'] as const
export type ServerName = (typeof SERVERS)[number]

const PORTS = { ours: 28_280, dnsdist: 28_281, core: 28_282, dnsdistPlain: 28_283 }
const CORE_SERVER = fileURLToPath(new URL('./core-server.ts', import.meta.url))
/** More than any load opens from one address. */
const CONNECTIONS_PER_CLIENT = 20_000
const WARM_UP_SECONDS = 3

export function contenders<Name extends ServerName>(names: readonly Name[]): readonly Contender<Name>[] {
  const all: Readonly<Record<ServerName, Omit<Contender<Name>, 'name'>>> = {
    ours: {
      isAvailable: true,
      start: (surroundings) => startGateway({ kind: 'dot', port: PORTS.ours, connectionsPerClient: CONNECTIONS_PER_CLIENT }, surroundings),
      warm,
    },
    dnsdist: { isAvailable: isInstalled('dnsdist'), start: startDnsdist, warm },
    'core tls': { isAvailable: true, start: startCore, warm },
  }
  return names.map((name) => ({ name, ...all[name] }))
}

async function warm({ port }: Server, folder: string): Promise<void> {
  const load = { transport: 'dot', port, file: nameFile(folder), hasOpt: false } as const
  await dnsperf({ ...load, seconds: WARM_UP_SECONDS, connections: 4, outstanding: 40 })
}

function startDnsdist({ folder, upstream, certificate, key }: Surroundings): Promise<Server> {
  const { port: upstreamPort } = new URL(upstream.url)
  const file = fillIn('dnsdist-dot.conf', folder, { dotPort: PORTS.dnsdist, dnsPort: PORTS.dnsdistPlain, upstreamPort, certificate, key })
  return Peer.start(PORTS.dnsdist, ['dnsdist', '--supervised', '--disable-syslog', '-C', file])
}

function startCore({ certificate, key }: Surroundings): Promise<Server> {
  const [question = Buffer.alloc(0)] = questions({ hasOpt: false })
  const answer = responseTo(question, question.length).toString('base64url')
  return Peer.start(PORTS.core, [process.execPath, ...process.execArgv, CORE_SERVER, String(PORTS.core), certificate, key, answer])
}
