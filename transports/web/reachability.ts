import type { Clock } from '../../net/clock.ts'

/** Is told when the state of the origin changes. */
export interface OriginObserver {
  /** `reason`: what the system or TLS said. */
  lost(origin: string, reason: string): void
  found(origin: string): void
}

/** After this long it may be said again that the origin is lost: one that comes and goes fills no log. */
const SILENCE_MS = 60_000

/** Whether connections to the origin come about. */
export class Reachability {
  readonly #origin: string
  readonly #observer: OriginObserver
  readonly #clock: Clock
  #isLost = false
  #lostAt = Number.NEGATIVE_INFINITY

  constructor(origin: string, { observer, clock }: { observer: OriginObserver; clock: Clock }) {
    this.#origin = origin
    this.#observer = observer
    this.#clock = clock
  }

  failed(reason: string): void {
    const now = this.#clock()
    if (this.#isLost || now - this.#lostAt < SILENCE_MS) return
    this.#isLost = true
    this.#lostAt = now
    this.#observer.lost(this.#origin, reason)
  }

  succeeded(): void {
    if (!this.#isLost) return
    this.#isLost = false
    this.#observer.found(this.#origin)
  }
}
