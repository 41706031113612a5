import {
  canonicalAddress,
  type Endpoint,
  formatEndpoint,
  formatPrefix,
  isWildcard,
  type Prefix,
  parseAddress,
  parseEndpoint,
  parsePrefix,
} from '../../net/address.ts'
import { UPSTREAM_PORT_RANGE } from './knobs.ts'

/** The words of an access list. */
const ACCESS_WORDS: ReadonlyMap<string, readonly string[]> = new Map([
  ['loopback', ['127.0.0.0/8', '::1']],
  // RFC 1918, RFC 4193 and the link itself (RFC 3927, RFC 4291 §2.5.6); not RFC 6598: a provider's other customers sit there
  ['private', ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '169.254.0.0/16', 'fc00::/7', 'fe80::/10']],
  ['any', ['0.0.0.0/0', '::/0']],
])

/** A word, a CIDR or one address. Null for anything else. */
export function parseAccess(text: string): readonly Prefix[] | null {
  const prefixes = (ACCESS_WORDS.get(text) ?? [text]).map(parsePrefix)
  return prefixes.every((prefix) => prefix !== null) ? prefixes : null
}

/** The path of RFC 3986 §3.3; no query, which would have to be merged with that of a GET. */
export const UPSTREAM_PATTERN = /^(udp|tcp|tls|https|h3|quic):\/\/(\[[^\]/?#]+\]|[^:/?#[\]@]+)(?::(\d{1,5}))?(\/[\w.~!$&'()*+,;=:@%/-]*)?$/

/** Kinds of upstream: how a server is asked. */
export type UpstreamProtocol = 'udp' | 'tcp' | 'tls' | 'https' | 'h3' | 'quic'

export interface UpstreamUrl {
  readonly protocol: UpstreamProtocol
  /** An IP address, or a host name in lower case. */
  readonly host: string
  readonly port: number
  /** Of https and h3; empty for the others. */
  readonly path: string
}

/** RFC 1035 §4.2, RFC 7858 §3.1, RFC 9250 §4.1.1, RFC 9110 §4.2.2. */
const UPSTREAM_PORTS: Readonly<Record<UpstreamProtocol, number>> = { udp: 53, tcp: 53, tls: 853, quic: 853, https: 443, h3: 443 }
/** Where most servers have it, and the example of RFC 8484 §4.1.1. */
const UPSTREAM_PATH = '/dns-query'

/** protocol://host[:port], with https and h3 a path besides. A wildcard is refused: as a destination the kernel takes it for ourselves. */
export function parseUpstreamUrl(text: string): UpstreamUrl | null {
  const match = UPSTREAM_PATTERN.exec(text)
  if (match === null) return null
  const [, scheme, authority = '', digits, path = ''] = match
  const protocol = scheme as UpstreamProtocol
  const port = digits === undefined ? UPSTREAM_PORTS[protocol] : Number(digits)
  const host = parseEndpoint(`${authority}:${port}`)?.host ?? parseHostName(authority)
  if (host === null || port < UPSTREAM_PORT_RANGE.min || port > UPSTREAM_PORT_RANGE.max || isWildcard(host)) return null
  const isHttp = protocol === 'https' || protocol === 'h3'
  if (!isHttp && path !== '') return null
  return { protocol, host, port, path: isHttp ? path || UPSTREAM_PATH : '' }
}

export function formatUpstreamUrl({ protocol, host, port, path }: UpstreamUrl): string {
  return `${protocol}://${formatEndpoint({ host, port })}${path}`
}

/** "ip" or "ip:port" of a resolver that is asked over plain DNS. */
export function parseResolver(text: string): Endpoint | null {
  const isBareIpv6 = text.includes(':') && parseAddress(text) !== null
  const url = parseUpstreamUrl(`udp://${isBareIpv6 ? `[${text}]` : text}`)
  return url === null || parseAddress(url.host) === null ? null : { host: url.host, port: url.port }
}

/** The origin of a web server (RFC 6454 §6.2): scheme, host and port, nothing else. Null for anything else. */
export function parseOrigin(text: string): string | null {
  const url = /^https?:\/\/[^/?#@\\\s]+\/?$/i.test(text) ? URL.parse(text) : null
  return url === null || url.hostname === '' ? null : url.origin
}

/** An address by which clients reach the gateway, canonical. Null for a wildcard or an address with a zone. */
export function parsePublicAddress(text: string): string | null {
  if (text.includes('%') || parseAddress(text) === null || isWildcard(text)) return null
  return canonicalAddress(text)
}

const ACME_DIRECTORIES: ReadonlyMap<string, string> = new Map([
  ['letsencrypt', 'https://acme-v02.api.letsencrypt.org/directory'],
  ['letsencrypt-staging', 'https://acme-staging-v02.api.letsencrypt.org/directory'],
])

/** The URL of a CA's directory (RFC 8555 §6.1: https), or a word for one. Null for anything else. */
export function parseAcmeDirectory(text: string): string | null {
  const known = ACME_DIRECTORIES.get(text)
  if (known !== undefined) return known
  const url = /^https:\/\/[^@\\\s#]+$/i.test(text) ? URL.parse(text) : null
  return url === null || url.hostname === '' ? null : url.href
}

/** A name of a certificate: a host name, one with "*." before it, or an IP address in its canonical form. */
export function parseAcmeName(text: string): string | null {
  if (text.startsWith('*.')) {
    const name = parseHostName(text.slice(2))
    return name === null ? null : `*.${name}`
  }
  return parsePublicAddress(text) ?? parseHostName(text)
}

/** A host name in lower case (RFC 1123 §2.1). Null for anything else, an IPv4 address included. */
export function parseHostName(text: string): string | null {
  const name = text.toLowerCase()
  const label = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/
  const labels = name.split('.')
  return name.length <= 253 && labels.every((each) => label.test(each)) && !/^\d+$/.test(labels.at(-1) ?? '') ? name : null
}

/** Equal for two listeners that would bind the same socket; null for port 0, where the kernel picks another each time. */
export function socketKey(endpoint: Endpoint): string | null {
  if (endpoint.port === 0) return null
  // the zone counts here: the same link-local address exists once on every interface
  const zone = /%.*/.exec(endpoint.host)?.[0] ?? ''
  return formatEndpoint({ host: canonicalAddress(endpoint.host) + zone, port: endpoint.port })
}

/** An access list as an operator would write it: words where they fit, then prefixes. */
export function formatAccess(prefixes: readonly Prefix[]): readonly string[] {
  const left = new Map(prefixes.map((prefix) => [formatPrefix(prefix), prefix]))
  const words: string[] = []
  for (const [word, members] of ACCESS_WORDS) {
    const texts = members.map((member) => formatPrefix(parsePrefix(member) as Prefix))
    if (!texts.every((member) => left.has(member))) continue
    words.push(word)
    for (const member of texts) left.delete(member)
  }
  return [...words, ...left.keys()]
}
