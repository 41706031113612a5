import type { Client } from '../../dns/contracts.ts'
import { parseAddress } from '../../net/address.ts'
import { type Access, type AccessTerms, refusalOf } from '../access.ts'
import { CONTRADICTION, forwardedAddress } from './forwarded.ts'
import type { DohRules, RequestHead } from './request.ts'

/** Who asks on a connection: its client, or those whom a trusted proxy names. Nothing sticks: each request says it anew. */
export class ConnectionClient {
  readonly client: Client
  readonly #terms: AccessTerms
  #rules: DohRules | null = null
  #isTrusted = false
  /** The last one that was named: proxies ask for the same clients again and again. */
  #named: Client
  /** The last one with the token of a request. */
  #shown: { readonly client: Client; readonly token: string; readonly access: Access; readonly asking: Client } | null = null

  constructor(client: Client, terms: AccessTerms) {
    this.client = client
    this.#terms = terms
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
    const refusal = refusalOf(octets, this.client.holder, this.#terms.access)
    if (octets !== this.#named.octets || refusal !== this.#named.refusal)
      this.#named = { ...this.client, address, octets, port: 0, refusal }
    return this.#named
  }

  /** `client` with the token that came with its request, '' for none. */
  holding(client: Client, token: string): Client {
    const { access } = this.#terms
    // its certificate says who it is
    if (token === '' || access.clientCa != null) return client
    const last = this.#shown
    if (last !== null && last.client === client && last.token === token && last.access === access) return last.asking
    const holder = access.tokens?.holderOf(token) ?? null
    const asking = { ...client, holder, refusal: refusalOf(client.octets, holder, access) }
    this.#shown = { client, token, access, asking }
    return asking
  }
}
