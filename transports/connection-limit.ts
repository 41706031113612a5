/** Connections of all clients together; each costs a descriptor and about 60 kB with TLS. */
const MAX_CONNECTIONS = 20_000

/** Counts open connections by client address; one for all stream transports, so that a client cannot have the limit once per port. */
export class ConnectionLimit {
  readonly #open = new Map<string, number>()
  #total = 0
  #perClient: number

  constructor(perClient: number) {
    this.#perClient = perClient
  }

  reconfigure(perClient: number): void {
    this.#perClient = perClient
  }

  /** False when the client, or the gateway, has as many connections as it may. */
  acquire(address: string): boolean {
    const open = this.#open.get(address) ?? 0
    if (open >= this.#perClient || this.#total >= MAX_CONNECTIONS) return false
    this.#open.set(address, open + 1)
    this.#total++
    return true
  }

  release(address: string): void {
    const open = this.#open.get(address) ?? 0
    if (open <= 1) this.#open.delete(address)
    else this.#open.set(address, open - 1)
    this.#total--
  }
}
