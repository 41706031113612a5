import type { Clock } from './clock.ts'

/** Resolution; no deadline of the gateway is finer. */
const TICK_MS = 10
/** Power of two: a round of 10.24 s holds the deadlines of queries and handshakes, longer ones go round again. */
const SLOTS = 1024

/** Something with a deadline. It is linked into the wheel itself, so that setting and clearing allocate nothing. */
export abstract class WheelEntry {
  deadline = 0
  previous: WheelEntry | null = null
  next: WheelEntry | null = null

  /** The deadline has passed; the entry is no longer in the wheel. */
  abstract onDeadline(now: number): void
}

class Ring extends WheelEntry {
  constructor() {
    super()
    this.previous = this
    this.next = this
  }

  override onDeadline(): void {}
}

/**
 * A hashed timing wheel: one timer for all deadlines of a worker (design: no timer per query). It ticks only while
 * something is in it, and does not keep the process alive.
 */
export class Wheel {
  readonly #clock: Clock
  readonly #slots: readonly Ring[] = Array.from({ length: SLOTS }, () => new Ring())
  readonly #due = new Ring()
  #tick: number
  #size = 0
  #timer: NodeJS.Timeout | null = null

  constructor(clock: Clock) {
    this.#clock = clock
    this.#tick = Math.floor(clock() / TICK_MS)
  }

  get size(): number {
    return this.#size
  }

  /** Sets or moves the deadline of `entry`, in milliseconds of the clock. */
  set(entry: WheelEntry, deadline: number): void {
    this.clear(entry)
    if (this.#size++ === 0) this.#wake()
    entry.deadline = deadline
    this.#link(entry)
  }

  clear(entry: WheelEntry): void {
    if (entry.next === null) return
    unlink(entry)
    if (--this.#size === 0) this.#sleep()
  }

  /** Fires what is due at `now`. Called by the wheel's own timer, and by tests. */
  advance(now: number): void {
    const target = Math.floor(now / TICK_MS)
    const from = Math.max(this.#tick + 1, target - SLOTS + 1)
    this.#tick = target
    for (let tick = from; tick <= target; tick++) this.#fire(this.#slots[tick & (SLOTS - 1)] as Ring, now)
  }

  #fire(slot: Ring, now: number): void {
    // moved aside first: a deadline may set others, in this very slot too
    while (slot.next !== null && slot.next !== slot) {
      const entry = slot.next
      unlink(entry)
      link(entry, this.#due)
    }
    while (this.#due.next !== null && this.#due.next !== this.#due) {
      const entry = this.#due.next
      unlink(entry)
      if (entry.deadline > now) {
        this.#link(entry)
        continue
      }
      if (--this.#size === 0) this.#sleep()
      entry.onDeadline(now)
    }
  }

  #link(entry: WheelEntry): void {
    // rounded up: never early; never into the tick that is just being fired
    const tick = Math.max(Math.ceil(entry.deadline / TICK_MS), this.#tick + 1)
    link(entry, this.#slots[tick & (SLOTS - 1)] as Ring)
  }

  #wake(): void {
    this.#tick = Math.floor(this.#clock() / TICK_MS)
    this.#timer = setInterval(() => this.advance(this.#clock()), TICK_MS)
    this.#timer.unref()
  }

  #sleep(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
  }
}

function link(entry: WheelEntry, ring: Ring): void {
  const last = ring.previous as WheelEntry
  entry.previous = last
  entry.next = ring
  last.next = entry
  ring.previous = entry
}

function unlink(entry: WheelEntry): void {
  const previous = entry.previous as WheelEntry
  const next = entry.next as WheelEntry
  previous.next = next
  next.previous = previous
  entry.previous = null
  entry.next = null
}
