import type { Clock } from '../../net/clock.ts'

interface Wait {
  readonly ms: number
  readonly until: number
}

/** How often something may be done that may not help: each wait is twice the one before, until nobody wanted it for the longest wait. */
export class Patience {
  readonly #clock: Clock
  readonly #firstMs: number
  readonly #longestMs: number
  /** By what it is done to. */
  readonly #waits = new Map<string, Wait>()

  constructor(clock: Clock, { firstMs, longestMs }: { readonly firstMs: number; readonly longestMs: number }) {
    this.#clock = clock
    this.#firstMs = firstMs
    this.#longestMs = longestMs
  }

  mustWait(key: string): boolean {
    return this.#clock() < (this.#waits.get(key)?.until ?? 0)
  }

  /** It is done now. */
  begin(key: string): void {
    const now = this.#clock()
    const before = this.#waits.get(key)
    const isForgotten = before === undefined || now - before.until >= this.#longestMs
    const ms = isForgotten ? this.#firstMs : Math.min(2 * before.ms, this.#longestMs)
    this.#waits.set(key, { ms, until: now + ms })
  }

  /** Keeps no more than there is use for. */
  retain(isWanted: (key: string) => boolean): void {
    for (const key of this.#waits.keys()) if (!isWanted(key)) this.#waits.delete(key)
  }
}
