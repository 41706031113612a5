import type { Endpoint } from '../net/address.ts'
import { TcpDialer } from './dial-tcp.ts'
import { TlsDialer, type TlsTrust } from './dial-tls.ts'
import { EdnsSupport } from './edns-support.ts'
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
  /** Over UDP: 0x20, the letter case of names drawn at random (conformance VAL-03); absent: not. */
  readonly randomizeCase?: boolean
  /** Over UDP: cookies (RFC 7873); absent: none. */
  readonly cookies?: boolean
}

export interface TlsServerOptions extends CommonOptions {
  readonly protocol: 'tls'
  readonly trust: TlsTrust
}

/** Makes the server for one upstream URL; nothing is dialled before the first question. */
export function createServer(options: ServerOptions, dependencies: UpstreamDependencies): UpstreamServer {
  const { name, endpoint, terms } = options
  if (options.protocol === 'tls') return new StreamUpstream(new TlsDialer(options, dependencies), options, dependencies)
  const edns = new EdnsSupport(dependencies.clock)
  const stream = new StreamUpstream(new TcpDialer(options, dependencies), { name, terms, edns }, dependencies)
  if (options.protocol === 'tcp') return stream
  const { randomizeCase = false, cookies = false } = options
  return new UdpUpstream({ name, endpoint, source: terms.source, randomizeCase, cookies, stream, edns }, dependencies)
}
