import { createSecureContext } from 'node:tls'
import { clientTlsPolicy } from '../../certs/tls-policy.ts'
import type { Endpoint } from '../../net/address.ts'
import { createServer } from '../../upstream/dial.ts'
import type { TlsTrust } from '../../upstream/dial-tls.ts'
import type { ConnectionTerms, UpstreamServer } from '../../upstream/server.ts'
import { issue } from '../certs/issue.ts'
import { type Handler, httpsServer, type TestServer, tcpServer, tlsServer, udpServer } from '../harness/servers.ts'
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
export type Kind = 'udp' | 'tcp' | 'tls' | 'https'

export const GOOD = { cert: leaf.certPem, key: leaf.keyPem }

/** As an operator writes it. */
export function dohUrl({ port }: Endpoint): URL {
  return new URL(`https://dns.example:${port}/dns-query`)
}

export function startServer(protocol: Kind, handler: Handler): Promise<TestServer> {
  if (protocol === 'tls') return tlsServer(handler, GOOD)
  if (protocol === 'https') return httpsServer(handler, GOOD)
  return (protocol === 'udp' ? udpServer : tcpServer)(handler)
}

export function serverFor(
  protocol: Kind,
  endpoint: Endpoint,
  dependencies: ReturnType<typeof upstreamDependencies> = upstreamDependencies(),
): UpstreamServer {
  const common = { name: 'test', endpoint, terms: terms() }
  if (protocol === 'https') return createServer({ ...common, protocol, trust: trust(), url: dohUrl(endpoint) }, dependencies)
  return protocol === 'tls'
    ? createServer({ ...common, protocol, trust: trust() }, dependencies)
    : createServer({ ...common, protocol }, dependencies)
}
