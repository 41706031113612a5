import type { Client } from '../dns/contracts.ts'
import { type Endpoint, formatEndpoint } from '../net/address.ts'
import type { LiveSet } from '../net/live-set.ts'
import { type Access, type AccessList, refusalOf } from './access.ts'
import type { Workload } from './workload.ts'

/** One address to listen on, and who may ask there. */
export interface ListenerSlice {
  readonly endpoint: Endpoint
  readonly access: Access
  /** Without TLS, behind a proxy that has it. Of DoH only. */
  readonly cleartext?: boolean
  /** Who says by the PROXY protocol for whom it speaks, and has to; null: nobody, clients come by themselves. Not of QUIC. */
  readonly proxies?: AccessList | null
  /** Whether other threads listen there too. QUIC pays no heed to it: a connection has to stay on its thread. */
  readonly reusePort: boolean
}

/** A client's connection, as its listener sees it. */
export interface ServedConnection {
  readonly client: Client
  readonly workload: Workload
  /** Octets that wait for the client to take them, or for the rest of a request. */
  readonly held: number
  /** Answers what is open, takes nothing new, ends. */
  drain(): void
  /** Ends at once. */
  close(): void
}

/** A bound socket. What it asks of connections that come may be exchanged while it serves. */
export interface Listener {
  access: Access
  cleartext?: boolean
  proxies?: AccessList | null
  /** The bound address: the port is known even if the kernel chose it. */
  readonly endpoint: Endpoint
  /** None on UDP. */
  readonly connections: Iterable<ServedConnection>
  /** Stops accepting; connections that are open live on. */
  close(): Promise<void>
  /** Stops accepting, and what is open ends: by itself, or when `deadlineMs` are over. */
  drain(deadlineMs: number): Promise<void>
}

interface Place {
  /** With the true port, once that is known. */
  slice: ListenerSlice
  /** Null: it could not be bound anew. */
  listener: Listener | null
  /** Those before it that did not answer; connections that came in there may live on. */
  former: readonly Listener[]
}

/** The addresses of one transport. Those that stay are never bound again: queued connections would be reset (design §3). */
export class ListenerGroup {
  readonly #open: (slice: ListenerSlice) => Promise<Listener>
  #places: ReadonlyMap<string, Place> = new Map()
  /** Not wanted any more, and open until settle(). */
  #retired: readonly Place[] = []
  /** What came in there is being answered. */
  readonly #draining = new Set<Listener>()

  constructor(open: (slice: ListenerSlice) => Promise<Listener>) {
    this.#open = open
  }

  get endpoints(): readonly Endpoint[] {
    return Array.from(this.#places.values(), ({ slice }) => slice.endpoint)
  }

  /** All that are open, those too whose listener is about to end. */
  get connections(): readonly ServedConnection[] {
    const places = [...this.#places.values(), ...this.#retired].flatMap(listenersOf)
    return [...places, ...this.#draining].flatMap(({ connections }) => [...connections])
  }

  /**
   * Binds what is new. What is gone stays open until settle(): until then the former slices can be brought back without binding
   * anything. When an address cannot be bound, the new ones are closed again and nothing has changed.
   */
  async apply(slices: readonly ListenerSlice[]): Promise<void> {
    const wanted = byKey(slices)
    const kept = this.#known(wanted)
    const places = new Map<string, Place>()
    try {
      for (const [key, slice] of wanted) places.set(key, kept.get(key) ?? (await this.#bind(slice)))
    } catch (error) {
      await closeAll([...places].filter(([key]) => !kept.has(key)).map(([, place]) => place))
      throw error
    }
    for (const [key, slice] of wanted) exchangeTerms(places.get(key), slice)
    const stays = new Set(places.values())
    this.#retired = [...this.#places.values(), ...this.#retired].filter((place) => !stays.has(place))
    this.#places = places
  }

  /** What apply() left out ends, and so do the connections whose clients may ask no longer, or now may. */
  async settle(deadlineMs: number): Promise<void> {
    const retired = this.#retired
    this.#retired = []
    for (const place of this.#places.values()) for (const listener of listenersOf(place)) drainStrangers(listener)
    await Promise.all(retired.flatMap(listenersOf).map((listener) => this.#drain(listener, deadlineMs)))
  }

  /** Binds an address anew whose socket does not answer. Rejects when that cannot be; it can be tried again. */
  async rebind(endpoint: Endpoint): Promise<void> {
    const place = [...this.#places.values()].find((each) => isAt(each, endpoint))
    if (place === undefined) return
    const { listener } = place
    place.listener = null
    place.former = [...place.former, ...(listener === null ? [] : [listener])].filter((each) => each === listener || hasConnections(each))
    await listener?.close()
    place.listener = await this.#open(place.slice)
  }

  async close(): Promise<void> {
    const all = [...this.#places.values(), ...this.#retired]
    this.#places = new Map()
    this.#retired = []
    await Promise.all([closeAll(all), ...Array.from(this.#draining, (listener) => listener.close())])
  }

  /** Those of `wanted` that are open: at their address, or where the kernel chose the port, at their place in the list. */
  #known(wanted: ReadonlyMap<string, ListenerSlice>): ReadonlyMap<string, Place> {
    const free = new Set([...this.#places.values(), ...this.#retired])
    const known = new Map<string, Place>()
    const take = (key: string, place: Place | undefined): void => {
      if (place !== undefined && free.delete(place)) known.set(key, place)
    }
    for (const [key, { endpoint }] of wanted)
      if (endpoint.port !== 0)
        take(
          key,
          [...free].find((place) => isAt(place, endpoint)),
        )
    for (const [key, { endpoint }] of wanted) if (endpoint.port === 0) take(key, this.#places.get(key))
    return known
  }

  async #bind(slice: ListenerSlice): Promise<Place> {
    const listener = await this.#open(slice)
    return { slice: { ...slice, endpoint: listener.endpoint }, listener, former: [] }
  }

  async #drain(listener: Listener, deadlineMs: number): Promise<void> {
    this.#draining.add(listener)
    await listener.drain(deadlineMs)
    this.#draining.delete(listener)
  }
}

/** Ends what came in at `listener`, for its drain(): what is left after `deadlineMs` at once. */
export async function drainConnections(connections: LiveSet<ServedConnection>, deadlineMs: number): Promise<void> {
  for (const connection of connections) connection.drain()
  await connections.emptied(deadlineMs)
  for (const connection of connections) connection.close()
}

function exchangeTerms(place: Place | undefined, { access, cleartext = false, proxies = null }: ListenerSlice): void {
  if (place === undefined) return
  place.slice = { ...place.slice, access, cleartext, proxies }
  for (const listener of listenersOf(place)) {
    listener.access = access
    listener.cleartext = cleartext
    listener.proxies = proxies
  }
}

function listenersOf({ listener, former }: Place): readonly Listener[] {
  return listener === null ? former : [listener, ...former]
}

function hasConnections({ connections }: Listener): boolean {
  for (const _ of connections) return true
  return false
}

/** What a client may do was decided when it came. */
function drainStrangers({ connections, access }: Listener): void {
  for (const connection of connections) {
    const { octets, holder, refusal } = connection.client
    if (refusalOf(octets, holder, access) !== refusal) connection.drain()
  }
}

function isAt({ slice }: Place, { host, port }: Endpoint): boolean {
  return slice.endpoint.port === port && slice.endpoint.host === host
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

async function closeAll(places: readonly Place[]): Promise<void> {
  await Promise.all(places.flatMap(listenersOf).map((listener) => listener.close()))
}
