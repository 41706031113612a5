import type { Endpoint } from '../net/address.ts'
import { TcpDialer } from './dial-tcp.ts'
import { TlsDialer, type TlsTrust } from './dial-tls.ts'
import type { ConnectionTerms, UpstreamDependencies, UpstreamServer } from './server.ts'
import { StreamUpstream } from './stream.ts'
import { UdpUpstream } from './udp.ts'

export type ServerOptions = PlainServerOptions | TlsServerOptions

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

/** Makes the server for one upstream URL; nothing is dialled before the first question. */
export function createServer(options: ServerOptions, dependencies: UpstreamDependencies): UpstreamServer {
  const { name, endpoint } = options
  if (options.protocol === 'tls') return new StreamUpstream(new TlsDialer(options, dependencies), options, dependencies)
  const stream = new StreamUpstream(new TcpDialer(options, dependencies), options, dependencies)
  return options.protocol === 'tcp' ? stream : new UdpUpstream(endpoint, { name, stream }, dependencies)
}
