/** The streams that we have reset lately: what the client sent before it knew is ignored (RFC 9113 §5.1, "closed"). */
export class RecentStreams {
  readonly #capacity: number
  #ids: Int32Array | null = null
  #next = 0

  /** `capacity`: as many as a client may have open. */
  constructor(capacity: number) {
    this.#capacity = capacity
  }

  add(id: number): void {
    this.#ids ??= new Int32Array(this.#capacity)
    this.#ids[this.#next] = id
    this.#next = (this.#next + 1) % this.#capacity
  }

  has(id: number): boolean {
    return this.#ids?.includes(id) ?? false
  }
}
