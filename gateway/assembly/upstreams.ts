import { createSecureContext } from 'node:tls'
import type { Logger } from 'pino'
import { clientTlsPolicy } from '../../certs/tls-policy.ts'
import type { UpstreamMeter } from '../../dns/contracts.ts'
import { type Endpoint, formatEndpoint, parseAddress } from '../../net/address.ts'
import type { Clock } from '../../net/clock.ts'
import type { Flusher } from '../../net/flusher.ts'
import type { QuicEngine } from '../../net/quic.ts'
import type { Wheel } from '../../net/wheel.ts'
import { createServer } from '../../upstream/dial.ts'
import type { TlsTrust } from '../../upstream/dial-tls.ts'
import type { QuicTrust } from '../../upstream/quic-dialer.ts'
import type { ConnectionTerms, TrustObserver, UpstreamServer } from '../../upstream/server.ts'
import { formatUpstreamUrl, type UpstreamUrl } from '../config/addresses.ts'
import type { UpstreamConfig } from '../config/config.ts'

/** A server to ask, as a value: the main thread has read the files. */
export interface UpstreamTarget {
  readonly server: UpstreamConfig
  /** PEM of the roots to trust; null: the usual ones. */
  readonly roots: readonly string[] | null
  /** PEM of what we show it; null: nothing. */
  readonly identity: { readonly chainPem: string; readonly keyPem: string } | null
}

/** One way to a server: by one of its URLs, at one of the addresses of its host. */
export interface Way {
  readonly url: UpstreamUrl
  readonly endpoint: Endpoint
  /** In the health table. */
  readonly row: number
}

/** A server and the ways to it, best first. None: its host name leads nowhere yet. */
export interface PlannedUpstream extends UpstreamTarget {
  readonly ways: readonly Way[]
}

/** Where a host name leads, at the moment. */
export type AddressesOf = (host: string) => readonly string[]

export function endpointsOf({ host, port }: UpstreamUrl, addressesOf: AddressesOf): readonly Endpoint[] {
  return (parseAddress(host) === null ? addressesOf(host) : [host]).map((address) => ({ host: address, port }))
}

/** As logs and the admin door have it: the URL, and the address where that says another host. */
export function wayText({ url, endpoint }: Pick<Way, 'url' | 'endpoint'>): string {
  const text = formatUpstreamUrl(url)
  return url.host === endpoint.host ? text : `${text} at ${endpoint.host}`
}

export interface UpstreamServerDependencies {
  readonly log: Logger
  readonly clock: Clock
  readonly wheel: Wheel
  readonly flusher: Flusher
  readonly quic: () => QuicEngine | null
  readonly meter: (name: string) => UpstreamMeter
}

export interface ServerFacts {
  /** How long a connection may take to be established. */
  readonly connectMs: number
  /** Threads that share what connections there may be. */
  readonly workers: number
  /** Whether DNS cookies are used. */
  readonly cookies: boolean
}

export function makeUpstreamServer(
  target: UpstreamTarget,
  way: Way,
  facts: ServerFacts,
  { log, meter, ...rest }: UpstreamServerDependencies,
): UpstreamServer {
  const { server } = target
  const { url, endpoint } = way
  const parts = { ...rest, meter: meter(server.name), trust: trustLog(target, way, log) }
  const common = { name: server.name, endpoint, terms: termsOf(server, facts) }
  switch (url.protocol) {
    case 'udp':
      return createServer({ ...common, protocol: 'udp', randomizeCase: server.randomizeCase, cookies: facts.cookies }, parts)
    case 'tcp':
      return createServer({ ...common, protocol: 'tcp' }, parts)
    case 'tls':
      return createServer({ ...common, protocol: 'tls', trust: trustOf(target, url) }, parts)
    case 'https':
      return createServer({ ...common, protocol: 'https', trust: trustOf(target, url), url: resourceOf(url) }, parts)
    case 'h3':
      return createServer({ ...common, protocol: 'h3', trust: quicTrustOf(target, url), url: resourceOf(url) }, parts)
    case 'quic':
      return createServer({ ...common, protocol: 'quic', trust: quicTrustOf(target, url) }, parts)
  }
}

/** The DNS resource (RFC 8484 §3). */
function resourceOf({ host, port, path }: UpstreamUrl): URL {
  return new URL(`https://${formatEndpoint({ host, port })}${path}`)
}

/** The library verifies names only; the configuration has one. */
function quicTrustOf({ server: { serverName }, roots }: UpstreamTarget, { host }: UpstreamUrl): QuicTrust {
  return { serverName: serverName ?? host, roots }
}

/** Whether a server proves who it is before it is asked. */
export function isAuthenticated({ url: { protocol } }: Way): boolean {
  return protocol !== 'udp' && protocol !== 'tcp'
}

function termsOf(server: UpstreamConfig, { connectMs, workers }: ServerFacts): ConnectionTerms {
  return {
    connectMs,
    connections: Math.max(1, Math.floor(server.connections / workers)),
    pipelining: server.pipelining,
    maxAgeMs: server.maxAgeMs,
    idleMs: server.idleMs,
    source: server.source,
    socks: server.socks,
  }
}

/** How a server is authenticated. */
function trustOf({ server: { serverName, pins }, roots, identity }: UpstreamTarget, { host }: UpstreamUrl): TlsTrust {
  const name = serverName ?? (parseAddress(host) === null ? host : null)
  const own = identity === null ? {} : { cert: identity.chainPem, key: identity.keyPem }
  return {
    context: createSecureContext({ ...clientTlsPolicy(), ...(roots !== null && { ca: [...roots] }), ...own }),
    serverName: name,
    pins,
    // RFC 7858 §4.2: a pin authenticates by itself; RFC 8310 §8: with other credentials beside it, all must hold (ADR 13)
    verifiesChain: pins.length === 0 || name !== null || roots !== null,
  }
}

function trustLog({ server: { name } }: UpstreamTarget, way: Way, log: Logger): TrustObserver {
  const upstream = { upstream: name, url: formatUpstreamUrl(way.url), address: formatEndpoint(way.endpoint) }
  return {
    refused: (reason) => log.warn({ ...upstream, reason }, 'the upstream is not trusted, or refuses us: it is not asked'),
    accepted: () => log.info(upstream, 'the upstream is trusted again, and lets us ask'),
  }
}
