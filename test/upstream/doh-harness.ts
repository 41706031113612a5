import type { SecureServerOptions, ServerHttp2Stream } from 'node:http2'
import type { Endpoint } from '../../net/address.ts'
import { monotonicClock } from '../../net/clock.ts'
import { Wheel } from '../../net/wheel.ts'
import { createServer } from '../../upstream/dial.ts'
import type { ConnectionTerms } from '../../upstream/server.ts'
import { aRecord, hex, response } from '../harness/messages.ts'
import { type Handler, type HttpsTestServer, httpsServer } from '../harness/servers.ts'
import { type AskOptions, ask as askAny, type Outcome, upstreamDependencies } from '../harness/upstream.ts'
import { dohUrl, GOOD, terms, trust } from './servers.ts'

export const answering: Handler = (query, reply) => reply(response(query, { answers: [aRecord()] }))
export const silent: Handler = () => {}
export const ADDRESS = hex('c0000201')
export const OK = { ':status': 200, 'content-type': 'application/dns-message' }

export type Parts = Partial<ConnectionTerms> & { trust?: Parameters<typeof trust>[0]; url?: URL }

let ahead = 0
export const clock = (): number => monotonicClock() + ahead

export function forward(ms: number): void {
  ahead += ms
}

export const ask: typeof askAny = (upstream, options: AskOptions = {}) => askAny(upstream, { ...options, clock })

/** An upstream whose clock can be put forward, as that of all who ask it. */
export function upstreamTo(endpoint: Endpoint, { trust: trustParts, url = dohUrl(endpoint), ...parts }: Parts = {}) {
  const dependencies = { ...upstreamDependencies(), clock, wheel: new Wheel(clock) }
  const upstream = createServer(
    { name: 'test', protocol: 'https', endpoint, terms: terms(parts), trust: trust(trustParts), url },
    dependencies,
  )
  return { upstream, dependencies, counts: dependencies.meter.counts }
}

/** A server that serves requests as `serve` says. */
export async function serving(serve: HttpsTestServer['serve'], options: SecureServerOptions = {}): Promise<HttpsTestServer> {
  const server = await httpsServer(silent, { ...GOOD, ...options })
  server.serve = serve
  return server
}

/** A server that answers all questions but the first `count`, which it keeps for the test. */
export async function holding(count: number, options: SecureServerOptions = {}): Promise<HttpsTestServer & { held: ServerHttp2Stream[] }> {
  const held: ServerHttp2Stream[] = []
  const server = await httpsServer(answering, { ...GOOD, ...options })
  const { serve } = server
  server.serve = (stream, query) => {
    if (held.length < count) held.push(stream)
    else serve(stream, query)
  }
  return Object.assign(server, { held })
}

export function answer(stream: ServerHttp2Stream, query: Buffer): void {
  stream.respond(OK)
  stream.end(response(query, { answers: [aRecord()] }))
}

export const asking = (upstream: Parameters<typeof ask>[0], count: number): Promise<Outcome[]> =>
  Promise.all(Array.from({ length: count }, () => ask(upstream)))

export function send(stream: ServerHttp2Stream, fields: Record<string, string | number>, content: string | Uint8Array = ''): void {
  if (stream.destroyed) return
  stream.respond(fields)
  stream.end(content)
}

export function inform(stream: ServerHttp2Stream, count: number): void {
  for (let i = 0; i < count; i++) stream.additionalHeaders({ ':status': 103, link: '</>' })
}
