import { type AddressBytes, type Endpoint, formatEndpoint } from '../net/address.ts'

/** Who may ask. */
export interface AccessList {
  has(address: AddressBytes): boolean
}

/** One address to listen on, and who may ask there. */
export interface ListenerSlice {
  readonly endpoint: Endpoint
  readonly access: AccessList
  /** Whether other threads listen there too. QUIC pays no heed to it: a connection has to stay on its thread. */
  readonly reusePort: boolean
}

/** A bound socket. `access` may be exchanged while it serves. */
export interface Listener {
  access: AccessList
  /** The bound address: the port is known even if the kernel chose it. */
  readonly endpoint: Endpoint
  /** Stops accepting; connections that are open live on. */
  close(): Promise<void>
}

/** The addresses of one transport. Those that stay are never bound again: queued connections would be reset (design §3). */
export class ListenerGroup {
  readonly #open: (slice: ListenerSlice) => Promise<Listener>
  readonly #listeners = new Map<string, Listener>()

  constructor(open: (slice: ListenerSlice) => Promise<Listener>) {
    this.#open = open
  }

  get endpoints(): readonly Endpoint[] {
    return Array.from(this.#listeners.values(), (listener) => listener.endpoint)
  }

  /** Binds what is new, then closes what is gone. When an address cannot be bound, the new ones are closed again. */
  async apply(slices: readonly ListenerSlice[]): Promise<void> {
    const wanted = byKey(slices)
    const added = new Map<string, Listener>()
    try {
      for (const [key, slice] of wanted) {
        if (!this.#listeners.has(key)) added.set(key, await this.#open(slice))
      }
    } catch (error) {
      await closeAll(added.values())
      throw error
    }
    const gone = [...this.#listeners].filter(([key]) => !wanted.has(key))
    for (const [key] of gone) this.#listeners.delete(key)
    for (const [key, listener] of added) this.#listeners.set(key, listener)
    for (const [key, slice] of wanted) {
      const listener = this.#listeners.get(key)
      if (listener !== undefined) listener.access = slice.access
    }
    await closeAll(gone.map(([, listener]) => listener))
  }

  async close(): Promise<void> {
    const all = [...this.#listeners.values()]
    this.#listeners.clear()
    await closeAll(all)
  }
}

/** By address; with port 0 one address may stand several times, each time for a port of its own. */
function byKey(slices: readonly ListenerSlice[]): ReadonlyMap<string, ListenerSlice> {
  const seen = new Map<string, number>()
  return new Map(
    slices.map((slice) => {
      const address = formatEndpoint(slice.endpoint)
      const times = seen.get(address) ?? 0
      seen.set(address, times + 1)
      return [`${address} ${times}`, slice]
    }),
  )
}

async function closeAll(listeners: Iterable<Listener>): Promise<void> {
  await Promise.all(Array.from(listeners, (listener) => listener.close()))
}
