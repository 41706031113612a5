import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer, type Server, type ServerResponse } from 'node:http'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { Command } from 'commander'
import { addCacheCommand } from '../../gateway/cli/cache.ts'
import { addCertsCommand } from '../../gateway/cli/certs.ts'
import { addDrainCommand } from '../../gateway/cli/drain.ts'
import { Output } from '../../gateway/cli/output.ts'
import { addReloadCommand } from '../../gateway/cli/reload.ts'
import { addStatusCommand } from '../../gateway/cli/status.ts'
import { addTopCommand } from '../../gateway/cli/top.ts'
import { addUpstreamsCommand } from '../../gateway/cli/upstreams.ts'
import { temporaryDirectory } from '../harness/temporary.ts'
import { CACHE, CERTIFICATES, ENTRIES, LISTENERS, STATUS, UPSTREAMS } from './recorded.ts'

/** An admin socket behind which there is no gateway: what was recorded of one. */
export interface AdminDoor {
  readonly config: string
  readonly socketPath: string
  readonly server: Server
  /** "GET /v1/status", in order. */
  readonly requests: string[]
  /** Answers by path without query; a function sees every request of its path. */
  readonly answers: Map<string, unknown>
  status: number
}

export async function openDoor(t: TestContext): Promise<AdminDoor> {
  const directory = temporaryDirectory(t)
  const config = join(directory, 'atlas.yaml')
  writeFileSync(config, 'state: .\n')
  const answers = new Map<string, unknown>([
    ['/v1/status', STATUS],
    ['/v1/listeners', LISTENERS],
    ['/v1/upstreams', UPSTREAMS],
    ['/v1/cache', CACHE],
    ['/v1/cache/entries', ENTRIES],
    ['/v1/certificates', CERTIFICATES],
  ])
  const server = createServer((request, response) => {
    door.requests.push(`${request.method} ${request.url}`)
    const answer = answers.get(new URL(request.url ?? '', 'http://localhost').pathname)
    if (typeof answer === 'function') return void answer(response)
    reply(response, answer === undefined ? 404 : door.status, answer ?? { error: { code: 'not_found', message: 'expected: received' } })
  })
  const door: AdminDoor = { config, socketPath: join(directory, 'admin.sock'), server, requests: [], answers, status: 200 }
  server.listen(door.socketPath)
  await once(server, 'listening')
  t.after(() => closeDoor(door))
  return door
}

export function reply(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

export function closeDoor({ server }: AdminDoor): void {
  server.close()
  server.closeAllConnections()
}

export interface Written {
  readonly out: string
  readonly err: string
}

/** What the command writes, on both streams; the error it fails with. */
export async function runCommand(words: readonly string[], { colour = false } = {}): Promise<Written> {
  const written: { out: string[]; err: string[] } = { out: [], err: [] }
  const writtenSoFar = (): Written => ({ out: written.out.join(''), err: written.err.join('') })
  const output = new Output({ out: (text) => void written.out.push(text), err: (text) => void written.err.push(text), colour })
  const program = new Command().exitOverride().configureOutput({ writeErr: () => {}, writeOut: () => {} })
  const commands = [addCacheCommand, addCertsCommand, addDrainCommand, addReloadCommand, addStatusCommand, addTopCommand]
  for (const add of [...commands, addUpstreamsCommand]) add(program, output)
  try {
    await program.parseAsync(words, { from: 'user' })
  } catch (error) {
    throw Object.assign(error instanceof Error ? error : new Error(String(error)), { written: writtenSoFar() })
  }
  return writtenSoFar()
}

/** The error of a command that has to fail. */
export async function failureOf(words: readonly string[]): Promise<Error & { readonly code: string; readonly written: Written }> {
  return runCommand(words).then(
    () => assert.fail('expected a failure'),
    (error) => error,
  )
}
