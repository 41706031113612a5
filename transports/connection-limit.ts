import { type AddressBytes, formatAddress, isIpv4 } from '../net/address.ts'

/** Connections of all clients together; each costs a descriptor and about 60 kB with TLS. */
const MAX_CONNECTIONS = 20_000

/** RFC 4291 §2.5.4: one host, or one household, has a /64 to choose addresses from. */
const IPV6_HOST_OCTETS = 8

/** Counts open connections by client: an IPv4 address or an IPv6 /64; one for all stream transports, so that a client cannot have the limit once per port. */
export class ConnectionLimit {
  readonly #open = new Map<string, number>()
  #total = 0
  readonly #perClient: number

  constructor(perClient: number) {
    this.#perClient = perClient
  }

  /** False when the client, or the gateway, has as many connections as it may. */
  acquire(address: AddressBytes): boolean {
    const client = clientOf(address)
    const open = this.#open.get(client) ?? 0
    if (open >= this.#perClient || this.#total >= MAX_CONNECTIONS) return false
    this.#open.set(client, open + 1)
    this.#total++
    return true
  }

  release(address: AddressBytes): void {
    const client = clientOf(address)
    const open = this.#open.get(client) ?? 0
    if (open <= 1) this.#open.delete(client)
    else this.#open.set(client, open - 1)
    this.#total--
  }
}

function clientOf(address: AddressBytes): string {
  if (isIpv4(address)) return formatAddress(address)
  return formatAddress(Uint8Array.from(address).fill(0, IPV6_HOST_OCTETS))
}
