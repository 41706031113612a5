import { unwatchFile, watchFile } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { loadRoots } from '../../certs/roots.ts'
import { OperationalError } from '../../dns/operational-error.ts'
import { canonicalAddress, type Endpoint, formatEndpoint, isWildcard } from '../../net/address.ts'
import { readResolvConf } from '../../upstream/resolv-conf.ts'
import type { Config, UpstreamConfig } from '../config/config.ts'
import type { UpstreamTarget } from './upstreams.ts'

const RESOLV_CONF = '/etc/resolv.conf'
/** How soon a change of network is noticed. */
const RESOLV_CONF_CHECK_MS = 5000

/** Tells when the resolvers of the machine may have changed. */
export class ResolvConfWatch {
  readonly #onChanged: () => void
  #isWatching = false

  constructor(onChanged: () => void) {
    this.#onChanged = onChanged
  }

  /** Watches while `config` names no upstreams. */
  follow(config: Config): void {
    if (this.#isWatching === (config.upstreams === null)) return
    this.stop()
    if (config.upstreams !== null) return
    this.#isWatching = true
    watchFile(RESOLV_CONF, { interval: RESOLV_CONF_CHECK_MS, persistent: false }, this.#onChanged)
  }

  stop(): void {
    this.#isWatching = false
    unwatchFile(RESOLV_CONF, this.#onChanged)
  }
}

export interface UpstreamSelection {
  readonly targets: readonly UpstreamTarget[]
  readonly warnings: readonly string[]
}

/** The servers that `config` asks, with what their files say. Throws OperationalError. */
export function selectUpstreams(config: Config): UpstreamSelection {
  const { servers, warnings } = chooseUpstreams(config, readResolvConf(RESOLV_CONF))
  return { targets: servers.map(targetOf), warnings }
}

/** What to ask after a change of resolv.conf; null: as before. */
export function changedUpstreams(config: Config, before: UpstreamSelection): UpstreamSelection | null {
  const selection = selectUpstreams(config)
  // a file that is just being written is empty for a moment: better the old resolvers than none
  return selection.targets.length === 0 || endpointsOf(selection) === endpointsOf(before) ? null : selection
}

export function urlOf({ protocol, endpoint }: UpstreamConfig): string {
  return `${protocol}://${formatEndpoint(endpoint)}`
}

/** Reads the CA file; throws OperationalError where that cannot be used. */
function targetOf(server: UpstreamConfig): UpstreamTarget {
  return { server, roots: server.protocol === 'tls' && server.ca !== null ? loadRoots(server.ca) : null }
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
    for (const server of config.upstreams) {
      const { endpoint, origin, protocol } = server
      if (!isOurs(endpoint, protocol === 'tls' ? encrypted : plain)) continue
      throw new OperationalError('ATLAS_UPSTREAM', `Cannot use the upstream ${urlOf(server)}: it is one of our own listeners: ${origin}`)
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

export function endpointsOf({ targets }: UpstreamSelection): string {
  return targets.map(({ server }) => formatEndpoint(server.endpoint)).join(' ')
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
