import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { CIPHER } from '../load/tls-pipe.ts'
import { PROGRAM_PATH } from '../servers/programs.ts'

export interface H2load {
  readonly port: number
  readonly connections: number
  /** Streams of each that are open at a time. */
  readonly streams: number
  readonly requests: number
  /** A file with the message to POST; or one with a URL in each line, to GET in turn. */
  readonly post?: string
  readonly urls?: string
}

export interface H2loadFigures {
  readonly perSecond: number
}

/** Sends requests as fast as they are answered. Rejects when one of them is not answered by 200. */
export async function h2load({ port, connections, streams, requests, post, urls }: H2load): Promise<H2loadFigures> {
  const load = [`--tls13-ciphers=${CIPHER}`, '-n', String(requests), '-c', String(connections), '-m', String(streams), '-t', '1']
  const what =
    post === undefined
      ? ['-i', urls ?? '']
      : ['-d', post, '-H', 'content-type: application/dns-message', `https://127.0.0.1:${port}/dns-query`]
  const child = spawn('h2load', [...load, ...what], { env: { PATH: PROGRAM_PATH }, stdio: ['ignore', 'pipe', 'pipe'] })
  let text = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (text += chunk.toString()))
  await once(child, 'close')
  const succeeded = Number(/(\d+) succeeded/.exec(text)?.[1])
  const ok = Number(/status codes: (\d+) 2xx/.exec(text)?.[1])
  const perSecond = Number(/finished in .*?, ([\d.]+) req\/s/.exec(text)?.[1])
  if (succeeded !== requests || ok !== requests || Number.isNaN(perSecond))
    throw new Error(`Cannot measure: expected ${requests} answers with 200 from port ${port}: received ${text.slice(-600)}`)
  return { perSecond }
}
