import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import type { Answer } from '../dns/answer.ts'
import {
  type Client,
  NO_KEEPALIVE,
  type QueryAcceptor,
  type ReplySink,
  TRANSPORTS,
  type Transport,
  type TransportMeter,
} from '../dns/contracts.ts'
import { Failure } from '../dns/failure.ts'
import { Query } from '../dns/query.ts'
import { type AddressBytes, type Endpoint, parseAddress } from '../net/address.ts'
import { bindDatagrams, closeDatagrams } from '../net/listen.ts'
import { LiveSet } from '../net/live-set.ts'
import { literalLookup } from '../net/lookup.ts'
import { scratch } from '../net/scratch.ts'
import { type Listener, ListenerGroup, type ListenerSlice } from './listener.ts'

export interface UdpSlice {
  readonly listen: readonly ListenerSlice[]
}

export interface UdpDependencies {
  readonly acceptor: QueryAcceptor
  readonly meter: TransportMeter
}

/** Kernel buffer for datagrams that arrive while the thread is busy, octets: about 1,500 queries. */
const RECEIVE_BUFFER = 1_048_576
/** Services that answer anything (RFC 862 and its kin): an answer sent there would start a loop. 0 cannot be answered. */
const REFLECTION_PORTS = new Set([0, 7, 13, 17, 19])

/** DNS over UDP (RFC 1035 §4.2.1). */
export class UdpTransport implements Transport<UdpSlice> {
  readonly name = 'udp'
  readonly #dependencies: UdpDependencies
  readonly #listeners: ListenerGroup
  /** The sockets with queries that are not answered yet. */
  readonly #busy = new LiveSet<UdpSink>()
  #draining = false

  constructor(dependencies: UdpDependencies) {
    this.#dependencies = dependencies
    this.#listeners = new ListenerGroup((slice) => this.#open(slice))
  }

  get endpoints(): readonly Endpoint[] {
    return this.#listeners.endpoints
  }

  async reconfigure(slice: UdpSlice): Promise<void> {
    await this.#listeners.apply(slice.listen)
  }

  async settle(deadlineMs: number): Promise<void> {
    await this.#listeners.settle(deadlineMs)
  }

  async rebind(endpoint: Endpoint): Promise<void> {
    await this.#listeners.rebind(endpoint)
  }

  /** New datagrams are ignored; the answers to what was asked leave through the same sockets. */
  async drain(deadlineMs: number): Promise<void> {
    this.#draining = true
    await this.#busy.emptied(deadlineMs)
    await this.close()
  }

  async close(): Promise<void> {
    await this.#listeners.close()
  }

  async #open(slice: ListenerSlice): Promise<Listener> {
    const { endpoint, reusePort } = slice
    const v6 = isIPv6(endpoint.host)
    const socket = createSocket({
      type: v6 ? 'udp6' : 'udp4',
      ipv6Only: v6,
      reusePort,
      recvBufferSize: RECEIVE_BUFFER,
      lookup: literalLookup,
    })
    const bound = await bindDatagrams(socket, { name: 'dns (UDP)', endpoint })
    const sink = new UdpSink(socket, this.#busy)
    let isDraining = false
    let closed: Promise<void> | null = null
    const close = (): Promise<void> => (closed ??= closeDatagrams(socket))
    const listener: Listener = {
      access: slice.access,
      endpoint: bound,
      connections: [],
      close,
      drain: async (deadlineMs) => {
        isDraining = true
        await sink.idle(deadlineMs)
        await close()
      },
    }
    // an ICMP error for an answer that was sent concerns one client that is gone
    socket.on('error', () => {})
    socket.on('message', (message, from) => {
      if (!isDraining) this.#onMessage(message, from, { listener, sink })
    })
    return listener
  }

  #onMessage(message: Buffer, from: RemoteInfo, { listener, sink }: { listener: Listener; sink: UdpSink }): void {
    if (this.#draining) return
    const address = parseAddress(from.address)
    const ourselves = from.port === listener.endpoint.port && from.address === listener.endpoint.host
    if (address === null || ourselves || REFLECTION_PORTS.has(from.port)) {
      this.#dependencies.meter.dropped(Failure.reflection_port)
      return
    }
    sink.opened()
    this.#dependencies.acceptor.accept(new Query(clientOf(from, address, listener.access.has(address)), sink, 0, message))
  }
}

class UdpSink implements ReplySink {
  readonly #socket: Socket
  readonly #busy: LiveSet<UdpSink>
  /** Itself, while it is busy. */
  readonly #own = new LiveSet<UdpSink>()
  #inFlight = 0
  #closed = false

  constructor(socket: Socket, busy: LiveSet<UdpSink>) {
    this.#socket = socket
    this.#busy = busy
    socket.on('close', () => {
      this.#closed = true
      busy.delete(this)
      this.#own.delete(this)
    })
  }

  /** Resolves when everything is answered, or after `deadlineMs`. */
  async idle(deadlineMs: number): Promise<void> {
    await this.#own.emptied(deadlineMs)
  }

  opened(): void {
    if (this.#inFlight++ > 0) return
    this.#busy.add(this)
    this.#own.add(this)
  }

  deliver(query: Query, answer: Answer): void {
    if (!this.#closed) {
      const length = answer.encodeInto(scratch, 0, query, query.answeredAt)
      const message = Buffer.allocUnsafe(length)
      scratch.copy(message, 0, 0, length)
      this.#socket.send(message, query.client.port, query.client.address)
    }
    this.#settled()
  }

  /** Silence: whatever is sent to a forged address is an attack on its owner (conformance P-1). */
  refuse(): void {
    this.#settled()
  }

  #settled(): void {
    if (--this.#inFlight > 0) return
    this.#busy.delete(this)
    this.#own.delete(this)
  }
}

function clientOf(from: RemoteInfo, octets: AddressBytes, admitted: boolean): Client {
  return { traits: TRANSPORTS.udp, address: from.address, octets, port: from.port, admitted, keepalive: NO_KEEPALIVE }
}
