import { LiveCount } from './live-count.ts'

/** The open connections of a transport, and the moment at which none is left. */
export class LiveSet<T> implements Iterable<T> {
  readonly #members = new Set<T>()
  readonly #count = new LiveCount()

  get size(): number {
    return this.#members.size
  }

  [Symbol.iterator](): Iterator<T> {
    return this.#members.values()
  }

  add(member: T): void {
    if (this.#members.has(member)) return
    this.#members.add(member)
    this.#count.increase()
  }

  delete(member: T): void {
    if (this.#members.delete(member)) this.#count.decrease()
  }

  /** Resolves when the set is empty, or after `deadlineMs` where one is given. */
  async emptied(deadlineMs?: number): Promise<void> {
    await this.#count.emptied(deadlineMs)
  }
}
