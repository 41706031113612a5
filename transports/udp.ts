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
import { type AddressBytes, type Endpoint, formatAddress, formatEndpoint, isWildcard, parseAddress } from '../net/address.ts'
import { bindDatagrams, closeDatagrams } from '../net/listen.ts'
import { LiveSet } from '../net/live-set.ts'
import { literalLookup } from '../net/lookup.ts'
import { INVALID, NEED_MORE, readProxyHeader } from '../net/proxy-header.ts'
import { scratch } from '../net/scratch.ts'
import { type AccessList, refusalOf } from './access.ts'
import { type Listener, ListenerGroup, type ListenerSlice } from './listener.ts'
import { type AddressObserver, AddressWatch, type BoundSocket, type ListenerTerms, WildcardListener } from './wildcard-listener.ts'

export interface UdpSlice {
  readonly listen: readonly ListenerSlice[]
}

export interface UdpDependencies {
  readonly acceptor: QueryAcceptor
  readonly meter: TransportMeter
  /** The addresses of this machine, which a wildcard stands for. */
  readonly addresses: (family: 'IPv4' | 'IPv6') => readonly string[]
  readonly observer: AddressObserver
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
  readonly #watch = new AddressWatch()
  /** What is bound by its name: on machines where sockets may share an address, a wildcard leaves it alone. */
  readonly #named = new Set<string>()
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
    // a wildcard stands for what is not named
    const wildcardsLast = slice.listen.toSorted((a, b) => Number(isWildcard(a.endpoint.host)) - Number(isWildcard(b.endpoint.host)))
    await this.#listeners.apply(wildcardsLast)
  }

  async settle(deadlineMs: number): Promise<void> {
    await this.#listeners.settle(deadlineMs)
  }

  async rebind(endpoint: Endpoint): Promise<void> {
    const wildcard = this.#watch.find(endpoint)
    await (wildcard === undefined ? this.#listeners.rebind(endpoint) : wildcard.rebind())
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

  #open(slice: ListenerSlice): Promise<Listener> {
    return isWildcard(slice.endpoint.host) ? this.#openWildcard(slice) : this.#openNamed(slice)
  }

  #openWildcard(slice: ListenerSlice): Promise<Listener> {
    const { addresses, observer } = this.#dependencies
    const family = isIPv6(slice.endpoint.host) ? 'IPv6' : 'IPv4'
    return WildcardListener.open(slice, {
      addresses: () => addresses(family),
      isNamed: (endpoint) => this.#named.has(formatEndpoint(endpoint)),
      bind: (endpoint, terms) => this.#bind({ endpoint, reusePort: slice.reusePort }, terms),
      observer,
      watch: this.#watch,
    })
  }

  async #openNamed(slice: ListenerSlice): Promise<Listener> {
    const terms: ListenerTerms = { access: slice.access, proxies: slice.proxies ?? null }
    const { endpoint, drain, close } = await this.#bind(slice, terms)
    const name = formatEndpoint(endpoint)
    this.#named.add(name)
    const ended = async (closed: Promise<void>): Promise<void> => {
      await closed
      this.#named.delete(name)
    }
    return Object.assign(terms, {
      endpoint,
      connections: [],
      close: () => ended(close()),
      drain: (deadlineMs: number) => ended(drain(deadlineMs)),
    })
  }

  async #bind({ endpoint, reusePort }: Pick<ListenerSlice, 'endpoint' | 'reusePort'>, terms: ListenerTerms): Promise<BoundSocket> {
    const v6 = isIPv6(endpoint.host)
    const socket = createSocket({
      type: v6 ? 'udp6' : 'udp4',
      ipv6Only: v6,
      reusePort,
      recvBufferSize: RECEIVE_BUFFER,
      lookup: literalLookup,
    })
    const local = await bindDatagrams(socket, { name: 'dns (UDP)', endpoint })
    const sink = new UdpSink(socket, this.#busy)
    const destination = { local, terms, sink }
    let isDraining = false
    let closed: Promise<void> | null = null
    const close = (): Promise<void> => (closed ??= closeDatagrams(socket))
    // an ICMP error for an answer that was sent concerns one client that is gone
    socket.on('error', () => {})
    socket.on('message', (message, from) => {
      if (!isDraining) this.#onMessage(message, from, destination)
    })
    return {
      endpoint: local,
      close,
      drain: async (deadlineMs) => {
        isDraining = true
        await sink.idle(deadlineMs)
        await close()
      },
    }
  }

  #onMessage(message: Buffer, from: RemoteInfo, { local, terms, sink }: Destination): void {
    if (this.#draining) return
    const address = parseAddress(from.address)
    const ourselves = from.port === local.port && from.address === local.host
    if (address === null || ourselves || REFLECTION_PORTS.has(from.port)) {
      this.#dependencies.meter.dropped(Failure.reflection_port)
      return
    }
    if (terms.proxies != null) {
      this.#onProxied(message, { from, balancer: address, terms, proxies: terms.proxies, sink })
      return
    }
    const client = { address: from.address, octets: address, port: from.port }
    sink.opened()
    this.#dependencies.acceptor.accept(new Query(clientOf(client, terms), sink, 0, message))
  }

  /** A load balancer says in each datagram for whom it speaks, and passes the answer on. */
  #onProxied(message: Buffer, { from, balancer, terms, proxies, sink }: ProxiedDatagram): void {
    const header = proxies.has(balancer) ? readProxyHeader(message, 'datagram') : null
    if (header === null || header === INVALID || header === NEED_MORE) {
      this.#dependencies.meter.dropped(header === null ? Failure.proxy_protocol_untrusted : Failure.proxy_protocol_error)
      return
    }
    const { octets, port } = header.source ?? { octets: balancer, port: from.port }
    const client = clientOf({ address: formatAddress(octets), octets, port }, terms)
    sink.opened()
    this.#dependencies.acceptor.accept(new Query(client, new ProxiedSink(sink, from), 0, message.subarray(header.length)))
  }
}

/** Where a datagram arrived. */
interface Destination {
  /** The address that was asked. */
  readonly local: Endpoint
  readonly terms: ListenerTerms
  readonly sink: UdpSink
}

interface ProxiedDatagram {
  readonly from: RemoteInfo
  /** Its own address. */
  readonly balancer: AddressBytes
  readonly terms: ListenerTerms
  readonly proxies: AccessList
  readonly sink: UdpSink
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
    this.send(query, answer, query.client)
  }

  send(query: Query, answer: Answer, { address, port }: Pick<RemoteInfo, 'address' | 'port'>): void {
    if (!this.#closed) {
      const length = answer.encodeInto(scratch, 0, query, query.answeredAt)
      const message = Buffer.allocUnsafe(length)
      scratch.copy(message, 0, 0, length)
      this.#socket.send(message, port, address)
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

/** Where the answer to one datagram of a load balancer goes. */
class ProxiedSink implements ReplySink {
  readonly #sink: UdpSink
  readonly #balancer: RemoteInfo

  constructor(sink: UdpSink, balancer: RemoteInfo) {
    this.#sink = sink
    this.#balancer = balancer
  }

  deliver(query: Query, answer: Answer): void {
    this.#sink.send(query, answer, this.#balancer)
  }

  refuse(): void {
    this.#sink.refuse()
  }
}

function clientOf({ address, octets, port }: Pick<Client, 'address' | 'octets' | 'port'>, { access }: ListenerTerms): Client {
  const refusal = refusalOf(octets, null, access)
  return { traits: TRANSPORTS.udp, address, octets, port, holder: null, refusal, keepalive: NO_KEEPALIVE }
}
