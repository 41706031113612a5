import type { Socket } from 'node:net'
import { Failure } from '../dns/failure.ts'
import { INVALID, NEED_MORE as PROXY_NEEDS_MORE, type ProxySource, readProxyHeader } from '../net/proxy-header.ts'
import { FirstOctets, type FirstOctetsOptions, NEED_MORE } from './first-octets.ts'

export interface ProxiedConnectionOptions extends FirstOctetsOptions {
  readonly dropped: (failure: Failure) => void
  /** The header is whole. `source`: the client; null: the connection is the load balancer's own. */
  readonly onHeader: (source: ProxySource | null) => void
}

/** A connection of a load balancer, which says first whose it is: nothing else is read before that. */
export class ProxiedConnection extends FirstOctets {
  readonly #proxied: ProxiedConnectionOptions
  #source: ProxySource | null = null

  constructor(socket: Socket, options: ProxiedConnectionOptions) {
    super(socket, options)
    this.#proxied = options
  }

  override look(seen: Buffer): number | null {
    const header = readProxyHeader(seen, 'stream')
    if (header === PROXY_NEEDS_MORE) return NEED_MORE
    if (header === INVALID) {
      this.#proxied.dropped(Failure.proxy_protocol_error)
      return null
    }
    this.#source = header.source
    return header.length
  }

  override handOver(): void {
    this.#proxied.onHeader(this.#source)
  }

  override onLate(): void {
    this.#proxied.dropped(Failure.proxy_protocol_timeout)
  }
}
