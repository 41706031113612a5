import { createServer, type Server, type Socket } from 'node:net'
import type { TransportMeter } from '../dns/contracts.ts'
import { Failure } from '../dns/failure.ts'
import { type AddressBytes, canonicalAddress, type Endpoint, formatAddress, parseAddress } from '../net/address.ts'
import type { Clock } from '../net/clock.ts'
import { bindServer, closeServer } from '../net/listen.ts'
import { LiveSet } from '../net/live-set.ts'
import type { ProxySource } from '../net/proxy-header.ts'
import type { Wheel } from '../net/wheel.ts'
import type { ConnectionLimit } from './connection-limit.ts'
import { drainConnections, type Listener, type ListenerSlice, type ServedConnection } from './listener.ts'
import { ProxiedConnection } from './proxied-connection.ts'

/** How long a load balancer may take to say for whom it speaks (§2 of its protocol: at least 3 s). */
const PROXY_HEADER_MS = 5000

/** What is known of a client when its TCP connection arrives. */
export interface Peer {
  readonly address: string
  readonly octets: AddressBytes
  readonly port: number
  readonly admitted: boolean
}

/** An address on TCP. Who serves a connection adds it to `connections`, and takes it out when it has ended. */
export interface StreamListener extends Listener {
  readonly connections: LiveSet<ServedConnection>
  /** What comes out of its handshake now has come too late. */
  readonly isDraining: boolean
  /** Of connections that a load balancer has passed on: whose they are. */
  readonly sources: ReadonlyMap<string, ProxySource>
}

export interface StreamListenerOptions {
  readonly name: string
  readonly clock: Clock
  readonly wheel: Wheel
  /** Whether a client that may not ask is told so by its protocol; otherwise its connection ends before anything is read. */
  readonly explainsRefusal: boolean
  /** Whether a client that has sent its FIN still gets its answers (RFC 7766 §6.2.4 via TCP-10). */
  readonly allowHalfOpen: boolean
  /** Called once per listener; the result takes each of its connections. */
  readonly serve: (listener: StreamListener) => (socket: Socket) => void
  /** Who may have any number of connections; nobody without it. */
  readonly isExempt?: (address: AddressBytes) => boolean
  /** Every open connection, whatever its state. */
  readonly sockets: LiveSet<Socket>
  readonly limit: ConnectionLimit
  readonly meter: TransportMeter
}

/** The client at the other end of `socket`, plain or TLS, or of the load balancer there; null when it has gone already. */
export function peerOf(socket: Socket, listener: StreamListener): Peer | null {
  const source = listener.sources.get(endOf(socket))
  if (source !== undefined) {
    const { octets, port } = source
    return { address: formatAddress(octets), octets, port, admitted: listener.access.has(octets) }
  }
  const address = canonicalAddress(socket.remoteAddress ?? '')
  const octets = parseAddress(address)
  return octets === null ? null : { address, octets, port: socket.remotePort ?? 0, admitted: listener.access.has(octets) }
}

/** The other end of a connection, the same for a socket and for the TLS on top of it. */
function endOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`
}

/** Listens on TCP and hands over each connection that the limits allow, before any octet of its client is read. */
export async function openStreamListener(slice: ListenerSlice, options: StreamListenerOptions): Promise<StreamListener> {
  const server = createServer({ allowHalfOpen: options.allowHalfOpen, noDelay: true })
  const endpoint = await bindServer(server, { name: options.name, endpoint: slice.endpoint, reusePort: slice.reusePort })
  return new TcpListener(slice, { ...options, server, endpoint })
}

class TcpListener implements StreamListener {
  access: ListenerSlice['access']
  cleartext: boolean
  proxies: ListenerSlice['access'] | null
  readonly endpoint: Endpoint
  readonly connections = new LiveSet<ServedConnection>()
  readonly sources = new Map<string, ProxySource>()
  isDraining = false
  readonly #server: Server
  readonly #options: StreamListenerOptions
  readonly #serve: (socket: Socket) => void

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
    const address = parseAddress(socket.remoteAddress ?? '')
    if (address === null) socket.destroy()
    else if (this.proxies === null) this.#take(socket, address)
    else if (this.proxies.has(address)) this.#awaitHeader(socket, address)
    else this.#refuse(socket, Failure.proxy_protocol_untrusted)
  }

  /** `balancer`: its own address. */
  #awaitHeader(socket: Socket, balancer: AddressBytes): void {
    const { clock, wheel, meter } = this.#options
    const onHeader = (source: ProxySource | null) => {
      if (source !== null) {
        const end = endOf(socket)
        this.sources.set(end, source)
        socket.once('close', () => this.sources.delete(end))
      }
      this.#take(socket, source?.octets ?? balancer)
    }
    const dropped = (failure: Failure) => meter.dropped(failure)
    new ProxiedConnection(socket, { clock, wheel, timeoutMs: PROXY_HEADER_MS, dropped, onHeader }).start()
  }

  /** `address`: the client's. */
  #take(socket: Socket, address: AddressBytes): void {
    const { explainsRefusal, isExempt, meter } = this.#options
    const limit = isExempt?.(address) === true ? null : this.#options.limit
    if (!explainsRefusal && !this.access.has(address)) this.#refuse(socket, Failure.access_denied)
    else if (limit?.acquire(address) === false) this.#refuse(socket, Failure.connection_limit)
    else {
      meter.connectionOpened()
      socket.once('close', () => {
        limit?.release(address)
        meter.connectionClosed()
      })
      this.#serve(socket)
    }
  }

  #refuse(socket: Socket, failure: Failure): void {
    this.#options.meter.dropped(failure)
    socket.destroy()
  }
}
