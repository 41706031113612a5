import type { Client } from '../../dns/contracts.ts'
import { type AddressBytes, parseAddress } from '../../net/address.ts'
import { CONTRADICTION, forwardedAddress } from './forwarded.ts'
import type { DohRules, RequestHead } from './request.ts'

/** Whether a listener's access list has an address. */
export type Admits = (address: AddressBytes) => boolean

/** Who asks on a connection: its client, or those whom a trusted proxy names. Nothing sticks: each request says it anew. */
export class ConnectionClient {
  readonly client: Client
  readonly #admits: Admits
  #rules: DohRules | null = null
  #isTrusted = false
  /** The last one that was named: proxies ask for the same clients again and again. */
  #named: Client

  constructor(client: Client, admits: Admits) {
    this.client = client
    this.#admits = admits
    this.#named = client
  }

  /** Whether what this connection says about clients counts. */
  isTrusted(rules: DohRules): boolean {
    if (this.#rules !== rules) {
      this.#rules = rules
      this.#isTrusted = rules.offer.trustedProxies.has(this.client.octets)
    }
    return this.#isTrusted
  }

  /** Null: the request contradicts itself. */
  of(head: RequestHead, rules: DohRules): Client | null {
    if (!this.isTrusted(rules) || (head.forwardedFor === '' && head.forwarded === '')) return this.client
    const address = forwardedAddress(head, this.client.address, rules.offer.trustedProxies)
    if (address === CONTRADICTION) return null
    if (address === null || address === this.client.address) return this.client
    const octets = address === this.#named.address ? this.#named.octets : parseAddress(address)
    if (octets === null) return this.client
    // the access list may have changed since, while the proxy keeps its connection
    const admitted = this.#admits(octets)
    if (octets !== this.#named.octets || admitted !== this.#named.admitted)
      this.#named = { ...this.client, address, octets, port: 0, admitted }
    return this.#named
  }
}
