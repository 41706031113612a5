import type { Socket } from 'node:net'
import type { QueryAcceptor, Transport, TransportMeter } from '../../dns/contracts.ts'
import { Failure } from '../../dns/failure.ts'
import { type Endpoint, type Prefix, PrefixSet, parseAddress, parsePrefix } from '../../net/address.ts'
import type { Clock } from '../../net/clock.ts'
import type { Flusher } from '../../net/flusher.ts'
import { LiveSet } from '../../net/live-set.ts'
import type { OutputBudget } from '../../net/output-budget.ts'
import type { ServerChallenges, ServerIdentities, SessionTickets } from '../../net/tls.ts'
import { type Wheel, WheelEntry } from '../../net/wheel.ts'
import type { ConnectionSettings } from '../connection.ts'
import type { Governor } from '../governor.ts'
import { type Listener, ListenerGroup, type ListenerSlice, type ServedConnection } from '../listener.ts'
import { enterForHolder, servedPeer } from '../served-peer.ts'
import { openStreamListener, type Peer, type StreamListener } from '../stream-listener.ts'
import { TlsTerminator } from '../tls-terminator.ts'
import type { OriginObserver } from '../web/reachability.ts'
import { DohService } from './exchange.ts'
import { Http1Front } from './http1.ts'
import { Http2Front } from './http2.ts'
import { Pages } from './pages.ts'
import { ProtocolSniffer } from './protocol-sniffer.ts'
import { type DohOffer, DohRules, NO_OFFER } from './request.ts'

export interface DohSlice {
  readonly listen: readonly ListenerSlice[]
  /** Of connections that come from now on. */
  readonly connection: ConnectionSettings
  readonly offer: DohOffer
  /** Who has all other paths: http: or https:, host and port; null: nobody. */
  readonly proxy: string | null
  /** How long the first octets of a connection in cleartext may take. */
  readonly handshakeMs: number
  /** Null: HTTP/3 is not served; its public port, null for that of the listener. */
  readonly http3: { readonly port: number | null } | null
}

export interface DohOptions {
  readonly identities: ServerIdentities
  readonly challenges: ServerChallenges
  readonly tickets: SessionTickets
}

export interface DohTransportDependencies {
  readonly acceptor: QueryAcceptor
  readonly clock: Clock
  readonly wheel: Wheel
  readonly flusher: Flusher
  readonly budget: OutputBudget
  readonly governor: Governor
  /** Of who has all other paths. */
  readonly observer: OriginObserver
  /** Connections and handshakes are all counted under HTTP/2: when they begin, no version is chosen yet. */
  readonly meter: TransportMeter
}

/** DNS over HTTPS on TCP (RFC 8484): TLS, then HTTP/2 or HTTP/1.1 as ALPN says. */
export class DohTransport implements Transport<DohSlice> {
  readonly name = 'doh'
  readonly #options: DohOptions
  readonly #wheel: Wheel
  readonly #clock: Clock
  readonly #governor: Governor
  readonly #service: DohService
  readonly #pages: Pages
  readonly #http1: Http1Front
  readonly #http2: Http2Front
  readonly #listeners: ListenerGroup
  readonly #sockets = new LiveSet<Socket>()
  #http3: DohSlice['http3'] = null
  #handshakeMs = 0
  #draining = false

  constructor(options: DohOptions, dependencies: DohTransportDependencies) {
    this.#options = options
    const { governor, meter } = dependencies
    this.#governor = governor
    this.#wheel = dependencies.wheel
    this.#clock = dependencies.clock
    this.#pages = new Pages({ ...dependencies, count: (failure) => this.#service.dropped(Failure[failure]) })
    this.#service = new DohService(this.#rules(NO_OFFER), dependencies)
    this.#http1 = new Http1Front(this.#service, dependencies)
    this.#http2 = new Http2Front(this.#service, dependencies)
    const serve = (listener: StreamListener) => {
      const terminator = new TlsTerminator({
        ...options,
        listener,
        protocols: ['h2', 'http/1.1'],
        allowHalfOpen: false,
        meter,
        onSecure: (socket, peer) => this.#serve(socket, { peer, listener, isHttp2: socket.alpnProtocol === 'h2' }),
      })
      return (socket: Socket, peer: Peer) =>
        listener.cleartext === true ? this.#sniff(socket, peer, listener) : terminator.accept(socket, peer)
    }
    this.#listeners = new ListenerGroup((slice) =>
      openStreamListener(slice, {
        name: this.name,
        explainsRefusal: true,
        isExempt: (address) => this.#service.rules.offer.trustedProxies.has(address),
        allowHalfOpen: false,
        serve,
        sockets: this.#sockets,
        isEncrypted: true,
        governor,
        meter,
        clock: this.#clock,
        wheel: this.#wheel,
      }),
    )
  }

  get endpoints(): readonly Endpoint[] {
    return this.#listeners.endpoints
  }

  get connections(): readonly ServedConnection[] {
    return this.#listeners.connections
  }

  async reconfigure(slice: DohSlice): Promise<void> {
    await this.#listeners.apply(slice.listen)
    await this.#pages.serve(slice.proxy)
    this.#service.rules = this.#rules(slice.offer)
    this.#http1.configure(slice.connection)
    this.#http2.configure(slice.connection)
    this.#http3 = slice.http3
    this.#handshakeMs = slice.handshakeMs
  }

  async settle(deadlineMs: number): Promise<void> {
    await Promise.all([this.#listeners.settle(deadlineMs), this.#pages.settle(deadlineMs)])
  }

  async rebind(endpoint: Endpoint): Promise<void> {
    await this.#listeners.rebind(endpoint)
  }

  async drain(deadlineMs: number): Promise<void> {
    this.#draining = true
    const deadline = this.#clock() + deadlineMs
    const left = () => Math.max(0, deadline - this.#clock())
    await this.#listeners.close()
    this.#http2.drain()
    this.#http1.drain()
    await Promise.all([this.#service.open.emptied(left()), this.#pages.drain(left())])
    // the last responses are written, not yet taken
    await Promise.all([this.#http1.sent(left()), this.#http2.sent(left())])
    await this.#sockets.emptied(Math.min(left(), LAST_WRITE_MS))
    await this.close()
  }

  async close(): Promise<void> {
    await this.#listeners.close()
    this.#http1.close()
    await this.#pages.close()
    for (const socket of this.#sockets) socket.destroy()
    await this.#sockets.emptied()
  }

  /** Without TLS, only who has it in front of us, or sits on this machine, may ask. */
  #sniff(socket: Socket, peer: Peer, listener: StreamListener): void {
    const address = parseAddress(socket.remoteAddress ?? '')
    if (address === null || !(LOOPBACK.has(address) || this.#service.rules.offer.trustedProxies.has(address))) {
      this.#service.dropped(Failure.access_denied)
      socket.destroy()
      return
    }
    new ProtocolSniffer(socket, {
      wheel: this.#wheel,
      clock: this.#clock,
      timeoutMs: this.#handshakeMs,
      onHttp1: () => this.#serve(socket, { peer, listener, isHttp2: false }),
      onHttp2: () => this.#serve(socket, { peer, listener, isHttp2: true }),
      // as for the rest of a header section that does not come
      onLate: () => this.#service.dropped(Failure.http_body_timeout),
    }).start()
  }

  #serve(socket: Socket, { peer, listener, isHttp2 }: Arrival): void {
    // Node's servers take their listeners back with CONNECT and when a session ends; an error after that would end the process
    socket.on('error', () => {})
    // what we have ended ends, whatever the client does: a peer that never closes would keep its place for ever
    socket.once('finish', () => this.#wheel.set(new Lingering(socket), this.#clock() + LINGER_MS))
    if (this.#draining) {
      socket.destroy()
      return
    }
    const served = servedPeer(socket, peer, listener.access)
    const failure = enterForHolder(socket, served, this.#governor)
    if (failure !== null) {
      this.#service.dropped(failure)
      socket.destroy()
      return
    }
    const front = isHttp2 ? this.#http2 : this.#http1
    const connection = front.serve(socket, served, { altSvc: this.#altSvc(listener), terms: listener })
    listener.connections.add(connection)
    socket.once('close', () => listener.connections.delete(connection))
    if (listener.isDraining) connection.drain()
  }

  /** RFC 7838 §3, for the whole origin; null where there is nothing to say. */
  #altSvc({ endpoint, cleartext, proxies, access }: Listener): string | null {
    const isDirect = cleartext !== true && proxies == null && access.clientCa == null
    // the same host on HTTP/3 would have no pages
    return this.#http3 === null || !isDirect || this.#service.rules.web !== null
      ? null
      : `h3=":${this.#http3.port ?? endpoint.port}"; ma=${ALT_SVC_SECONDS}`
  }

  #rules(offer: DohOffer): DohRules {
    return new DohRules(offer, { covers: (host) => this.#options.identities.covers(host), web: this.#pages.present })
  }
}

/** A connection that can be served. */
interface Arrival {
  readonly peer: Peer
  readonly listener: StreamListener
  readonly isHttp2: boolean
}

/** A connection that we have ended and whose client has not. */
class Lingering extends WheelEntry {
  readonly #socket: Socket

  constructor(socket: Socket) {
    super()
    this.#socket = socket
  }

  override onDeadline(): void {
    this.#socket.destroy()
  }
}

const LOOPBACK = new PrefixSet(['127.0.0.0/8', '::1'].map((text) => parsePrefix(text) as Prefix))
/** How long a client may remember that there is HTTP/3. */
const ALT_SVC_SECONDS = 86_400
/** How long a client may take to close a connection that we have ended. */
const LINGER_MS = 2000
/** Time for responses that were written when the last exchange ended to leave. */
const LAST_WRITE_MS = 500
