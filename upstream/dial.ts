import { connect, type Socket } from 'node:net'
import type { Endpoint } from '../net/address.ts'
import { TlsDialer, type TlsTrust } from './dial-tls.ts'
import { doh3 } from './doh3.ts'
import { DOQ } from './doq.ts'
import type { QuicTrust } from './quic-dialer.ts'
import { QuicUpstream } from './quic-pool.ts'
import type { ConnectionTerms, UpstreamDependencies, UpstreamServer } from './server.ts'
import { type Dialer, StreamUpstream } from './stream.ts'
import { UdpUpstream } from './udp.ts'

export type ServerOptions = PlainServerOptions | TlsServerOptions | DoqServerOptions | Http3ServerOptions

interface CommonOptions {
  readonly name: string
  readonly endpoint: Endpoint
  readonly terms: ConnectionTerms
}

export interface PlainServerOptions extends CommonOptions {
  readonly protocol: 'udp' | 'tcp'
}

export interface TlsServerOptions extends CommonOptions {
  readonly protocol: 'tls'
  readonly trust: TlsTrust
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
  const { name, endpoint } = options
  if (options.protocol === 'quic') return new QuicUpstream(DOQ, options, dependencies)
  if (options.protocol === 'h3') return new QuicUpstream(doh3(options.url), options, dependencies)
  if (options.protocol === 'tls') return new StreamUpstream(new TlsDialer(endpoint, options.trust, dependencies), options, dependencies)
  const stream = new StreamUpstream(new TcpDialer(endpoint), options, dependencies)
  return options.protocol === 'tcp' ? stream : new UdpUpstream(endpoint, { name, stream }, dependencies)
}

class TcpDialer implements Dialer {
  readonly padding = 0
  readonly refusal = null
  readonly #endpoint: Endpoint

  constructor(endpoint: Endpoint) {
    this.#endpoint = endpoint
  }

  dial(onReady: () => void): Socket {
    return connect({ host: this.#endpoint.host, port: this.#endpoint.port }, onReady)
  }
}
