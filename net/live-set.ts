import { setTimeout as sleep } from 'node:timers/promises'

/** The open connections of a transport, and the moment at which none is left. */
export class LiveSet<T> implements Iterable<T> {
  readonly #members = new Set<T>()
  #emptied: PromiseWithResolvers<void> | null = null

  get size(): number {
    return this.#members.size
  }

  [Symbol.iterator](): Iterator<T> {
    return this.#members.values()
  }

  add(member: T): void {
    this.#members.add(member)
  }

  delete(member: T): void {
    this.#members.delete(member)
    if (this.#members.size > 0) return
    this.#emptied?.resolve()
    this.#emptied = null
  }

  /** Resolves when the set is empty, or after `deadlineMs` where one is given. */
  async emptied(deadlineMs?: number): Promise<void> {
    if (this.#members.size === 0) return
    this.#emptied ??= Promise.withResolvers()
    const { promise } = this.#emptied
    if (deadlineMs === undefined) return promise
    const stop = new AbortController()
    await Promise.race([promise, sleep(deadlineMs, undefined, { signal: stop.signal }).catch(() => {})])
    stop.abort()
  }
}
