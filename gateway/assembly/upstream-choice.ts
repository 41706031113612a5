import { unwatchFile, watchFile } from 'node:fs'
import { networkInterfaces } from 'node:os'
import type { Logger } from 'pino'
import { loadRoots } from '../../certs/roots.ts'
import { OperationalError } from '../../dns/operational-error.ts'
import { canonicalAddress, type Endpoint, formatEndpoint, isWildcard } from '../../net/address.ts'
import { readResolvConf } from '../../upstream/resolv-conf.ts'
import type { Config, UpstreamConfig } from '../config/config.ts'
import type { UpstreamTarget } from './upstreams.ts'

const RESOLV_CONF = '/etc/resolv.conf'
/** How soon a change of network is noticed. */
const RESOLV_CONF_CHECK_MS = 5000

/** Which servers are asked. */
export class UpstreamAssembly {
  readonly #config: Config
  readonly #log: Logger
  #onChanged: (targets: readonly UpstreamTarget[]) => void = () => {}
  #servers: readonly UpstreamConfig[]
  #targets: readonly UpstreamTarget[]

  /** Throws OperationalError. */
  constructor(config: Config, log: Logger) {
    this.#config = config
    this.#log = log
    this.#servers = this.#choose()
    this.#targets = this.#servers.map(targetOf)
  }

  /** Where they are the machine's resolvers, `onChanged` is told when those change. */
  follow(onChanged: (targets: readonly UpstreamTarget[]) => void): void {
    this.#onChanged = onChanged
    if (this.#config.upstreams !== null) return
    watchFile(RESOLV_CONF, { interval: RESOLV_CONF_CHECK_MS, persistent: false }, this.#onResolvConf)
  }

  get targets(): readonly UpstreamTarget[] {
    return this.#targets
  }

  /** The servers asked, for the start-up text. */
  get names(): readonly string[] {
    return this.#servers.map(({ protocol, endpoint }) => `${protocol}://${formatEndpoint(endpoint)}`)
  }

  /** Stops following resolv.conf. */
  stop(): void {
    unwatchFile(RESOLV_CONF, this.#onResolvConf)
  }

  readonly #onResolvConf = (): void => {
    const servers = this.#choose()
    // a file that is just being written is empty for a moment: better the old resolvers than none
    if (servers.length === 0 || endpointsOf(servers) === endpointsOf(this.#servers)) return
    this.#servers = servers
    this.#targets = servers.map(targetOf)
    this.#log.info({ upstreams: endpointsOf(servers) }, 'the resolvers of resolv.conf have changed')
    this.#onChanged(this.#targets)
  }

  #choose(): readonly UpstreamConfig[] {
    const { servers, warnings } = chooseUpstreams(this.#config, readResolvConf(RESOLV_CONF))
    for (const warning of warnings) this.#log.warn(warning)
    return servers
  }
}

/** Reads the CA file; throws OperationalError where that cannot be used. */
export function targetOf(server: UpstreamConfig): UpstreamTarget {
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

function endpointsOf(servers: readonly UpstreamConfig[]): string {
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
