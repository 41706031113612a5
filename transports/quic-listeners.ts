import { setTimeout as sleep } from 'node:timers/promises'
import type { TransportMeter } from '../dns/contracts.ts'
import { Failure } from '../dns/failure.ts'
import { type AddressBytes, canonicalAddress, type Endpoint, parseAddress } from '../net/address.ts'
import { LiveSet } from '../net/live-set.ts'
import type { QuicConnection, QuicEngine, QuicHandler, QuicListener } from '../net/quic.ts'
import type { ServerIdentities } from '../net/tls.ts'
import type { ConnectionLimit } from './connection-limit.ts'
import { type Listener, ListenerGroup, type ListenerSlice } from './listener.ts'
import type { QuicConnectionSettings, QuicServerConnection } from './quic-connection.ts'
import type { Peer } from './stream-listener.ts'

/** Of one address: with every connection each turn of the native loop takes longer (0.3 ms with none, 2 ms with 500 idle ones). */
const MAX_CONNECTIONS = 500
/** Octets that a client may be ahead of us: four of the largest messages. */
const WINDOW = 262_144
/** How long connections may take to end before a listener with a new certificate takes their place. */
const REPLACE_MS = 1000
const REBIND_MS = 1000

export interface QuicListenersOptions {
  /** The operator's word, for errors. */
  readonly name: string
  /** ALPN token. */
  readonly protocol: string
  /** Whether a client that may not ask is told so by its protocol; otherwise its connection ends at once. */
  readonly explainsRefusal: boolean
  readonly engine: QuicEngine
  readonly identities: ServerIdentities
  readonly settings: QuicConnectionSettings
  readonly limit: ConnectionLimit
  readonly meter: TransportMeter
  readonly serve: (quic: QuicConnection, peer: Peer, onClosed: () => void) => QuicServerConnection
}

/** The addresses of one protocol on QUIC, and the connections on them. */
export class QuicListeners {
  readonly #options: QuicListenersOptions
  readonly #group: ListenerGroup
  readonly #bound = new Set<BoundAddress>()
  readonly #connections = new LiveSet<QuicServerConnection>()
  readonly #stopFollowing: () => void
  #draining = false

  constructor(options: QuicListenersOptions) {
    this.#options = options
    this.#group = new ListenerGroup((slice) => this.#open(slice))
    this.#stopFollowing = options.identities.onReplaced(() => {
      for (const address of this.#bound) void address.replace()
    })
  }

  get endpoints(): readonly Endpoint[] {
    return this.#group.endpoints
  }

  async apply(slices: readonly ListenerSlice[]): Promise<void> {
    await this.#group.apply(slices)
  }

  async drain(deadlineMs: number): Promise<void> {
    this.#draining = true
    for (const connection of this.#connections) connection.drain()
    await this.#connections.emptied(deadlineMs)
    await this.close()
  }

  async close(): Promise<void> {
    this.#draining = true
    this.#stopFollowing()
    await this.#group.close()
  }

  async #open(slice: ListenerSlice): Promise<Listener> {
    const { engine, identities, settings, name, protocol } = this.#options
    const address = new BoundAddress(slice, {
      listen: (endpoint) =>
        engine.listen({
          name,
          endpoint,
          protocol,
          identity: identities.fallback,
          limits: { idleMs: settings.idleMs, streams: settings.inFlight, window: WINDOW },
          connections: MAX_CONNECTIONS,
          acceptor: { arrived: (quic) => this.#arrived(quic, address) },
        }),
      onClosed: () => void this.#bound.delete(address),
    })
    await address.bind()
    this.#bound.add(address)
    return address
  }

  #arrived(quic: QuicConnection, address: BoundAddress): QuicHandler | null {
    const { limit, meter, explainsRefusal, serve } = this.#options
    const text = canonicalAddress(quic.address)
    const bytes = parseAddress(text)
    if (bytes === null || this.#draining || address.isReplacing) return null
    const admitted = address.access.has(bytes)
    const failure = refusal({ admitted: admitted || explainsRefusal, bytes, limit })
    if (failure !== null) {
      meter.dropped(failure)
      return null
    }
    meter.connectionOpened()
    const connection = serve(quic, { address: text, port: quic.port, admitted }, () => {
      this.#connections.delete(connection)
      address.connections.delete(connection)
      limit.release(bytes)
      meter.connectionClosed()
    })
    this.#connections.add(connection)
    address.connections.add(connection)
    return connection
  }
}

function refusal({ admitted, bytes, limit }: { admitted: boolean; bytes: AddressBytes; limit: ConnectionLimit }): Failure | null {
  if (!admitted) return Failure.access_denied
  return limit.acquire(bytes) ? null : Failure.connection_limit
}

/**
 * One address. The library reads a certificate once, and binds an address once: for a new certificate the connections are
 * drained, the listener is closed and bound again (a gap of milliseconds, docs/quic.md).
 */
class BoundAddress implements Listener {
  access: ListenerSlice['access']
  readonly connections = new LiveSet<QuicServerConnection>()
  readonly #options: { listen: (endpoint: Endpoint) => Promise<QuicListener>; onClosed: () => void }
  #endpoint: Endpoint
  #listener: QuicListener | null = null
  #replacing: Promise<void> | null = null
  #closed = false

  constructor(slice: ListenerSlice, options: { listen: (endpoint: Endpoint) => Promise<QuicListener>; onClosed: () => void }) {
    this.access = slice.access
    this.#endpoint = slice.endpoint
    this.#options = options
  }

  get endpoint(): Endpoint {
    return this.#endpoint
  }

  get isReplacing(): boolean {
    return this.#replacing !== null
  }

  async bind(): Promise<void> {
    this.#listener = await this.#options.listen(this.#endpoint)
    this.#endpoint = this.#listener.endpoint
  }

  async replace(): Promise<void> {
    if (this.#replacing !== null || this.#closed) return
    this.#replacing = this.#rebind()
    await this.#replacing
    this.#replacing = null
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#options.onClosed()
    await this.#replacing
    await this.#listener?.close()
    this.#listener = null
  }

  async #rebind(): Promise<void> {
    for (const connection of this.connections) connection.drain()
    await this.connections.emptied(REPLACE_MS)
    await this.#listener?.close()
    this.#listener = null
    while (!this.#closed) {
      try {
        await this.bind()
        return
      } catch {
        // somebody else has taken the port in the gap
        await sleep(REBIND_MS)
      }
    }
  }
}
