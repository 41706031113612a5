import { setTimeout as sleep } from 'node:timers/promises'
import { isIpv4 } from '../dns/address.ts'
import type { QueryAcceptor, TransportMeter } from '../dns/contracts.ts'
import { canonicalAddress, type Endpoint, parseAddress } from '../net/address.ts'
import { LiveSet } from '../net/live-set.ts'
import type { QuicConnection, QuicEngine, QuicHandler, QuicIdentity, QuicListener } from '../net/quic.ts'
import type { ServerIdentities } from '../net/tls.ts'
import { type Access, refusalOf } from './access.ts'
import type { Governor } from './governor.ts'
import { drainConnections, type Listener, ListenerGroup, type ListenerSlice, type ServedConnection } from './listener.ts'
import type { Arrival, QuicConnectionDependencies, QuicConnectionSettings, QuicServerConnection } from './quic-connection.ts'

/** Of one address: with every connection each turn of the native loop takes longer (0.3 ms with none, 2 ms with 500 idle ones). */
const MAX_CONNECTIONS = 500
/** Octets that a client may be ahead of us: four of the largest messages. */
const WINDOW = 262_144
/** How long connections may take to end before the address is bound with a new certificate. Who comes meanwhile is served with the old one. */
const REPLACE_MS = 1000
const REBIND_MS = 1000
/** How long those who have come meanwhile may take for what they have asked: some ask for the second time. Then they are cut off. */
const PATIENCE_MS = 200
const LOOK_MS = 5
const WITH_HANDSHAKE = { hasHandshake: true }

/** What DoQ and HTTP/3 are made of. */
export interface QuicTransportOptions {
  readonly engine: QuicEngine
  readonly identities: ServerIdentities
}

export interface QuicSlice {
  readonly listen: readonly ListenerSlice[]
  /** For addresses that are bound from now on: the library takes its limits once. */
  readonly connection: QuicConnectionSettings
}

export interface QuicTransportDependencies extends QuicConnectionDependencies {
  readonly acceptor: QueryAcceptor
  readonly governor: Governor
  readonly onTrouble: (error: unknown) => void
}

interface QuicListenersOptions extends QuicTransportOptions {
  /** The operator's word, for errors. */
  readonly name: string
  /** ALPN token. */
  readonly protocol: string
  /** Whether a client that may not ask is told so by its protocol; otherwise its connection ends at once. */
  readonly explainsRefusal: boolean
  readonly governor: Governor
  readonly meter: TransportMeter
  readonly serve: (quic: QuicConnection, arrival: Arrival, settings: QuicConnectionSettings) => QuicServerConnection
  /** An address could not be bound again with a new certificate; it is tried again and again. */
  readonly onTrouble: (error: unknown) => void
}

/** The addresses of one protocol on QUIC, and the connections on them. */
export class QuicListeners {
  readonly #options: QuicListenersOptions
  readonly #group: ListenerGroup
  readonly #bound = new Set<BoundAddress>()
  readonly #connections = new LiveSet<QuicServerConnection>()
  #settings: QuicConnectionSettings = { handshakeMs: 0, idleMs: 0, inFlight: 0 }
  #draining = false

  constructor(options: QuicListenersOptions) {
    this.#options = options
    this.#group = new ListenerGroup((slice) => this.#open(slice))
  }

  get endpoints(): readonly Endpoint[] {
    return this.#group.endpoints
  }

  get connections(): readonly ServedConnection[] {
    return this.#group.connections
  }

  async apply({ listen, connection }: QuicSlice): Promise<void> {
    this.#settings = connection
    await this.#group.apply(dualStack(listen))
  }

  /** The library reads a certificate once: where there is another one now, the address is bound anew. */
  async settle(deadlineMs: number): Promise<void> {
    const settled = this.#group.settle(deadlineMs)
    const { fallback } = this.#options.identities
    for (const address of this.#bound) if (!address.isBoundWith(fallback)) void address.replace()
    await settled
  }

  async rebind(endpoint: Endpoint): Promise<void> {
    await this.#group.rebind(endpoint)
    // one socket may stand for both (dualStack)
    if (endpoint.host === '0.0.0.0') await this.#group.rebind({ ...endpoint, host: '::' })
  }

  async drain(deadlineMs: number): Promise<void> {
    this.#draining = true
    for (const connection of this.#connections) connection.drain()
    await this.#connections.emptied(deadlineMs)
    await this.close()
  }

  async close(): Promise<void> {
    this.#draining = true
    await this.#group.close()
  }

  async #open(slice: ListenerSlice): Promise<Listener> {
    const { engine, identities, name, protocol } = this.#options
    const address = new BoundAddress(slice, {
      listen: (endpoint) => {
        const settings = this.#settings
        const identity = identities.fallback
        address.identity = identity
        return engine.listen({
          name,
          endpoint,
          protocol,
          identity,
          limits: { idleMs: settings.idleMs, streams: settings.inFlight, window: WINDOW },
          connections: MAX_CONNECTIONS,
          acceptor: { arrived: (quic) => this.#arrived(quic, address, { ...settings, handshakeMs: this.#settings.handshakeMs }) },
        })
      },
      onClosed: () => void this.#bound.delete(address),
      onTrouble: this.#options.onTrouble,
    })
    this.#bound.add(address)
    try {
      await address.bind()
    } catch (error) {
      this.#bound.delete(address)
      throw error
    }
    return address
  }

  #arrived(quic: QuicConnection, address: BoundAddress, settings: QuicConnectionSettings): QuicHandler | null {
    const { governor, meter, explainsRefusal, serve } = this.#options
    const text = canonicalAddress(quic.address)
    const bytes = parseAddress(text)
    if (bytes === null || this.#draining || address.isDraining) return null
    // the library does not tell for which name it was asked: a token can only come later, in a request
    const refusal = refusalOf(bytes, null, address.access)
    if (refusal !== null && !explainsRefusal) {
      meter.dropped(refusal)
      return null
    }
    meter.connectionOpened()
    let isCounted = false
    const arrival: Arrival = {
      peer: { address: text, octets: bytes, port: quic.port, holder: null, refusal },
      terms: address,
      enter: () => {
        const failure = governor.enter(bytes, WITH_HANDSHAKE)
        isCounted = failure === null
        return failure
      },
      onClosed: () => {
        this.#connections.delete(connection)
        address.forget(connection)
        if (isCounted) governor.leave(bytes)
        meter.connectionClosed()
      },
    }
    const connection = serve(quic, arrival, settings)
    this.#connections.add(connection)
    address.connections.add(connection)
    return connection
  }
}

/** The library's [::] takes IPv4 too and leaves no room for 0.0.0.0 on the same port: then it serves both, each by its own list. */
function dualStack(slices: readonly ListenerSlice[]): readonly ListenerSlice[] {
  const at = (host: string, port: number) => slices.find(({ endpoint }) => port !== 0 && endpoint.host === host && endpoint.port === port)
  return slices
    .filter(({ endpoint }) => endpoint.host !== '0.0.0.0' || at('::', endpoint.port) === undefined)
    .map((slice) => {
      if (slice.endpoint.host !== '::') return slice
      const ipv4 = at('0.0.0.0', slice.endpoint.port)
      const { access } = slice
      return {
        ...slice,
        access: { ...access, has: (address) => (isIpv4(address) ? ipv4?.access.has(address) === true : access.has(address)) },
      }
    })
}

interface BoundAddressOptions {
  readonly listen: (endpoint: Endpoint) => Promise<QuicListener>
  readonly onClosed: () => void
  readonly onTrouble: (error: unknown) => void
}

/**
 * One address. The library reads a certificate once, and binds an address once: for a new certificate the connections that are there
 * drain; then the listener is closed, with those that have come since, and bound again (a gap of milliseconds, docs/quic.md).
 */
class BoundAddress implements Listener {
  access: Access
  /** With which it was bound last. */
  identity: QuicIdentity | null = null
  readonly connections = new LiveSet<QuicServerConnection>()
  /** Those of `connections` that a new certificate waits for. */
  readonly #leaving = new LiveSet<QuicServerConnection>()
  readonly #options: BoundAddressOptions
  #endpoint: Endpoint
  #listener: QuicListener | null = null
  #replacing: Promise<void> | null = null
  /** The certificate that is served is not the newest. */
  #isStale = false
  #draining = false
  #closed = false

  constructor(slice: ListenerSlice, options: BoundAddressOptions) {
    this.access = slice.access
    this.#endpoint = slice.endpoint
    this.#options = options
  }

  get endpoint(): Endpoint {
    return this.#endpoint
  }

  /** Whether new connections are turned away: the address is given up. */
  get isDraining(): boolean {
    return this.#draining
  }

  async bind(): Promise<void> {
    this.#listener = await this.#options.listen(this.#endpoint)
    this.#endpoint = this.#listener.endpoint
  }

  forget(connection: QuicServerConnection): void {
    this.connections.delete(connection)
    this.#leaving.delete(connection)
  }

  isBoundWith({ chainPem, keyPem }: QuicIdentity): boolean {
    return this.identity?.chainPem === chainPem && this.identity.keyPem === keyPem
  }

  /** The certificate has changed. */
  async replace(): Promise<void> {
    this.#isStale = true
    if (this.#replacing !== null || this.#draining || this.#closed) return
    this.#replacing = this.#rebind()
    await this.#replacing
    this.#replacing = null
  }

  async drain(deadlineMs: number): Promise<void> {
    this.#draining = true
    await drainConnections(this.connections, deadlineMs)
    await this.close()
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#options.onClosed()
    await this.#replacing
    await this.#listener?.close()
    this.#listener = null
  }

  /** Until nobody waits for anything, or PATIENCE_MS. */
  async #calm(): Promise<void> {
    for (let waited = 0; waited < PATIENCE_MS && !this.#closed && [...this.connections].some(({ isBusy }) => isBusy); waited += LOOK_MS) {
      await sleep(LOOK_MS)
    }
  }

  async #rebind(): Promise<void> {
    for (let isTold = false; this.#isStale && !this.#closed && !this.#draining; ) {
      this.#isStale = false
      for (const connection of this.connections) {
        this.#leaving.add(connection)
        connection.drain()
      }
      await this.#leaving.emptied(REPLACE_MS)
      await this.#calm()
      await this.#listener?.close()
      this.#listener = null
      if (this.#closed || this.#draining) return
      try {
        await this.bind()
      } catch (error) {
        if (!isTold) this.#options.onTrouble(error)
        isTold = true
        this.#isStale = true
        await sleep(REBIND_MS)
      }
    }
  }
}
