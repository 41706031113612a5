import { createSecureContext } from 'node:tls'
import { clientTlsPolicy } from '../../certs/tls-policy.ts'
import type { Endpoint } from '../../net/address.ts'
import { createServer } from '../../upstream/dial.ts'
import type { TlsTrust } from '../../upstream/dial-tls.ts'
import type { ConnectionTerms, UpstreamServer } from '../../upstream/server.ts'
import { issue } from '../certs/issue.ts'
import { engine } from '../harness/quic.ts'
import { QuicTestServer, replying } from '../harness/quic-servers.ts'
import { type Handler, httpsServer, type StreamTestServer, type TestServer, tcpServer, tlsServer, udpServer } from '../harness/servers.ts'
import { upstreamDependencies } from '../harness/upstream.ts'

export const root = await issue({ isCa: true, subject: 'CN=root' })
export const leaf = await issue({ names: ['dns.example'], addresses: ['127.0.0.1'], issuer: root })

/** Trusts `root`, and knows the server by its address. */
export function trust(parts: Partial<TlsTrust> & { ca?: string } = {}): TlsTrust {
  const { ca = root.certPem, ...rest } = parts
  const context = createSecureContext({ ...clientTlsPolicy(), ca })
  return { context, serverName: null, pins: [], verifiesChain: true, ...rest }
}

export function terms(parts: Partial<ConnectionTerms> = {}): ConnectionTerms {
  return { connectMs: 1000, connections: 4, pipelining: 200, maxAgeMs: 3_600_000, idleMs: 30_000, source: null, socks: null, ...parts }
}

/** The kinds of upstreams that there are. */
export type Kind = 'udp' | 'tcp' | 'tls' | 'https' | 'quic' | 'h3'

export const GOOD = { cert: leaf.certPem, key: leaf.keyPem }

/** As an operator writes it. */
export function dohUrl({ port }: Endpoint): URL {
  return new URL(`https://dns.example:${port}/dns-query`)
}

export interface ServerPlace {
  /** 0: the system chooses. */
  readonly port?: number
  /** PEM; where it proves who it is. */
  readonly identity?: { readonly cert: string; readonly key: string }
}

export async function startServer(protocol: 'tcp' | 'tls', handler: Handler, place?: ServerPlace): Promise<StreamTestServer>
export async function startServer(protocol: Kind, handler: Handler, place?: ServerPlace): Promise<TestServer>
export async function startServer(protocol: Kind, handler: Handler, { port = 0, identity = GOOD }: ServerPlace = {}): Promise<TestServer> {
  if (protocol === 'quic' || protocol === 'h3') {
    const pem = { chainPem: identity.cert, keyPem: identity.key }
    const server = await QuicTestServer.start({ protocol: protocol === 'quic' ? 'doq' : 'h3', identity: pem, port, react: replying })
    server.handler = handler
    return server
  }
  if (protocol === 'tls') return tlsServer(handler, { ...identity, port })
  if (protocol === 'https') return httpsServer(handler, { ...identity, port })
  return (protocol === 'udp' ? udpServer : tcpServer)(handler, port)
}

export function serverFor(
  protocol: Kind,
  endpoint: Endpoint,
  dependencies: ReturnType<typeof upstreamDependencies> = upstreamDependencies(),
): UpstreamServer {
  const common = { name: 'test', endpoint, terms: terms() }
  if (protocol === 'quic' || protocol === 'h3') return quicServerFor(protocol, endpoint, { dependencies })
  if (protocol === 'https') return createServer({ ...common, protocol, trust: trust(), url: dohUrl(endpoint) }, dependencies)
  return protocol === 'tls'
    ? createServer({ ...common, protocol, trust: trust() }, dependencies)
    : createServer({ ...common, protocol }, dependencies)
}

export interface QuicServerParts {
  readonly terms?: Partial<ConnectionTerms>
  readonly dependencies?: ReturnType<typeof upstreamDependencies>
  readonly serverName?: string
  readonly roots?: readonly string[] | null
  readonly url?: string
}

/** Trusts `root`, and knows the server by its name: the QUIC library verifies no addresses. */
export function quicServerFor(protocol: 'quic' | 'h3', endpoint: Endpoint, parts: QuicServerParts = {}): UpstreamServer {
  const { dependencies = upstreamDependencies(), serverName = 'dns.example', roots = [root.certPem] } = parts
  const common = { name: 'test', endpoint, terms: terms(parts.terms), trust: { serverName, roots } }
  const quic = { ...dependencies, quic: engine }
  return protocol === 'quic'
    ? createServer({ ...common, protocol }, quic)
    : createServer({ ...common, protocol, url: new URL(parts.url ?? 'https://dns.example/dns-query') }, quic)
}
