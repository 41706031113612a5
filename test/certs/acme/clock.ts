import assert from 'node:assert/strict'
import { setImmediate } from 'node:timers/promises'
import type { AcmeClock } from '../../../certs/acme/options.ts'

interface Timer {
  readonly at: number
  readonly work: () => void
}

/** Time that passes when the test says so, and while an order sleeps. */
export class TestClock implements AcmeClock {
  time = Date.now()
  chance = 0.5
  /** Lengths of sleeps, in order. */
  readonly slept: number[] = []
  readonly #timers = new Set<Timer>()
  #set = Promise.withResolvers<void>()

  readonly now = (): number => this.time

  random(): number {
    return this.chance
  }

  after(ms: number, work: () => void): () => void {
    assert.ok(ms >= 1000 && ms <= 3_600_000, `a timer of ${ms} ms`)
    const timer = { at: this.time + ms, work }
    this.#timers.add(timer)
    this.#set.resolve()
    return () => this.#timers.delete(timer)
  }

  async sleep(ms: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    this.slept.push(ms)
    this.time += ms
    await setImmediate()
    signal.throwIfAborted()
  }

  /** Goes to the next timer; resolves when what it began is over, which is when it sets another one. */
  async next(): Promise<void> {
    const [timer] = [...this.#timers].toSorted((a, b) => a.at - b.at)
    assert.ok(timer !== undefined, 'nothing is going to happen any more')
    this.#timers.delete(timer)
    this.#set = Promise.withResolvers<void>()
    this.time = Math.max(this.time, timer.at)
    timer.work()
    await this.#set.promise
  }

  /** Everything that happens until then. */
  async runUntil(time: number): Promise<void> {
    while (this.time + this.wait <= time) await this.next()
    this.time = Math.max(this.time, time)
  }

  /** Goes on until it is so. */
  async runTill(isSo: () => boolean): Promise<void> {
    for (let i = 0; !isSo(); i++) {
      assert.ok(i < 10_000, 'it never comes to that')
      await this.next()
    }
  }

  /** Until the next timer. */
  get wait(): number {
    return Math.min(...[...this.#timers].map(({ at }) => at)) - this.time
  }

  get isIdle(): boolean {
    return this.#timers.size === 0
  }
}
