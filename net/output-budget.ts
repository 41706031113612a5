/**
 * Octets that all connections together may hold for clients that do not take them: a bound on the memory of the process, so
 * that many slow readers cannot exhaust it together (each is bounded by its queries in flight).
 */
const MAX_TOTAL_OUTPUT = 268_435_456

/** Counts octets of output that the kernel has not taken yet; each of `threads` has its share. */
export class OutputBudget {
  readonly #max: number
  #held = 0

  constructor(threads: number) {
    this.#max = MAX_TOTAL_OUTPUT / threads
  }

  /** Octets that are counted at present. */
  get held(): number {
    return this.#held
  }

  /** False when there is no room for more: who asked has to end. The octets are counted in any case, until given back. */
  take(octets: number): boolean {
    this.#held += octets
    return this.#held <= this.#max
  }

  give(octets: number): void {
    this.#held -= octets
  }
}
