/** Nobody writes to the page. */
const FREE = 0

/**
 * One word for each page: who is writing to it. A writer is a thread in one of its lives, so that what a dead thread held can
 * be told from what its successor holds. Nobody ever waits for a lock.
 */
export class PageLocks {
  readonly #words: Int32Array
  readonly #owner: number

  /** `owner`: above 0, never given twice in the life of the memory. */
  constructor(memory: SharedArrayBuffer, owner: number) {
    this.#words = new Int32Array(memory)
    this.#owner = owner
  }

  tryLock(page: number): boolean {
    return Atomics.compareExchange(this.#words, page, FREE, this.#owner) === FREE
  }

  unlock(page: number): void {
    Atomics.store(this.#words, page, FREE)
  }

  /** For who fills the memory while others may have it already. */
  lockAll(): void {
    this.#words.fill(this.#owner)
  }

  unlockAll(): void {
    for (let page = 0; page < this.#words.length; page++) this.unlock(page)
  }

  /** The pages that `owner` was writing to when it died. They are locked still. */
  heldBy(owner: number): readonly number[] {
    const held: number[] = []
    for (let page = 0; page < this.#words.length; page++) if (Atomics.load(this.#words, page) === owner) held.push(page)
    return held
  }
}
