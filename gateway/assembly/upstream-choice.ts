import { unwatchFile, watchFile } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { loadClientIdentity } from '../../certs/files.ts'
import type { Identity } from '../../certs/identity.ts'
import { loadRoots } from '../../certs/roots.ts'
import { OperationalError } from '../../dns/operational-error.ts'
import { canonicalAddress, type Endpoint, formatEndpoint, isWildcard, parseAddress } from '../../net/address.ts'
import { readResolvConf } from '../../upstream/resolv-conf.ts'
import { formatUpstreamUrl, type UpstreamUrl } from '../config/addresses.ts'
import type { Config, UpstreamConfig } from '../config/config.ts'
import { UPSTREAM_DEFAULTS } from '../config/upstream-form.ts'
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
  return selection.targets.length === 0 || resolversOf(selection) === resolversOf(before) ? null : selection
}

export function urlOf({ urls }: UpstreamConfig): string {
  return urls.map(formatUpstreamUrl).join(', ')
}

/** Reads the files; throws OperationalError where they cannot be used. */
function targetOf(server: UpstreamConfig): UpstreamTarget {
  const { ca, clientCertificate } = server
  return {
    server,
    roots: ca === null ? null : loadRoots(ca),
    identity: clientCertificate === null ? null : pemOf(loadClientIdentity(clientCertificate)),
  }
}

function pemOf({ chainPem, keyPem }: Identity): UpstreamTarget['identity'] {
  return { chainPem, keyPem }
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
  if (config.upstreams !== null) {
    for (const { urls, origin } of config.upstreams) {
      const own = urls.find((url) => parseAddress(url.host) !== null && leadsHere(url, config))
      if (own === undefined) continue
      const reason = `it is one of our own listeners: ${origin}`
      throw new OperationalError('ATLAS_UPSTREAM', `Cannot use the upstream ${formatUpstreamUrl(own)}: ${reason}`)
    }
    return { servers: config.upstreams, warnings: [] }
  }
  const usable = resolvers.filter((endpoint) => !leadsHere({ protocol: 'udp', ...endpoint }, config))
  const warnings =
    usable.length > 0 ? [] : ['no resolver in /etc/resolv.conf other than ourselves: every query will fail until "upstreams" names one']
  return { servers: usable.map(fromResolvConf), warnings }
}

/** Named by position, so that a laptop that sees many networks does not collect a metric for each. */
function fromResolvConf({ host, port }: Endpoint, position: number): UpstreamConfig {
  const { weight, connections, pipelining, maxAge, idle, randomizeCase } = UPSTREAM_DEFAULTS
  return {
    name: `system${position + 1}`,
    urls: [{ protocol: 'udp', host, port, path: '' }],
    serverName: null,
    ca: null,
    pins: [],
    clientCertificate: null,
    weight,
    connections,
    pipelining,
    maxAgeMs: maxAge,
    idleMs: idle,
    source: null,
    socks: null,
    randomizeCase,
    origin: RESOLV_CONF,
  }
}

export function resolversOf({ targets }: UpstreamSelection): string {
  return targets.map(({ server }) => server.urls.map(formatEndpoint).join(' ')).join(' ')
}

/** Whether an upstream of this kind there is one of our own listeners. */
export function leadsHere({ protocol, host, port }: Pick<UpstreamUrl, 'protocol' | 'host' | 'port'>, { listen, doh }: Config): boolean {
  const listeners = {
    udp: listen.dns,
    tcp: listen.dns,
    tls: listen.dot,
    https: listen.doh,
    h3: doh.http3 ? listen.doh : [],
    quic: listen.doq,
  }
  return isOurs(
    { host, port },
    listeners[protocol].map(({ endpoint }) => endpoint),
  )
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
