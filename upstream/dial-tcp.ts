import { connect, type Socket } from 'node:net'
import { Failure } from '../dns/failure.ts'
import { type Endpoint, formatEndpoint } from '../net/address.ts'
import { Complaint } from './complaint.ts'
import type { Dial, Dialer, DialSink } from './dialer.ts'
import type { ConnectionTerms, TrustObserver } from './server.ts'
import { SocksHandshake } from './socks.ts'

export interface TcpDialerOptions {
  readonly endpoint: Endpoint
  readonly terms: Pick<ConnectionTerms, 'source' | 'socks'>
}

/** Opens TCP connections to one server, from the address and through the SOCKS5 proxy (RFC 1928) of the terms. */
export class TcpDialer implements Dialer {
  readonly padding = 0
  readonly refusal = null
  readonly #endpoint: Endpoint
  readonly #source: string | null
  readonly #socks: Endpoint | null
  /** About the proxy. */
  readonly #complaint: Complaint

  constructor({ endpoint, terms }: TcpDialerOptions, { trust }: { trust: TrustObserver }) {
    this.#endpoint = endpoint
    this.#source = terms.source
    this.#socks = terms.socks
    this.#complaint = new Complaint(trust)
  }

  dial(sink: DialSink): Dial {
    const { host, port } = this.#socks ?? this.#endpoint
    const socket = connect({ host, port, noDelay: true, ...(this.#source !== null && { localAddress: this.#source }) })
    let isHeard = false
    const ready = (): void => {
      isHeard = true
      sink.ready(socket)
    }
    socket.on('connect', () => (this.#socks === null ? ready() : this.#askProxy(this.#socks, socket, ready)))
    // 'close' follows
    socket.on('error', ({ code = 'it failed' }: NodeJS.ErrnoException) => {
      if (this.#socks !== null && !isHeard) this.#complain(this.#socks, code)
    })
    socket.on('close', () => {
      if (!isHeard) sink.failed(Failure.upstream_network)
    })
    return {
      abort() {
        if (isHeard) return
        isHeard = true
        socket.destroy()
      },
    }
  }

  answered(): void {}

  #askProxy(proxy: Endpoint, socket: Socket, ready: () => void): void {
    const handshake = new SocksHandshake(this.#endpoint)
    const end = (reason: string): void => {
      this.#complain(proxy, reason)
      socket.destroy()
    }
    const onEnd = (): void => end('it closed the connection')
    const onData = (chunk: Buffer): void => {
      const step = handshake.push(chunk)
      if (step.kind === 'send') socket.write(step.bytes)
      if (step.kind === 'refused') end(step.reason)
      if (step.kind !== 'ready') return
      socket.off('data', onData)
      socket.off('end', onEnd)
      this.#complaint.withdraw()
      ready()
    }
    socket.on('data', onData)
    socket.on('end', onEnd)
    socket.write(handshake.greeting)
  }

  #complain(proxy: Endpoint, reason: string): void {
    this.#complaint.raise(`the SOCKS5 proxy ${formatEndpoint(proxy)}: ${reason}`)
  }
}
