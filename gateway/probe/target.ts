import { isIPv6 } from 'node:net'
import { canonicalAddress, type Endpoint, formatEndpoint, isWildcard, PrefixSet, parseAddress } from '../../net/address.ts'
import type { ListenerKind, ProbeStatus } from '../admin/control.ts'
import type { Config } from '../config/config.ts'

export type ProbeTransport = ProbeStatus['transport']

/** One socket address of the gateway, as the self-probe asks there. */
export interface ProbeTarget {
  readonly kind: ListenerKind
  readonly transport: ProbeTransport
  /** As it is bound, with its true port. */
  readonly endpoint: Endpoint
  /** Where it is asked. */
  readonly server: Endpoint
  /** The name or address that it is called by: in SNI, and in HTTP the authority. */
  readonly host: string
  /** Of DNS over HTTPS. */
  readonly path: string
  /** Of DNS over HTTPS: without TLS. */
  readonly cleartext: boolean
  /** Whether clients have to show a token. */
  readonly needsToken: boolean
}

/** What the gateway listens on: what all its workers have bound. */
export interface ProbedListeners {
  readonly endpoints: Readonly<Record<ListenerKind, readonly Endpoint[]>>
  readonly http3: boolean
}

export interface ProbeFacts {
  /** Those that are served, the default first. */
  readonly identities: readonly { readonly names: readonly string[] }[]
  /** At least one. */
  readonly paths: readonly string[]
  /** Whether clients of encrypted DNS have to show a token. */
  readonly needsToken: boolean
  /** Addresses of DNS over HTTPS without TLS. */
  readonly cleartext: readonly Endpoint[]
  /** Addresses where only load balancers are served, which send the PROXY protocol: they are not asked. */
  readonly proxied: readonly Endpoint[]
  /** Addresses of DNS over HTTPS where clients have to show a certificate: HTTP/3 is not served there, and without one TLS refuses, which is an answer. */
  readonly certified: readonly Endpoint[]
}

const TRANSPORTS: readonly (readonly [ListenerKind, ProbeTransport])[] = [
  ['dns', 'udp'],
  ['dns', 'tcp'],
  ['dot', 'dot'],
  ['doh', 'doh'],
  ['doh', 'doh3'],
  ['doq', 'doq'],
]

/** Every address on every transport. */
export function probeTargets(
  { endpoints, http3 }: ProbedListeners,
  { identities, paths: [path = ''], needsToken, cleartext: clear, proxied, certified }: ProbeFacts,
): readonly ProbeTarget[] {
  const name = nameOf(identities)
  return TRANSPORTS.filter(([, transport]) => transport !== 'doh3' || http3).flatMap(([kind, transport]) =>
    endpoints[kind].flatMap((endpoint) => {
      const isAmong = (endpoints: readonly Endpoint[]) =>
        endpoints.some(({ host, port }) => host === endpoint.host && port === endpoint.port)
      const cleartext = kind === 'doh' && isAmong(clear)
      const lacksHttp3 = cleartext || isAmong(certified)
      if ((lacksHttp3 && transport === 'doh3') || (kind !== 'doq' && isAmong(proxied))) return []
      const server = { host: reachable(endpoint.host), port: endpoint.port }
      // an address is always an authority of ours (RFC 8484 §5 leaves that to us), but has no zone there (RFC 6874)
      return {
        kind,
        transport,
        endpoint,
        server,
        host: name ?? canonicalAddress(server.host),
        path,
        cleartext,
        needsToken: needsToken && kind !== 'dns',
      }
    }),
  )
}

/** The same for all that the probes know of a target. */
export function targetKey({ transport, endpoint }: ProbeTarget): string {
  return `${transport} ${formatEndpoint(endpoint)}`
}

/** Whether the access list of a target admits this machine itself, which asks from the address that it asks at. */
export function admitsOurselves({ kind, endpoint, server }: ProbeTarget, { listen, access }: Pick<Config, 'listen' | 'access'>): boolean {
  const common = kind === 'dns' ? access.dns : access.encrypted
  const entry = listen[kind].find(({ endpoint: { host, port } }) => host === endpoint.host && (port === 0 || port === endpoint.port))
  // whatever is asked within 127.0.0.0/8 is asked from its first address
  const address = parseAddress(server.host.startsWith('127.') ? '127.0.0.1' : server.host)
  return address !== null && new PrefixSet(entry?.access ?? common).has(address)
}

/** A name of the default certificate, which is served without a doubt; null: none that can stand in a URL. */
function nameOf(identities: ProbeFacts['identities']): string | null {
  const names = identities[0]?.names.map((name) => name.replace(/^\*/, 'probe')) ?? []
  return names.find((name) => URL.canParse(`https://${name}/`)) ?? null
}

/** A wildcard stands for loopback too. */
function reachable(host: string): string {
  if (!isWildcard(host)) return host
  return isIPv6(host) ? '::1' : '127.0.0.1'
}
