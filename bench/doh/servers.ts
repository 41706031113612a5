import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type QuestionForm, questions } from '../questions.ts'
import { Peer } from '../servers/peer.ts'
import { isInstalled } from '../servers/programs.ts'
import { fillIn, type Server, type Surroundings, startGateway } from '../servers/server.ts'
import type { Contender } from '../servers/stage.ts'
import { responseTo } from '../traffic.ts'
import { h2load } from './h2load.ts'

export const SERVERS = ['ours', 'dnsdist', 'nginx', 'core http2'] as const
export type ServerName = (typeof SERVERS)[number]

const PORTS = { ours: 28_270, dnsdist: 28_271, nginx: 28_272, core: 28_273, dnsdistPlain: 28_274 }
const CORE_SERVER = fileURLToPath(new URL('./core-server.ts', import.meta.url))
/** More than any load opens from one address. */
const CONNECTIONS_PER_CLIENT = 1000

/** Those of `names`; asked questions of this form. */
export function contenders<Name extends ServerName>(names: readonly Name[], form: QuestionForm): readonly Contender<Name>[] {
  const warm = (server: Server, folder: string) => fill(server, folder, form)
  const all: Readonly<Record<ServerName, Omit<Contender<Name>, 'name'>>> = {
    ours: {
      isAvailable: true,
      start: (surroundings) => startGateway({ kind: 'doh', port: PORTS.ours, connectionsPerClient: CONNECTIONS_PER_CLIENT }, surroundings),
      warm,
    },
    dnsdist: { isAvailable: isInstalled('dnsdist'), start: startDnsdist, warm },
    // these come with their answers
    nginx: { isAvailable: isInstalled('nginx'), start: startNginx },
    'core http2': { isAvailable: true, start: startCore },
  }
  return names.map((name) => ({ name, ...all[name] }))
}

/** A file in `folder` with the first question's message. */
export function messageFile(folder: string, form: QuestionForm): string {
  const file = join(folder, 'message.bin')
  writeFileSync(file, questions(form)[0] ?? Buffer.alloc(0))
  return file
}

/** A file in `folder` with a URL for each name. */
export function urlFile({ port }: Server, folder: string, form: QuestionForm): string {
  const file = join(folder, `urls-${port}`)
  const lines = questions(form).map((wire) => `https://127.0.0.1:${port}/dns-query?dns=${wire.toString('base64url')}\n`)
  writeFileSync(file, lines.join(''))
  return file
}

/** By GET and by POST, so that what is compiled late is compiled too. */
async function fill(server: Server, folder: string, form: QuestionForm): Promise<void> {
  const { port } = server
  const requests = 10 * questions(form).length
  await h2load({ port, connections: 4, streams: 10, requests, urls: urlFile(server, folder, form) })
  await h2load({ port, connections: 4, streams: 50, requests, post: messageFile(folder, form) })
}

function startDnsdist({ folder, upstream, certificate, key }: Surroundings): Promise<Server> {
  const { port: upstreamPort } = new URL(upstream.url)
  const file = fillIn('dnsdist-doh.conf', folder, { dohPort: PORTS.dnsdist, dnsPort: PORTS.dnsdistPlain, upstreamPort, certificate, key })
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
