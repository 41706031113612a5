import { connect } from 'node:net'
import type { Endpoint } from '../net/address.ts'
import type { UpstreamDependencies, UpstreamServer } from './server.ts'
import { StreamUpstream } from './stream.ts'
import { UdpUpstream } from './udp.ts'

export interface ServerOptions {
  readonly name: string
  readonly protocol: 'udp' | 'tcp'
  readonly endpoint: Endpoint
  /** How long a connection may take to be established. */
  readonly connectMs: number
}

/** Makes the server for one upstream URL; nothing is dialled before the first question. */
export function createServer(options: ServerOptions, dependencies: UpstreamDependencies): UpstreamServer {
  const { name, endpoint } = options
  const dial = () => connect({ host: endpoint.host, port: endpoint.port })
  const stream = new StreamUpstream(dial, options, dependencies)
  return options.protocol === 'tcp' ? stream : new UdpUpstream(endpoint, { name, stream }, dependencies)
}
