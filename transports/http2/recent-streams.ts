/** Streams that are remembered: as many as a client may have open. */
const CAPACITY = 128

/** The streams that we have reset lately: what the client sent before it knew is ignored (RFC 9113 §5.1, "closed"). */
export class RecentStreams {
  #ids: Int32Array | null = null
  #next = 0

  add(id: number): void {
    this.#ids ??= new Int32Array(CAPACITY)
    this.#ids[this.#next] = id
    this.#next = (this.#next + 1) % CAPACITY
  }

  has(id: number): boolean {
    return this.#ids?.includes(id) ?? false
  }
}
