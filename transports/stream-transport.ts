import type { Socket } from 'node:net'
import { TRANSPORTS, type Transport, type TransportTraits } from '../dns/contracts.ts'
import type { Endpoint } from '../net/address.ts'
import { LiveSet } from '../net/live-set.ts'
import { type ConnectionDependencies, type ConnectionSettings, StreamConnection } from './connection.ts'
import type { Governor } from './governor.ts'
import { ListenerGroup, type ListenerSlice, type ServedConnection } from './listener.ts'
import { enterForHolder, servedPeer } from './served-peer.ts'
import { openStreamListener, type Peer, type Serve, type StreamListener } from './stream-listener.ts'
import { TlsTerminator, type TlsTerminatorOptions } from './tls-terminator.ts'

export interface StreamSlice {
  readonly listen: readonly ListenerSlice[]
  readonly connection: ConnectionSettings
}

export interface StreamDependencies extends ConnectionDependencies {
  readonly governor: Governor
}

/** RFC 7858 §3: DNS over TLS, with the ALPN token of its registry. */
export function createDotTransport(
  tls: Pick<TlsTerminatorOptions, 'identities' | 'challenges' | 'tickets'>,
  dependencies: StreamDependencies,
): StreamTransport {
  return new StreamTransport(TRANSPORTS.dot, dependencies, (serve, listener) => {
    const terminator = new TlsTerminator({
      ...tls,
      listener,
      protocols: ['dot'],
      allowHalfOpen: true,
      meter: dependencies.meter,
      onSecure: serve,
    })
    return (socket, peer) => terminator.accept(socket, peer)
  })
}

/** RFC 7766: DNS over TCP. */
export function createTcpTransport(dependencies: StreamDependencies): StreamTransport {
  return new StreamTransport(TRANSPORTS.tcp, dependencies, (serve) => (socket, peer) => {
    serve(socket, peer)
    // a load balancer's is paused
    socket.resume()
  })
}

/** What one listener does with its raw connections before they are served. */
type Terminate = (serve: Serve, listener: StreamListener) => Serve

/** Length-prefixed DNS messages on byte streams: TCP, and TLS on top of it. */
export class StreamTransport implements Transport<StreamSlice> {
  readonly name: string
  readonly #traits: TransportTraits
  readonly #dependencies: StreamDependencies
  readonly #listeners: ListenerGroup
  readonly #connections = new LiveSet<StreamConnection>()
  /** Every connection, those that are still in their TLS handshake too. */
  readonly #sockets = new LiveSet<Socket>()
  #settings: ConnectionSettings = { idleMs: 0, inFlight: 0 }
  #draining = false

  constructor(traits: TransportTraits, dependencies: StreamDependencies, terminate: Terminate) {
    this.name = traits.label
    this.#traits = traits
    this.#dependencies = dependencies
    const { governor, meter, clock, wheel } = dependencies
    const serve = (listener: StreamListener) => terminate((socket, peer) => this.#serve(socket, peer, listener), listener)
    this.#listeners = new ListenerGroup((slice) =>
      openStreamListener(slice, {
        name: traits === TRANSPORTS.tcp ? 'dns (TCP)' : traits.label,
        explainsRefusal: false,
        allowHalfOpen: true,
        serve,
        sockets: this.#sockets,
        isEncrypted: traits.encrypted,
        governor,
        meter,
        clock,
        wheel,
      }),
    )
  }

  get endpoints(): readonly Endpoint[] {
    return this.#listeners.endpoints
  }

  get connections(): readonly ServedConnection[] {
    return this.#listeners.connections
  }

  async reconfigure(slice: StreamSlice): Promise<void> {
    await this.#listeners.apply(slice.listen)
    this.#settings = slice.connection
  }

  async settle(deadlineMs: number): Promise<void> {
    await this.#listeners.settle(deadlineMs)
  }

  async rebind(endpoint: Endpoint): Promise<void> {
    await this.#listeners.rebind(endpoint)
  }

  async drain(deadlineMs: number): Promise<void> {
    this.#draining = true
    await this.#listeners.close()
    for (const connection of this.#connections) connection.drain()
    await this.#connections.emptied(deadlineMs)
    await this.close()
  }

  async close(): Promise<void> {
    await this.#listeners.close()
    for (const socket of this.#sockets) socket.destroy()
    await this.#sockets.emptied()
  }

  #serve(socket: Socket, peer: Peer, listener: StreamListener): void {
    if (this.#draining) {
      socket.destroy()
      return
    }
    const served = servedPeer(socket, peer, listener.access)
    const failure = served.refusal ?? enterForHolder(socket, served, this.#dependencies.governor)
    if (failure !== null) {
      this.#dependencies.meter.dropped(failure)
      socket.destroy()
      return
    }
    const client = { traits: this.#traits, ...served }
    const onClose = () => {
      this.#connections.delete(connection)
      listener.connections.delete(connection)
    }
    const connection = new StreamConnection(socket, client, { settings: this.#settings, dependencies: this.#dependencies, onClose })
    this.#connections.add(connection)
    listener.connections.add(connection)
    if (listener.isDraining) connection.drain()
  }
}
