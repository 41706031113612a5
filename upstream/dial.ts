import type { Endpoint } from '../net/address.ts'
import { TcpDialer } from './dial-tcp.ts'
import { TlsDialer, type TlsTrust } from './dial-tls.ts'
import { HttpsUpstream } from './doh.ts'
import { H2_PROTOCOL } from './doh-client.ts'
import { doh3 } from './doh3.ts'
import { DOQ } from './doq.ts'
import { EdnsSupport } from './edns-support.ts'
import type { QuicTrust } from './quic-dialer.ts'
import { QuicUpstream } from './quic-pool.ts'
import type { ConnectionTerms, UpstreamDependencies, UpstreamServer } from './server.ts'
import { StreamUpstream } from './stream.ts'
import { UdpUpstream } from './udp.ts'

export type ServerOptions = PlainServerOptions | TlsServerOptions | HttpsServerOptions | DoqServerOptions | Http3ServerOptions

interface CommonOptions {
  readonly name: string
  readonly endpoint: Endpoint
  readonly terms: ConnectionTerms
}

export interface PlainServerOptions extends CommonOptions {
  readonly protocol: 'udp' | 'tcp'
  /** Over UDP: 0x20, the letter case of names drawn at random (conformance VAL-03); absent: not. */
  readonly randomizeCase?: boolean
  /** Over UDP: cookies (RFC 7873); absent: none. */
  readonly cookies?: boolean
}

export interface TlsServerOptions extends CommonOptions {
  readonly protocol: 'tls'
  readonly trust: TlsTrust
}

export interface HttpsServerOptions extends CommonOptions {
  readonly protocol: 'https'
  readonly trust: TlsTrust
  /** Authority and path of the requests; connections go to `endpoint`. */
  readonly url: URL
}

export interface DoqServerOptions extends CommonOptions {
  readonly protocol: 'quic'
  readonly trust: QuicTrust
}

export interface Http3ServerOptions extends CommonOptions {
  readonly protocol: 'h3'
  readonly trust: QuicTrust
  /** The DNS resource (RFC 8484 §3): its authority and path; `endpoint` is where it is asked. */
  readonly url: URL
}

/** Makes the server for one upstream URL; nothing is dialled before the first question. */
export function createServer(options: ServerOptions, dependencies: UpstreamDependencies): UpstreamServer {
  const { name, endpoint, terms } = options
  if (options.protocol === 'quic') return new QuicUpstream(DOQ, options, dependencies)
  if (options.protocol === 'h3') return new QuicUpstream(doh3(options.url), options, dependencies)
  if (options.protocol === 'https') {
    return new HttpsUpstream(new TlsDialer({ ...options, protocols: [H2_PROTOCOL] }, dependencies), options, dependencies)
  }
  if (options.protocol === 'tls') return new StreamUpstream(new TlsDialer(options, dependencies), options, dependencies)
  const edns = new EdnsSupport(dependencies.clock)
  const stream = new StreamUpstream(new TcpDialer(options, dependencies), { name, terms, edns }, dependencies)
  if (options.protocol === 'tcp') return stream
  const { randomizeCase = false, cookies = false } = options
  return new UdpUpstream({ name, endpoint, source: terms.source, randomizeCase, cookies, stream, edns }, dependencies)
}
