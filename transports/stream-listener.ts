import { createServer, type Socket } from 'node:net'
import type { TransportMeter } from '../dns/contracts.ts'
import { Failure } from '../dns/failure.ts'
import { type AddressBytes, canonicalAddress, parseAddress } from '../net/address.ts'
import { bindServer, closeServer } from '../net/listen.ts'
import { LiveSet } from '../net/live-set.ts'
import type { ConnectionLimit } from './connection-limit.ts'
import { drainConnections, type Listener, type ListenerSlice, type ServedConnection } from './listener.ts'

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
}

export interface StreamListenerOptions {
  readonly name: string
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

/** What keeps a connection from being served, null if nothing does; then it has been counted. */
function admit(address: AddressBytes, listener: Listener, { explainsRefusal, limit }: Terms): Failure | null {
  if (!explainsRefusal && !listener.access.has(address)) return Failure.access_denied
  return limit === null || limit.acquire(address) ? null : Failure.connection_limit
}

interface Terms {
  readonly explainsRefusal: boolean
  /** Null: this client has no limit. */
  readonly limit: ConnectionLimit | null
}

/** The client at the other end of `socket`, plain or TLS; null when it has gone already. */
export function peerOf(socket: Socket, listener: Listener): Peer | null {
  const address = canonicalAddress(socket.remoteAddress ?? '')
  const octets = parseAddress(address)
  return octets === null ? null : { address, octets, port: socket.remotePort ?? 0, admitted: listener.access.has(octets) }
}

/** Listens on TCP and hands over each connection that the limits allow, before any octet is read. */
export async function openStreamListener(slice: ListenerSlice, options: StreamListenerOptions): Promise<StreamListener> {
  const { meter, sockets } = options
  const server = createServer({ allowHalfOpen: options.allowHalfOpen, noDelay: true })
  const connections = new LiveSet<ServedConnection>()
  let isDraining = false
  const listener: StreamListener = {
    access: slice.access,
    cleartext: slice.cleartext ?? false,
    endpoint: await bindServer(server, { name: options.name, endpoint: slice.endpoint, reusePort: slice.reusePort }),
    connections,
    get isDraining() {
      return isDraining
    },
    // server.close() calls back when the last connection has ended; the address is free at once
    close: async () => void closeServer(server),
    drain: async (deadlineMs) => {
      isDraining = true
      void closeServer(server)
      await drainConnections(connections, deadlineMs)
    },
  }
  // accept() can fail for lack of descriptors; the listener itself stays usable
  server.on('error', () => meter.dropped(Failure.connection_limit))
  const serve = options.serve(listener)
  server.on('connection', (socket) => {
    const address = parseAddress(socket.remoteAddress ?? '')
    const limit = address !== null && options.isExempt?.(address) === true ? null : options.limit
    const failure = address === null ? null : admit(address, listener, { explainsRefusal: options.explainsRefusal, limit })
    if (address === null || failure !== null) {
      if (failure !== null) meter.dropped(failure)
      socket.destroy()
      return
    }
    meter.connectionOpened()
    sockets.add(socket)
    socket.once('close', () => {
      sockets.delete(socket)
      limit?.release(address)
      meter.connectionClosed()
    })
    serve(socket)
  })
  return listener
}
