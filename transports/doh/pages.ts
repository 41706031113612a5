import { type ProxyOptions, ReverseProxy } from '../web/proxy.ts'

/** The proxy that is configured, and those before it until their last exchange has ended. */
export class Pages {
  /** Null: nobody serves pages. */
  present: ReverseProxy | null = null
  readonly #options: Omit<ProxyOptions, 'origin'>
  #origin: string | null = null
  #former: ReverseProxy[] = []

  constructor({ clock, wheel, observer, count }: Omit<ProxyOptions, 'origin'>) {
    this.#options = { clock, wheel, observer, count }
  }

  /** From now on with this origin; null: nobody. */
  async serve(origin: string | null): Promise<void> {
    if (origin === this.#origin) return
    const next = origin === null ? null : await ReverseProxy.open({ ...this.#options, origin: new URL(origin) })
    if (this.present !== null) this.#former.push(this.present)
    this.#origin = origin
    this.present = next
  }

  /** Ends those before the present one, at the latest after `deadlineMs`. */
  async settle(deadlineMs: number): Promise<void> {
    const former = this.#former
    this.#former = []
    await Promise.all(former.map((proxy) => proxy.drain(deadlineMs)))
  }

  /** Ends all, each when its last response has ended, at the latest after `deadlineMs`. */
  async drain(deadlineMs: number): Promise<void> {
    await Promise.all([this.settle(deadlineMs), this.present?.drain(deadlineMs)])
  }

  async close(): Promise<void> {
    const all = [...this.#former, ...(this.present === null ? [] : [this.present])]
    this.#former = []
    this.present = null
    this.#origin = null
    await Promise.all(all.map((proxy) => proxy.close()))
  }
}
