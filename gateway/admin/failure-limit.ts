import { clientKey, parseAddress } from '../../net/address.ts'
import type { Clock } from '../../net/clock.ts'

/** A person who mistypes needs fewer; who guesses gets 7,200 a day, of at least 94^16. */
const MAX_FAILURES = 5
const WINDOW_MS = 60_000
/** Who comes from more addresses than that finds the oldest forgotten, and is no nearer to the token. */
const MAX_ADDRESSES = 1_024

interface Window {
  readonly ends: number
  failures: number
}

/** How often each address has shown a wrong token lately. */
export class FailureLimit {
  readonly #clock: Clock
  /** In the order in which they end. */
  readonly #windows = new Map<string, Window>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Seconds until the address may try again; 0: it may. */
  waitSeconds(address: string): number {
    const window = this.#current(keyOf(address))
    return window === null || window.failures < MAX_FAILURES ? 0 : Math.ceil((window.ends - this.#clock()) / 1_000)
  }

  count(address: string): void {
    const key = keyOf(address)
    const window = this.#current(key)
    if (window !== null) {
      window.failures++
      return
    }
    const [oldest] = this.#windows.keys()
    if (this.#windows.size >= MAX_ADDRESSES && oldest !== undefined) this.#windows.delete(oldest)
    this.#windows.set(key, { ends: this.#clock() + WINDOW_MS, failures: 1 })
  }

  #current(key: string): Window | null {
    const window = this.#windows.get(key)
    if (window === undefined) return null
    if (this.#clock() < window.ends) return window
    this.#windows.delete(key)
    return null
  }
}

function keyOf(text: string): string {
  const address = parseAddress(text)
  return address === null ? text : clientKey(address)
}
