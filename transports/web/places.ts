import type { Client } from '../../dns/contracts.ts'
import { clientKey } from '../../net/address.ts'

/** How many may be at something, in all and of one client: nobody takes all places. */
export class Places {
  readonly #total: number
  readonly #perClient: number
  readonly #clients = new Map<string, number>()
  #taken = 0

  constructor(total: number, perClient: number) {
    this.#total = total
    this.#perClient = perClient
  }

  get taken(): number {
    return this.#taken
  }

  take({ octets }: Client): boolean {
    const key = clientKey(octets)
    const own = this.#clients.get(key) ?? 0
    if (this.#taken >= this.#total || own >= this.#perClient) return false
    this.#taken++
    this.#clients.set(key, own + 1)
    return true
  }

  giveBack({ octets }: Client): void {
    const key = clientKey(octets)
    const own = this.#clients.get(key) ?? 0
    this.#taken--
    if (own > 1) this.#clients.set(key, own - 1)
    else this.#clients.delete(key)
  }
}
