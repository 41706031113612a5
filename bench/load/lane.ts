import type { Link, LinkEvents, Question } from './link.ts'

/** Between a connection that was lost and the next. */
const AGAIN_MS = 50

export type Dial = (events: LinkEvents) => Link

/** One connection at a time, as a client keeps one: asks on the next when one has ended, and has questions wait meanwhile. */
export class Lane {
  readonly #dial: Dial
  readonly #settled: LinkEvents['settled']
  readonly #first = Promise.withResolvers<void>()
  /** In the order in which they are due; a load has no more than its schedule. */
  #queue: Question[] = []
  #link: Link | null = null
  #isOver = false
  #ended = 0

  constructor(dial: Dial, settled: LinkEvents['settled']) {
    this.#dial = dial
    this.#settled = settled
    this.#connect()
  }

  /** Resolves when there is a first connection. */
  get connected(): Promise<void> {
    return this.#first.promise
  }

  /** How many connections have ended. */
  get ended(): number {
    return this.#ended
  }

  ask(question: Question): void {
    if (this.#queue.length > 0 || this.#link?.ask(question) !== true) this.#queue.push(question)
  }

  /** Asks what had to wait, as far as that is possible now. */
  pump(): void {
    let asked = 0
    for (const question of this.#queue) {
      if (this.#link?.ask(question) !== true) break
      asked++
    }
    if (asked > 0) this.#queue = this.#queue.slice(asked)
  }

  async close(): Promise<void> {
    this.#isOver = true
    await this.#link?.close()
  }

  #connect(): void {
    if (this.#isOver) return
    let isRetired = false
    const replace = (inMs: number): void => {
      if (isRetired || this.#isOver) return
      isRetired = true
      this.#ended++
      this.#link = null
      setTimeout(() => this.#connect(), inMs)
    }
    this.#link = this.#dial({
      ready: () => this.#first.resolve(),
      settled: this.#settled,
      retiring: () => replace(0),
      closed: () => replace(AGAIN_MS),
    })
  }
}
