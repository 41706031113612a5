import { createServer, type Server, type Socket } from 'node:net'
import type { Holder, TransportMeter } from '../dns/contracts.ts'
import { Failure } from '../dns/failure.ts'
import { type AddressBytes, type Endpoint, formatAddress, parseAddress } from '../net/address.ts'
import type { Clock } from '../net/clock.ts'
import { bindServer, closeServer } from '../net/listen.ts'
import { LiveSet } from '../net/live-set.ts'
import type { ProxySource } from '../net/proxy-header.ts'
import type { Wheel } from '../net/wheel.ts'
import type { Access, AccessList } from './access.ts'
import type { Governor } from './governor.ts'
import { drainConnections, type Listener, type ListenerSlice, type ServedConnection } from './listener.ts'
import { ProxiedConnection } from './proxied-connection.ts'

/** How long a load balancer may take to say for whom it speaks (§2 of its protocol: at least 3 s). */
const PROXY_HEADER_MS = 5000

/** The client at the other end of a connection, or of the load balancer there. */
export interface Peer {
  readonly address: string
  readonly octets: AddressBytes
  readonly port: number
  /** Whose certificate it has shown. */
  readonly holder?: Holder | null
}

/** An address on TCP. Who serves a connection adds it to `connections`, and takes it out when it has ended. */
export interface StreamListener extends Listener {
  readonly connections: LiveSet<ServedConnection>
  /** What comes out of its handshake now has come too late. */
  readonly isDraining: boolean
}

/** Takes a connection; nothing of it has been read. */
export type Serve = (socket: Socket, peer: Peer) => void

export interface StreamListenerOptions {
  readonly name: string
  readonly clock: Clock
  readonly wheel: Wheel
  /** Whether a client that may not ask is told so by its protocol; otherwise its connection ends before anything is read. */
  readonly explainsRefusal: boolean
  /** Whether a client that has sent its FIN still gets its answers (RFC 7766 §6.2.4 via TCP-10). */
  readonly allowHalfOpen: boolean
  /** Called once per listener; the result takes each of its connections. */
  readonly serve: (listener: StreamListener) => Serve
  /** Who may have any number of connections; nobody without it. */
  readonly isExempt?: (address: AddressBytes) => boolean
  /** Every open connection, whatever its state. */
  readonly sockets: LiveSet<Socket>
  /** Whether a TLS handshake comes first, where the address is not without TLS. */
  readonly isEncrypted: boolean
  readonly governor: Governor
  readonly meter: TransportMeter
}

/** Listens on TCP and hands over each connection that the limits allow, before any octet of its client is read. */
export async function openStreamListener(slice: ListenerSlice, options: StreamListenerOptions): Promise<StreamListener> {
  const server = createServer({ allowHalfOpen: options.allowHalfOpen, noDelay: true })
  const endpoint = await bindServer(server, { name: options.name, endpoint: slice.endpoint, reusePort: slice.reusePort })
  return new TcpListener(slice, { ...options, server, endpoint })
}

class TcpListener implements StreamListener {
  access: Access
  cleartext: boolean
  proxies: AccessList | null
  readonly endpoint: Endpoint
  readonly connections = new LiveSet<ServedConnection>()
  isDraining = false
  readonly #server: Server
  readonly #options: StreamListenerOptions
  readonly #serve: Serve

  constructor(slice: ListenerSlice, { server, endpoint, ...options }: StreamListenerOptions & { server: Server; endpoint: Endpoint }) {
    this.access = slice.access
    this.cleartext = slice.cleartext ?? false
    this.proxies = slice.proxies ?? null
    this.endpoint = endpoint
    this.#server = server
    this.#options = options
    this.#serve = options.serve(this)
    // accept() can fail for lack of descriptors; the listener itself stays usable
    server.on('error', () => options.meter.dropped(Failure.connection_limit))
    server.on('connection', (socket) => this.#arrived(socket))
  }

  get hasHandshake(): boolean {
    return this.#options.isEncrypted && !this.cleartext
  }

  /** The address is free at once; the server's own callback comes when the last connection has ended. */
  async close(): Promise<void> {
    void closeServer(this.#server)
  }

  async drain(deadlineMs: number): Promise<void> {
    this.isDraining = true
    void closeServer(this.#server)
    await drainConnections(this.connections, deadlineMs)
  }

  #arrived(socket: Socket): void {
    const { sockets } = this.#options
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    const text = socket.remoteAddress ?? ''
    const octets = parseAddress(text)
    if (octets === null) {
      socket.destroy()
      return
    }
    const peer = { address: text.includes(':') ? formatAddress(octets) : text, octets, port: socket.remotePort ?? 0 }
    if (this.proxies === null) this.#take(socket, peer)
    else if (this.proxies.has(octets)) this.#awaitHeader(socket, peer)
    else this.#refuse(socket, Failure.proxy_protocol_untrusted)
  }

  #awaitHeader(socket: Socket, balancer: Peer): void {
    const { clock, wheel, meter } = this.#options
    const dropped = (failure: Failure) => meter.dropped(failure)
    const onHeader = (source: ProxySource | null) => this.#take(socket, source === null ? balancer : peerOf(source))
    new ProxiedConnection(socket, { clock, wheel, timeoutMs: PROXY_HEADER_MS, dropped, onHeader }).start()
  }

  #take(socket: Socket, peer: Peer): void {
    const { octets } = peer
    const { explainsRefusal, isExempt, meter } = this.#options
    const governor = isExempt?.(octets) === true ? null : this.#options.governor
    const isAdmitted = explainsRefusal || this.access.has(octets)
    const failure = isAdmitted ? (governor?.enter(octets, this) ?? null) : Failure.access_denied
    if (failure !== null) {
      this.#refuse(socket, failure)
      return
    }
    meter.connectionOpened()
    socket.once('close', () => {
      governor?.leave(octets)
      meter.connectionClosed()
    })
    this.#serve(socket, peer)
  }

  #refuse(socket: Socket, failure: Failure): void {
    this.#options.meter.dropped(failure)
    socket.destroy()
  }
}

function peerOf({ octets, port }: ProxySource): Peer {
  return { address: formatAddress(octets), octets, port }
}
