import type { Endpoint } from '../net/address.ts'
import { isAddressMissing, listenError } from '../net/listen.ts'
import type { Access, AccessList } from './access.ts'
import type { Listener, ListenerSlice } from './listener.ts'

/** How soon an address that has appeared is served. A look costs 0.06 ms. */
const LOOK_MS = 5000
/** A minute: a link that is down for a moment takes its addresses along, and finds their sockets as it left them (ADR 22). */
const LOOKS_UNTIL_GONE = 12
/** Each is a descriptor in each worker. A machine with hundreds of containers has as many link-local addresses, which come last. */
export const MAX_ADDRESSES = 256

/** What a listener is asked on; exchanged while it serves. */
export interface ListenerTerms {
  access: Access
  proxies: AccessList | null
}

/** One socket at one address. */
export interface BoundSocket {
  readonly endpoint: Endpoint
  /** Takes nothing new; closes when everything is answered, or after `deadlineMs`. */
  drain(deadlineMs: number): Promise<void>
  /** May be called any number of times. What is not answered yet is dropped. */
  close(): Promise<void>
}

/** Hears what becomes of addresses while the gateway serves. Must not throw. */
export interface AddressObserver {
  /** An address has appeared, and is served. */
  appeared(endpoint: Endpoint): void
  /** An address has been gone for a minute, and has no socket any more. */
  vanished(endpoint: Endpoint): void
  /** An address has no socket, or the addresses cannot be read (then the wildcard is named). It is tried at every look, and told once. */
  failed(endpoint: Endpoint, error: unknown): void
  /** `left` addresses are not served, because there are more than MAX_ADDRESSES. Told once. */
  crowded(endpoint: Endpoint, left: number): void
}

interface WildcardOptions {
  /** Those of the machine, of this family. May throw: it needs a descriptor. */
  readonly addresses: () => readonly string[]
  /** Whether an address is configured by its name, and so has a listener of its own. */
  readonly isNamed: (endpoint: Endpoint) => boolean
  /** Rejects with ATLAS_LISTEN. */
  readonly bind: (endpoint: Endpoint, terms: ListenerTerms) => Promise<BoundSocket>
  readonly observer: AddressObserver
  readonly watch: AddressWatch
}

interface Place {
  readonly socket: BoundSocket
  /** For how many looks in a row the machine has not had the address. */
  missed: number
}

/**
 * 0.0.0.0 or [::] for datagrams: a socket for each address of the machine. With one for all, the system chooses the source of an
 * answer by its routes, where RFC 2181 §4.1 asks for the address that the question was sent to.
 */
export class WildcardListener implements Listener {
  access: Access
  proxies: AccessList | null
  readonly connections = []
  readonly #options: WildcardOptions
  readonly #places = new Map<string, Place>()
  /** Whose failure is told. */
  readonly #told = new Set<string>()
  #isCrowded = false
  #endpoint: Endpoint
  #looking: Promise<void> | null = null
  #isOver = false

  private constructor({ endpoint, access, proxies = null }: ListenerSlice, options: WildcardOptions) {
    this.#endpoint = endpoint
    this.access = access
    this.proxies = proxies
    this.#options = options
  }

  /** Rejects with ATLAS_LISTEN where an address that is there cannot be bound; then none is. */
  static async open(slice: ListenerSlice, options: WildcardOptions): Promise<WildcardListener> {
    const listener = new WildcardListener(slice, options)
    try {
      // what is gone again, or not yet certain to be nobody else's (RFC 4862 §5.4), may come with a later look
      await listener.#bindNew(listener.#presentAtStart(), { mayFail: isAddressMissing })
    } catch (error) {
      await listener.close()
      throw error
    }
    options.watch.add(listener)
    return listener
  }

  get endpoint(): Endpoint {
    return this.#endpoint
  }

  /** Binds what has appeared, and closes what has long gone. Never rejects. */
  look(): Promise<void> {
    return this.#alone(() => this.#look())
  }

  /** Binds every address anew; what cannot be is tried again at the next look, and keeps no other from being served. Never rejects. */
  async rebind(): Promise<void> {
    await this.#looking
    await this.#alone(async () => {
      await this.#closeAll()
      const hosts = Array.from(this.#places).flatMap(([host, { missed }]) => (missed === 0 ? [host] : []))
      this.#places.clear()
      await this.#bindNew(hosts, { mayFail: () => true })
    })
  }

  async close(): Promise<void> {
    await this.#leave()
    await this.#closeAll()
  }

  async drain(deadlineMs: number): Promise<void> {
    await this.#leave()
    await Promise.all(Array.from(this.#places.values(), ({ socket }) => socket.drain(deadlineMs)))
  }

  /** Unless something is under way: then that is waited for. */
  #alone(work: () => Promise<void>): Promise<void> {
    this.#looking ??= work().finally(() => (this.#looking = null))
    return this.#looking
  }

  async #leave(): Promise<void> {
    this.#isOver = true
    this.#options.watch.delete(this)
    await this.#looking
  }

  async #closeAll(): Promise<void> {
    await Promise.all(Array.from(this.#places.values(), ({ socket }) => socket.close()))
  }

  #presentAtStart(): readonly string[] {
    try {
      return this.#options.addresses()
    } catch (error) {
      throw listenError('dns (UDP)', this.#endpoint, error)
    }
  }

  async #look(): Promise<void> {
    const { addresses, observer } = this.#options
    let present: readonly string[]
    try {
      present = addresses()
    } catch (error) {
      this.#tell(this.#endpoint, error)
      return
    }
    await this.#closeGone(new Set(present))
    await this.#bindNew(present, { mayFail: () => true, onBound: (endpoint) => observer.appeared(endpoint) })
  }

  async #closeGone(present: ReadonlySet<string>): Promise<void> {
    for (const host of this.#told) if (!present.has(host)) this.#told.delete(host)
    for (const [host, place] of this.#places) {
      place.missed = present.has(host) ? 0 : place.missed + 1
      if (place.missed < LOOKS_UNTIL_GONE) continue
      this.#places.delete(host)
      await place.socket.close()
      this.#options.observer.vanished(place.socket.endpoint)
    }
  }

  async #bindNew(
    present: readonly string[],
    { mayFail, onBound }: { mayFail: (error: unknown) => boolean; onBound?: (endpoint: Endpoint) => void },
  ): Promise<void> {
    for (const host of this.#withinBound(present)) {
      if (this.#isOver) return
      const endpoint = { host, port: this.#endpoint.port }
      try {
        const socket = await this.#options.bind(endpoint, this)
        this.#places.set(host, { socket, missed: 0 })
        // where the kernel is to choose the port, the first socket has it choose for all
        this.#endpoint = { host: this.#endpoint.host, port: socket.endpoint.port }
        this.#told.delete(host)
        onBound?.(socket.endpoint)
      } catch (error) {
        if (!mayFail(error)) throw error
        this.#tell(endpoint, error)
      }
    }
  }

  /** Those that have no socket and are to have one. */
  #withinBound(present: readonly string[]): readonly string[] {
    const { port } = this.#endpoint
    const missing = present.filter((host) => !this.#places.has(host) && !this.#options.isNamed({ host, port }))
    const room = MAX_ADDRESSES - this.#places.size
    const left = missing.length - room
    if (left > 0 && !this.#isCrowded) this.#options.observer.crowded(this.#endpoint, left)
    this.#isCrowded = left > 0
    return missing.slice(0, room)
  }

  #tell(endpoint: Endpoint, error: unknown): void {
    if (this.#told.has(endpoint.host)) return
    this.#told.add(endpoint.host)
    this.#options.observer.failed(endpoint, error)
  }
}

/** One timer for all wildcards of a transport, and none where there is no wildcard. */
export class AddressWatch {
  readonly #listeners = new Set<WildcardListener>()
  #timer: NodeJS.Timeout | null = null

  add(listener: WildcardListener): void {
    this.#listeners.add(listener)
    this.#timer ??= setInterval(() => {
      for (const each of this.#listeners) void each.look()
    }, LOOK_MS).unref()
  }

  delete(listener: WildcardListener): void {
    this.#listeners.delete(listener)
    if (this.#listeners.size > 0 || this.#timer === null) return
    clearInterval(this.#timer)
    this.#timer = null
  }

  /** The wildcard that is bound as `endpoint`. */
  find({ host, port }: Endpoint): WildcardListener | undefined {
    return [...this.#listeners].find(({ endpoint }) => endpoint.host === host && endpoint.port === port)
  }
}
