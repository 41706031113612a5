import { isIPv6 } from 'node:net'
import { domainToASCII } from 'node:url'
import { OperationalError } from '../../dns/operational-error.ts'

const DEFAULT_PORTS = { udp: 53, tcp: 53, tls: 853, https: 443, quic: 853, h3: 443 } as const

export type Protocol = keyof typeof DEFAULT_PORTS

/** Whom to ask. */
export type Server = PlainServer | HttpsServer

interface ServerFacts {
  /** A name or an IP address without brackets. */
  readonly host: string
  readonly port: number
  /** How messages name it. */
  readonly text: string
}

export interface PlainServer extends ServerFacts {
  readonly protocol: Exclude<Protocol, HttpsServer['protocol']>
}

export interface HttpsServer extends ServerFacts {
  /** Asked over HTTP/2 or 1.1, or over HTTP/3. */
  readonly protocol: 'https' | 'h3'
  /** With "https" in front in any case. */
  readonly url: URL
}

/** The gateway's own plain listener, as it is configured when nobody configures it. */
export const DEFAULT_SERVER: Server = makeServer('udp', '127.0.0.1', 8053)

/** Reads what follows the "@": a URL, or a host with or without a port for UDP. Throws ATLAS_USAGE when it is neither. */
export function parseServer(text: string): Server {
  const [, scheme = 'udp', authority = text] = /^([a-z][a-z0-9+.-]*):\/\/(.*)$/i.exec(text) ?? []
  const protocol = scheme.toLowerCase()
  switch (protocol) {
    case 'https':
    case 'h3':
      return parseHttps(protocol, text)
    case 'udp':
    case 'tcp':
    case 'tls':
    case 'quic':
      return parseAuthority(protocol, authority)
  }
  throw wrongServer(`unknown protocol, use one of ${Object.keys(DEFAULT_PORTS).join(', ')}`, text)
}

/** The same server over TCP, for an answer that did not fit into a datagram (RFC 7766 §5). */
export function overTcp(server: Server): PlainServer {
  return makeServer('tcp', server.host, server.port)
}

function parseHttps(protocol: HttpsServer['protocol'], text: string): HttpsServer {
  // RFC 8484 §4.1: servers are told by URI templates, and this is all that the known ones vary
  const url = URL.parse(text.replace(/\{\?dns\}$/, '').replace(/^h3:/i, 'https:'))
  if (url === null) throw wrongServer('no valid URL', text)
  if (url.username !== '' || url.password !== '' || url.hash !== '') throw wrongServer('neither user nor fragment has a meaning here', text)
  // the path of every example in RFC 8484, and what kdig takes
  if (url.pathname === '/' && !text.endsWith('/')) url.pathname = '/dns-query'
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  const port = url.port === '' ? DEFAULT_PORTS[protocol] : Number(url.port)
  return { protocol, host, port, url, text: url.href.replace('https', protocol) }
}

function parseAuthority(protocol: PlainServer['protocol'], text: string): PlainServer {
  if (isIPv6(text)) return makeServer(protocol, text, DEFAULT_PORTS[protocol])
  const [, address, name = '', digits] = /^(?:\[([^\]]+)\]|([^:[\]/?#@]+))(?::(\d{1,5}))?\/?$/.exec(text) ?? []
  const host = address ?? domainToASCII(name)
  if (host === '' || (address !== undefined && !isIPv6(address))) throw wrongServer('no host with or without a port', text)
  const port = digits === undefined ? DEFAULT_PORTS[protocol] : Number(digits)
  if (port < 1 || port > 65_535) throw wrongServer('a port is between 1 and 65535', text)
  return makeServer(protocol, host, port)
}

function makeServer(protocol: PlainServer['protocol'], host: string, port: number): PlainServer {
  const bracketed = host.includes(':') ? `[${host}]` : host
  return { protocol, host, port, text: `${protocol}://${bracketed}:${port}` }
}

function wrongServer(reason: string, received: string): OperationalError {
  return new OperationalError('ATLAS_USAGE', `Cannot tell the server: ${reason}: received @${received}`)
}
