/** RFC 9000 §2.1: the two low bits are 0 in the ids of bidirectional streams of a client. */
const STEP = 4
/** Between a refused stream and the next attempt: credit comes with the acknowledgement of what has ended, a round trip and more later. */
const RETRY_MS = 10

/**
 * The ids of a client's bidirectional streams, and how many the server lets it open (RFC 9000 §4.6). The library tells the
 * credit of a server only by refusing a stream, so it is counted from there on: what has ended may be opened again, and one more
 * is tried now and then.
 */
export class ClientStreams {
  #next = 0
  /** Ids that were refused, the lowest last: the server would take those left out for open ones (RFC 9000 §2.1). */
  readonly #returned: number[] = []
  /** Infinite until the first refusal. */
  #credit = Number.POSITIVE_INFINITY
  /** After the first refusal, until all that was opened on trust is accounted for. */
  #isSettling = false
  #blockedUntil = Number.NEGATIVE_INFINITY
  #growAt = Number.NEGATIVE_INFINITY

  /** The lowest id not in use; -1: no stream can be opened now. */
  take(now: number): number {
    if (now < this.#blockedUntil) return -1
    this.#isSettling = false
    if (this.#credit < 1) {
      if (now < this.#growAt) return -1
      this.#growAt = now + RETRY_MS
      this.#credit = 1
    }
    this.#credit--
    const returned = this.#returned.pop()
    if (returned !== undefined) return returned
    const id = this.#next
    this.#next += STEP
    return id
  }

  /** The server gave no credit for the stream. False: that is known already. */
  refused(id: number, now: number): boolean {
    let at = 0
    // refusals come in the order of the ids, so the place is near the beginning
    while (at < this.#returned.length && (this.#returned[at] as number) > id) at++
    if (this.#returned[at] === id) return false
    this.#returned.splice(at, 0, id)
    this.#blockedUntil = now + RETRY_MS
    if (this.#credit === Number.POSITIVE_INFINITY) {
      this.#credit = 0
      this.#isSettling = true
    } else if (!this.#isSettling) {
      this.#credit++
    }
    return true
  }

  ended(): void {
    this.#credit++
  }
}
