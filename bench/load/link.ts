/** What the gateway lets a connection have open by default (`limits.inFlightPerConnection`). */
const MOST_OPEN = 100

export interface Question {
  /** Its place in the schedule. */
  readonly index: number
  /** With id 0. */
  readonly wire: Buffer
}

export interface LinkEvents {
  ready(): void
  /** The message, or as much of it as came first; null: there will be none. */
  settled(index: number, message: Uint8Array | null): void
  /** It will take no more questions, but answers those that it has. */
  retiring(): void
  closed(): void
}

/** One connection, and what was asked on it. */
export abstract class Link {
  readonly #events: LinkEvents
  /** Places in the schedule by what tells the questions apart on the connection. */
  readonly #open = new Map<number, number>()
  #isReady = false

  constructor(events: LinkEvents) {
    this.#events = events
  }

  /** False: not now. */
  ask(question: Question): boolean {
    if (!this.#isReady || this.#open.size >= MOST_OPEN) return false
    const key = this.send(question)
    if (key < 0) return false
    this.#open.set(key, question.index)
    return true
  }

  abstract close(): void | Promise<void>

  /** What tells the question apart; negative: it cannot be sent now. */
  protected abstract send(question: Question): number

  protected ready(): void {
    this.#isReady = true
    this.#events.ready()
  }

  protected settle(key: number, message: Uint8Array | null): void {
    const index = this.#open.get(key)
    if (index === undefined) return
    this.#open.delete(key)
    this.#events.settled(index, message)
  }

  protected retire(): void {
    this.#isReady = false
    this.#events.retiring()
  }

  protected ended(): void {
    this.#isReady = false
    for (const key of this.#open.keys()) this.settle(key, null)
    this.#events.closed()
  }
}
