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

  take(address: string): boolean {
    const own = this.#clients.get(address) ?? 0
    if (this.#taken >= this.#total || own >= this.#perClient) return false
    this.#taken++
    this.#clients.set(address, own + 1)
    return true
  }

  giveBack(address: string): void {
    const own = this.#clients.get(address) ?? 0
    this.#taken--
    if (own > 1) this.#clients.set(address, own - 1)
    else this.#clients.delete(address)
  }
}
