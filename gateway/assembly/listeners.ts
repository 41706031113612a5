import { createSocket } from 'node:dgram'
import { createServer, isIPv6 } from 'node:net'
import { networkInterfaces } from 'node:os'
import { OperationalError } from '../../dns/operational-error.ts'
import { canonicalAddress, type Endpoint, formatEndpoint, isWildcard } from '../../net/address.ts'
import { bindDatagrams, bindServer, closeDatagrams, closeServer } from '../../net/listen.ts'
import { literalLookup } from '../../net/lookup.ts'
import type { Config, ListenConfig } from '../config/config.ts'
import type { BoundEndpoints } from './transports.ts'

const KINDS = ['doh', 'dot', 'doq', 'dns'] as const

/**
 * Whether HTTP/3 is served there too: clients come by themselves, because what stands in front of other addresses has no QUIC, and need
 * no certificate, for which they cannot be asked over QUIC.
 */
export function isDirect({ cleartext, proxyProtocol, clientCa }: ListenConfig): boolean {
  return !cleartext && proxyProtocol === null && clientCa === null
}

/** Whether CAs are shown challenges there (RFC 8737): TLS ends there, also behind a load balancer, and asks for no certificate, which they do not have. */
export function isOpenToCas({ cleartext, clientCa }: ListenConfig): boolean {
  return !cleartext && clientCa === null
}

export function servesHttp3(config: Config): boolean {
  return config.doh.http3 && config.listen.doh.some(isDirect)
}

/** Whether the kernel spreads clients over the threads that listen on one address. Elsewhere than on Linux one of them gets all, or none may. */
export function spreadsClients(): boolean {
  return process.platform === 'linux'
}

/** Without the default addresses of a family that this machine does not have: containers often have no IPv6, and must start all the same. */
export function withUsableListeners(config: Config): Config {
  const usable = ({ endpoint, byDefault }: ListenConfig): boolean => !byDefault || !isIPv6(endpoint.host) || hasIpv6()
  return mapListeners(config, (_kind, listen) => listen.filter(usable))
}

/** With the ports that the kernel chose in place of those that it was to choose. */
export function withBoundPorts(config: Config, bound: BoundEndpoints): Config {
  return mapListeners(config, (kind, listen) => {
    const wanted = new Set(listen.map(({ endpoint }) => formatEndpoint(endpoint)))
    const chosen = bound[kind].filter((endpoint) => !wanted.has(formatEndpoint(endpoint)))
    return listen.map((entry) => {
      if (entry.endpoint.port !== 0) return entry
      const at = chosen.findIndex(({ host }) => host === entry.endpoint.host)
      const [endpoint = entry.endpoint] = at < 0 ? [] : chosen.splice(at, 1)
      return { ...entry, endpoint }
    })
  })
}

function mapListeners(
  config: Config,
  map: (kind: (typeof KINDS)[number], listen: readonly ListenConfig[]) => readonly ListenConfig[],
): Config {
  const listen = Object.fromEntries(KINDS.map((kind) => [kind, map(kind, config.listen[kind])]))
  return { ...config, listen: { ...config.listen, ...listen } }
}

/**
 * Binds every address alone for a moment, but for those that `bound` has already. What several threads listen on, another process
 * of the same user could too, and would get part of the traffic without anybody noticing. Rejects with ATLAS_LISTEN.
 */
export async function claimAddresses({ listen }: Config, bound: BoundEndpoints): Promise<void> {
  const added = (kind: 'dns' | 'dot' | 'doh') => listen[kind].filter(({ endpoint }) => !bound[kind].some((each) => isSame(each, endpoint)))
  await claim(added('dns'), (endpoint) => claimStream('dns (TCP)', endpoint))
  await claim(added('dns'), claimDatagrams)
  await claim(added('dot'), (endpoint) => claimStream('dot', endpoint))
  await claim(added('doh'), (endpoint) => claimStream('doh', endpoint))
}

/** Which sockets a listener has. */
const SOCKETS = { doh: ['TCP', 'UDP'], dot: ['TCP'], doq: ['UDP'], dns: ['TCP', 'UDP'] } as const

/**
 * Throws OperationalError where an address is in the way of another one, of another protocol or as a wildcard: the new socket could only be bound when the old
 * one is closed, and then there would be no way back.
 */
export function refuseMoves({ listen }: Config, present: Config['listen']): void {
  for (const kind of KINDS) {
    const added = listen[kind].filter(({ endpoint }) => !present[kind].some((each) => isSame(each.endpoint, endpoint)))
    for (const { endpoint } of added) {
      for (const other of KINDS) {
        const onQuic = ON_QUIC.has(kind) && ON_QUIC.has(other)
        const holder = present[other].find((each) => sharesSocket(kind, other) && overlaps(each.endpoint, endpoint, onQuic))
        if (holder !== undefined)
          throw moved(`${kind} on ${formatEndpoint(endpoint)}`, `listen.${other} with ${formatEndpoint(holder.endpoint)}`)
      }
    }
  }
}

const ON_QUIC: ReadonlySet<string> = new Set(['doh', 'doq'])

function sharesSocket(a: (typeof KINDS)[number], b: (typeof KINDS)[number]): boolean {
  return SOCKETS[a].some((socket) => (SOCKETS[b] as readonly string[]).includes(socket))
}

/** Whether both cannot be bound at a time; on QUIC the wildcard of IPv6 takes IPv4 too. */
export function overlaps(a: Endpoint, b: Endpoint, onQuic = false): boolean {
  if (a.port === 0 || a.port !== b.port) return false
  if (isIPv6(a.host) !== isIPv6(b.host)) return onQuic && [a, b].some(({ host }) => isIPv6(host) && isWildcard(host))
  return isWildcard(a.host) || isWildcard(b.host) || isSame(a, b)
}

function moved(wanted: string, holder: string): OperationalError {
  const advice = 'take that out first, and add this with a later reload, when it has drained; or restart'
  return new OperationalError('ATLAS_LISTEN', `Cannot listen for ${wanted}: ${holder} has the socket now: ${advice}`)
}

function isSame(a: Endpoint, b: Endpoint): boolean {
  return a.port === b.port && canonicalAddress(a.host) === canonicalAddress(b.host)
}

async function claim(listen: readonly ListenConfig[], bindOnce: (endpoint: Endpoint) => Promise<void>): Promise<void> {
  for (const { endpoint } of listen) if (endpoint.port !== 0) await bindOnce(endpoint)
}

async function claimStream(name: string, endpoint: Endpoint): Promise<void> {
  const server = createServer()
  await bindServer(server, { name, endpoint, reusePort: false })
  await closeServer(server)
}

async function claimDatagrams(endpoint: Endpoint): Promise<void> {
  const v6 = isIPv6(endpoint.host)
  const socket = createSocket({ type: v6 ? 'udp6' : 'udp4', ipv6Only: v6, lookup: literalLookup })
  await bindDatagrams(socket, { name: 'dns (UDP)', endpoint })
  await closeDatagrams(socket)
}

/** What the operator should know about the listeners. */
export function listenWarnings(config: Config, interfaces = networkInterfaces()): readonly string[] {
  const { listen, access } = config
  const external = Object.values(interfaces).flatMap((addresses) => addresses?.filter(({ internal }) => !internal) ?? [])
  const warnings: string[] = []
  const overQuic = { doq: listen.doq, doh: servesHttp3(config) ? listen.doh.filter(isDirect) : [] }
  for (const [kind, entries] of Object.entries(overQuic)) {
    for (const { endpoint } of entries) {
      const family = isIPv6(endpoint.host) ? 'IPv6' : 'IPv4'
      const own = external.filter((address) => address.family === family && !address.address.startsWith('fe80:'))
      if (!isWildcard(endpoint.host) || own.length < 2) continue
      // the system, not we, chooses the source of a datagram from a socket that is bound to no address; plain DNS has one for each (ADR 22)
      warnings.push(
        `listen.${kind} ${formatEndpoint(endpoint)}: this machine has ${own.length} ${family} addresses, and UDP answers may leave from another than was asked: name the addresses`,
      )
    }
  }
  if (access.tokenFile !== null && listen.doq.length > 0) {
    warnings.push(
      'listen.doq: with access.tokens, nobody can use DNS over QUIC, where the name that a client asks for is not known: listen.doq: [] switches it off',
    )
  }
  return warnings
}

/** Whether this machine has an address of IPv6. */
export function hasIpv6(): boolean {
  return Object.values(networkInterfaces()).some((addresses) => addresses?.some(({ family }) => family === 'IPv6'))
}
