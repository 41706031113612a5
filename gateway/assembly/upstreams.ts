import { createSecureContext } from 'node:tls'
import type { Logger } from 'pino'
import { clientTlsPolicy } from '../../certs/tls-policy.ts'
import type { UpstreamMeter } from '../../dns/contracts.ts'
import { formatEndpoint } from '../../net/address.ts'
import type { Clock } from '../../net/clock.ts'
import type { Flusher } from '../../net/flusher.ts'
import type { Wheel } from '../../net/wheel.ts'
import { createServer } from '../../upstream/dial.ts'
import type { TlsTrust } from '../../upstream/dial-tls.ts'
import type { TrustObserver, UpstreamServer } from '../../upstream/server.ts'
import type { TlsUpstreamConfig, UpstreamConfig } from '../config/config.ts'

/** A server to ask, as a value: the main thread has read the files. */
export interface UpstreamTarget {
  readonly server: UpstreamConfig
  /** PEM of the roots to trust; null: the usual ones. */
  readonly roots: readonly string[] | null
}

export interface UpstreamServerDependencies {
  readonly log: Logger
  readonly clock: Clock
  readonly wheel: Wheel
  readonly flusher: Flusher
  readonly meter: (name: string) => UpstreamMeter
  readonly connectMs: number
}

export function makeUpstreamServer({ server, roots }: UpstreamTarget, dependencies: UpstreamServerDependencies): UpstreamServer {
  const { log, meter, connectMs, ...rest } = dependencies
  const parts = { ...rest, meter: meter(server.name), trust: trustLog(server, log), quic: () => null }
  const terms = { connectMs, connections: 4, pipelining: 200, maxAgeMs: 3_600_000, idleMs: 30_000, source: null, socks: null }
  if (server.protocol !== 'tls') return createServer({ ...server, terms }, parts)
  return createServer({ ...server, terms, trust: trustOf(server, roots) }, parts)
}

/** How a server is authenticated. */
function trustOf({ serverName, pins }: TlsUpstreamConfig, roots: readonly string[] | null): TlsTrust {
  return {
    context: createSecureContext({ ...clientTlsPolicy(), ...(roots !== null && { ca: [...roots] }) }),
    serverName,
    pins,
    // RFC 7858 §4.2: a pin authenticates by itself; RFC 8310 §8: with other credentials beside it, all must hold (ADR 13)
    verifiesChain: pins.length === 0 || serverName !== null || roots !== null,
  }
}

function trustLog({ name, endpoint }: UpstreamConfig, log: Logger): TrustObserver {
  const upstream = { upstream: name, address: formatEndpoint(endpoint) }
  return {
    refused: (reason) => log.warn({ ...upstream, reason }, 'the certificate of the upstream is not accepted: it is not asked'),
    accepted: () => log.info(upstream, 'the certificate of the upstream is accepted again'),
  }
}
