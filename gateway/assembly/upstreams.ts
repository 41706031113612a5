import { unwatchFile, watchFile } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { createSecureContext } from 'node:tls'
import type { Logger } from 'pino'
import { loadRoots } from '../../certs/roots.ts'
import { clientTlsPolicy } from '../../certs/tls-policy.ts'
import type { UpstreamMeter } from '../../dns/contracts.ts'
import { OperationalError } from '../../dns/operational-error.ts'
import { canonicalAddress, type Endpoint, formatEndpoint, isWildcard } from '../../net/address.ts'
import type { Clock } from '../../net/clock.ts'
import type { Flusher } from '../../net/flusher.ts'
import type { Wheel } from '../../net/wheel.ts'
import { createServer } from '../../upstream/dial.ts'
import type { TlsTrust } from '../../upstream/dial-tls.ts'
import { OrderedUpstream } from '../../upstream/ordered.ts'
import { readResolvConf } from '../../upstream/resolv-conf.ts'
import type { TrustObserver, UpstreamServer } from '../../upstream/server.ts'
import type { Config, TlsUpstreamConfig, UpstreamConfig } from '../config/config.ts'

const RESOLV_CONF = '/etc/resolv.conf'
/** How soon a change of network is noticed. */
const RESOLV_CONF_CHECK_MS = 5000

export interface UpstreamAssembly {
  readonly upstream: OrderedUpstream
  /** The servers asked, for the start-up text. */
  readonly names: readonly string[]
  /** Stops following resolv.conf. */
  stop(): void
}

export interface UpstreamAssemblyDependencies {
  readonly log: Logger
  readonly clock: Clock
  readonly wheel: Wheel
  readonly flusher: Flusher
  readonly meter: (name: string) => UpstreamMeter
}

/** Makes the upstream; where it is the machine's resolvers, it changes with them. */
export function assembleUpstream(config: Config, dependencies: UpstreamAssemblyDependencies): UpstreamAssembly {
  const { log } = dependencies
  const make = (choice: UpstreamChoice) => {
    for (const warning of choice.warnings) log.warn(warning)
    return choice.servers.map((server) => makeServer(server, config, dependencies))
  }
  const choice = chooseUpstreams(config, readResolvConf(RESOLV_CONF))
  const upstream = new OrderedUpstream(make(choice), dependencies)
  const names = choice.servers.map(({ protocol, endpoint }) => `${protocol}://${formatEndpoint(endpoint)}`)
  if (config.upstreams !== null) return { upstream, names, stop: () => {} }
  let current = endpointsOf(choice)
  const onChange = (): void => {
    const changed = chooseUpstreams(config, readResolvConf(RESOLV_CONF))
    const endpoints = endpointsOf(changed)
    // a file that is just being written is empty for a moment: better the old resolvers than none
    if (endpoints === '' || endpoints === current) return
    current = endpoints
    log.info({ upstreams: endpoints }, 'the resolvers of resolv.conf have changed')
    void upstream.reconfigure(make(changed))
  }
  watchFile(RESOLV_CONF, { interval: RESOLV_CONF_CHECK_MS, persistent: false }, onChange)
  return { upstream, names, stop: () => unwatchFile(RESOLV_CONF, onChange) }
}

function makeServer(server: UpstreamConfig, config: Config, dependencies: UpstreamAssemblyDependencies): UpstreamServer {
  const { log, meter, ...rest } = dependencies
  const parts = { ...rest, meter: meter(server.name), trust: trustLog(server, log) }
  const connectMs = config.timeouts.handshakeMs
  if (server.protocol !== 'tls') return createServer({ ...server, connectMs }, parts)
  return createServer({ ...server, connectMs, trust: trustOf(server) }, parts)
}

/** How a server is authenticated. Reads its CA file; throws OperationalError where that cannot be used. */
export function trustOf({ serverName, ca, pins }: TlsUpstreamConfig): TlsTrust {
  const roots = ca === null ? {} : { ca: [...loadRoots(ca)] }
  return {
    context: createSecureContext({ ...clientTlsPolicy(), ...roots }),
    serverName,
    pins,
    // RFC 7858 §4.2: a pin authenticates by itself; RFC 8310 §8: with other credentials beside it, all must hold (ADR 13)
    verifiesChain: pins.length === 0 || serverName !== null || ca !== null,
  }
}

function trustLog({ name, endpoint }: UpstreamConfig, log: Logger): TrustObserver {
  const upstream = { upstream: name, address: formatEndpoint(endpoint) }
  return {
    refused: (reason) => log.warn({ ...upstream, reason }, 'the certificate of the upstream is not accepted: it is not asked'),
    accepted: () => log.info(upstream, 'the certificate of the upstream is accepted again'),
  }
}

export interface UpstreamChoice {
  readonly servers: readonly UpstreamConfig[]
  /** What the operator should know about the choice. */
  readonly warnings: readonly string[]
}

/**
 * The servers to ask: those of the configuration, else the resolvers of the machine. Never one of our own listeners, where
 * every question would come back to us: in the configuration that is an error, in resolv.conf such a line is passed over.
 */
export function chooseUpstreams(config: Config, resolvers: readonly Endpoint[]): UpstreamChoice {
  const plain = config.listen.dns.map(({ endpoint }) => endpoint)
  const encrypted = config.listen.dot.map(({ endpoint }) => endpoint)
  if (config.upstreams !== null) {
    for (const { endpoint, origin, protocol } of config.upstreams) {
      if (!isOurs(endpoint, protocol === 'tls' ? encrypted : plain)) continue
      const url = `${protocol}://${formatEndpoint(endpoint)}`
      throw new OperationalError('ATLAS_UPSTREAM', `Cannot use the upstream ${url}: it is one of our own listeners: ${origin}`)
    }
    return { servers: config.upstreams, warnings: [] }
  }
  const usable = resolvers.filter((endpoint) => !isOurs(endpoint, plain))
  const warnings =
    usable.length > 0 ? [] : ['no resolver in /etc/resolv.conf other than ourselves: every query will fail until "upstreams" names one']
  return { servers: usable.map(fromResolvConf), warnings }
}

/** Named by position, so that a laptop that sees many networks does not collect a metric for each. */
function fromResolvConf(endpoint: Endpoint, position: number): UpstreamConfig {
  return { name: `system${position + 1}`, protocol: 'udp', endpoint, origin: RESOLV_CONF }
}

function endpointsOf({ servers }: UpstreamChoice): string {
  return servers.map(({ endpoint }) => formatEndpoint(endpoint)).join(' ')
}

function isOurs(endpoint: Endpoint, listeners: readonly Endpoint[]): boolean {
  const address = canonicalAddress(endpoint.host)
  return listeners.some(({ host, port }) => {
    if (port !== endpoint.port) return false
    return canonicalAddress(host) === address || ((isWildcard(host) || isWildcard(endpoint.host)) && isLocal(address))
  })
}

/** Whether an address is one of this machine's own. */
function isLocal(address: string): boolean {
  if (address.startsWith('127.') || address === '::1' || isWildcard(address)) return true
  return Object.values(networkInterfaces()).some((all) => all?.some((each) => canonicalAddress(each.address) === address))
}
