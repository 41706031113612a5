import { connect, type Socket } from 'node:net'
import type { Endpoint } from '../net/address.ts'
import { TlsDialer, type TlsTrust } from './dial-tls.ts'
import { HttpsUpstream } from './doh.ts'
import { H2_PROTOCOL } from './doh-client.ts'
import type { ConnectionTerms, UpstreamDependencies, UpstreamServer } from './server.ts'
import { type Dialer, StreamUpstream } from './stream.ts'
import { UdpUpstream } from './udp.ts'

export type ServerOptions = PlainServerOptions | TlsServerOptions | HttpsServerOptions

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

export interface HttpsServerOptions extends CommonOptions {
  readonly protocol: 'https'
  readonly trust: TlsTrust
  /** Authority and path of the requests; connections go to `endpoint`. */
  readonly url: URL
}

/** Makes the server for one upstream URL; nothing is dialled before the first question. */
export function createServer(options: ServerOptions, dependencies: UpstreamDependencies): UpstreamServer {
  const { name, endpoint } = options
  if (options.protocol === 'tls') return new StreamUpstream(new TlsDialer(endpoint, options.trust, dependencies), options, dependencies)
  if (options.protocol === 'https')
    return new HttpsUpstream(new TlsDialer(endpoint, options.trust, dependencies, H2_PROTOCOL), options, dependencies)
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
