import { setTimeout as sleep } from 'node:timers/promises'

/** How many of something are open, and the moment at which none is left. */
export class LiveCount {
  #size = 0
  #emptied: PromiseWithResolvers<void> | null = null

  get size(): number {
    return this.#size
  }

  increase(): void {
    this.#size++
  }

  decrease(): void {
    if (--this.#size > 0) return
    this.#emptied?.resolve()
    this.#emptied = null
  }

  /** Resolves when none is left, or after `deadlineMs` where one is given. */
  async emptied(deadlineMs?: number): Promise<void> {
    if (this.#size === 0) return
    this.#emptied ??= Promise.withResolvers()
    const { promise } = this.#emptied
    if (deadlineMs === undefined) return promise
    const stop = new AbortController()
    await Promise.race([promise, sleep(deadlineMs, undefined, { signal: stop.signal }).catch(() => {})])
    stop.abort()
  }
}
