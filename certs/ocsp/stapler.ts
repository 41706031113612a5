import type { Identity } from '../identity.ts'
import { type Staple, Stapled, type StapleObserver } from './stapled.ts'

/** Keeps the OCSP responses for the certificates in use (RFC 6066 §8). */
export class Stapler {
  readonly #observer: StapleObserver
  readonly #stapled = new Map<string, Stapled>()

  constructor(observer: StapleObserver) {
    this.#observer = observer
  }

  /** The certificates that are served from now on. Nothing is known of new ones yet: the observer hears of it. */
  follow(identities: readonly Identity[]): void {
    const followed = new Map(identities.map((identity) => [identity.fingerprint256, identity]))
    for (const [fingerprint256, stapled] of this.#stapled) {
      if (followed.has(fingerprint256)) continue
      stapled.stop()
      this.#stapled.delete(fingerprint256)
    }
    for (const [fingerprint256, identity] of followed) {
      if (!this.#stapled.has(fingerprint256)) this.#stapled.set(fingerprint256, new Stapled(identity, this.#observer))
    }
  }

  get staples(): readonly Staple[] {
    return [...this.#stapled.values()].flatMap(({ staple }) => (staple === null ? [] : [staple]))
  }

  stop(): void {
    this.follow([])
  }
}
