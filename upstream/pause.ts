/**
 * After a dial that failed: time in which questions fail at once and cost nobody a dial. Short at first, so that a server that
 * restarts is found soon, then doubled, so that one that is away for long costs a dial a second.
 */
const FIRST_MS = 50
const LONGEST_MS = 1000
/** The doublings that lead there. */
const MOST_DOUBLINGS = 5

/** How long a server is not dialled. */
export class DialPause {
  #until = Number.NEGATIVE_INFINITY
  #failures = 0
  #barren = 0

  isOver(now: number): boolean {
    return now >= this.#until
  }

  /** A connection did not come about. */
  failed(now: number): void {
    this.#until = now + Math.min(FIRST_MS * 2 ** Math.min(this.#failures++, MOST_DOUBLINGS), LONGEST_MS)
  }

  /** A connection came about and broke without having brought an answer. Once that may be chance, and what it carried is asked again. */
  broke(now: number): void {
    if (this.#barren++ > 0) this.failed(now)
  }

  /** A connection has brought an answer. */
  succeeded(): void {
    this.#until = Number.NEGATIVE_INFINITY
    this.#failures = 0
    this.#barren = 0
  }
}
