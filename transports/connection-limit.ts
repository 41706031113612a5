import { ADDRESS_LENGTH, IPV4_AT, isIpv4 } from '../dns/address.ts'
import type { AddressBytes } from '../net/address.ts'
import { AddressHash, drawHashKey, HASH_KEY_BYTES } from '../net/address-hash.ts'

/** Connections of all clients together; each costs a descriptor and about 60 kB with TLS. */
const MAX_CONNECTIONS = 20_000

/** RFC 4291 §2.5.4: one host, or one household, has a /64 to choose addresses from. */
const IPV6_HOST_OCTETS = 8

/** Rows of counters; a client has a counter in each, at a place of its own. */
const ROWS = 4
/** As many places as 16 bits name: the hash of a client is its four places. */
const ROW_LENGTH = 65_536
const PLACES = ROWS * ROW_LENGTH
const COUNTS_BYTES = PLACES * Uint16Array.BYTES_PER_ELEMENT
const SLAB_BYTES = COUNTS_BYTES + Int32Array.BYTES_PER_ELEMENT

/** What the threads count in together: a random key, and half a megabyte for each of them. */
export function allocateConnections(workers: number): SharedArrayBuffer {
  const shared = new SharedArrayBuffer(HASH_KEY_BYTES + workers * SLAB_BYTES)
  drawHashKey(shared)
  return shared
}

/** Forgets the connections of a thread that has ended. */
export function forgetConnections(shared: SharedArrayBuffer, worker: number): void {
  new Uint8Array(shared, HASH_KEY_BYTES + worker * SLAB_BYTES, SLAB_BYTES).fill(0)
}

interface ConnectionLimitOptions {
  readonly shared: SharedArrayBuffer
  /** The index of this thread. */
  readonly worker: number
  readonly perClient: number
}

/**
 * Counts open connections by client, an IPv4 address or an IPv6 /64, over all stream transports and all threads: the kernel
 * spreads the connections of one client over them. Each thread writes to a slab of its own, so that what a thread held that
 * died can be forgotten.
 *
 * No table of clients, but a count-min sketch: a client's count is the least of its counters, which it may have in common
 * with others; so the count may be too high, never too low. A client is refused for the sake of others only when it meets
 * heavy ones in all four rows. With 20,000 connections open and 100 allowed that needs 200 clients at their limit, and four
 * times a chance of 0.3 %; with 1 allowed, all 20,000 being others', the chance is 0.5 %. The places depend on a random key,
 * so that nobody can choose addresses that meet somebody else's.
 */
export class ConnectionLimit {
  readonly #hash: AddressHash
  readonly #own: Slab
  readonly #slabs: readonly Slab[]
  /** Of those that come from now on. */
  perClient: number
  /** The places of the client in question: an array of its own would be made for each connection. */
  readonly #places = new Uint32Array(ROWS)

  constructor({ shared, worker, perClient }: ConnectionLimitOptions) {
    const workers = (shared.byteLength - HASH_KEY_BYTES) / SLAB_BYTES
    this.#hash = new AddressHash(shared)
    this.#slabs = Array.from({ length: workers }, (_, index) => new Slab(shared, HASH_KEY_BYTES + index * SLAB_BYTES))
    this.#own = this.#slabs[worker] as Slab
    this.perClient = perClient
  }

  /** False when the client, or the gateway, has as many connections as it may. */
  acquire(address: AddressBytes): boolean {
    this.#locate(address)
    // counted first: of two threads that look at once, both see the other's
    this.#own.add(this.#places, 1)
    if (this.#total() <= MAX_CONNECTIONS && this.#ofClient() <= this.perClient) return true
    this.#own.add(this.#places, -1)
    return false
  }

  release(address: AddressBytes): void {
    this.#locate(address)
    this.#own.add(this.#places, -1)
  }

  #total(): number {
    let total = 0
    for (let i = 0; i < this.#slabs.length; i++) total += (this.#slabs[i] as Slab).total
    return total
  }

  #ofClient(): number {
    let least = MAX_CONNECTIONS
    for (let row = 0; row < ROWS; row++) {
      let count = 0
      for (let i = 0; i < this.#slabs.length; i++) count += (this.#slabs[i] as Slab).at(this.#places[row] as number)
      least = Math.min(least, count)
    }
    return least
  }

  #locate(address: AddressBytes): void {
    const hash = this.#hash
    hash.clear()
    if (isIpv4(address)) hash.add(address, IPV4_AT, ADDRESS_LENGTH)
    else hash.add(address, 0, IPV6_HOST_OCTETS)
    const { low, high } = hash
    this.#places[0] = low & 0xffff
    this.#places[1] = ROW_LENGTH + (low >>> 16)
    this.#places[2] = 2 * ROW_LENGTH + (high & 0xffff)
    this.#places[3] = 3 * ROW_LENGTH + (high >>> 16)
  }
}

/** The counters of one thread. */
class Slab {
  readonly #counts: Uint16Array
  readonly #total: Int32Array

  constructor(shared: SharedArrayBuffer, offset: number) {
    this.#counts = new Uint16Array(shared, offset, PLACES)
    this.#total = new Int32Array(shared, offset + COUNTS_BYTES, 1)
  }

  get total(): number {
    return Atomics.load(this.#total, 0)
  }

  at(place: number): number {
    return Atomics.load(this.#counts, place)
  }

  add(places: Uint32Array, amount: number): void {
    Atomics.add(this.#total, 0, amount)
    for (let row = 0; row < ROWS; row++) Atomics.add(this.#counts, places[row] as number, amount)
  }
}
