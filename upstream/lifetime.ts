import type { ConnectionTerms } from './server.ts'

/** How often a connection that has questions is looked at, and how long it may be silent about all of them. */
const CHECK_MS = 1000
/** Age has a tenth of jitter to either side: what was opened at once is not exchanged at once. */
const AGE_JITTER = 0.1
/** When a connection that is old, and could not be replaced, is looked at again. It works on meanwhile. */
const REPLACE_AGAIN_MS = 5000

/** When a connection is idle, old or silent. Sans-IO; times in milliseconds of one clock. */
export class Lifetime {
  #idleMs: number
  #replaceAt: number
  #lastReceived: number
  /** Since when there are questions and nothing comes. */
  #silentSince: number

  constructor({ maxAgeMs, idleMs }: Pick<ConnectionTerms, 'maxAgeMs' | 'idleMs'>, now: number) {
    this.#idleMs = idleMs
    this.#replaceAt = now + maxAgeMs * (1 + AGE_JITTER * (2 * Math.random() - 1))
    this.#lastReceived = now
    this.#silentSince = now
  }

  /** When the last answer came. */
  get lastReceived(): number {
    return this.#lastReceived
  }

  /** A question is asked while there is no other. */
  started(now: number): void {
    this.#silentSince = now
  }

  received(now: number): void {
    this.#lastReceived = now
    this.#silentSince = now
  }

  /** RFC 7828 §3.2.2: the server says for how long it keeps an idle connection. False: as before. */
  announce(idleMs: number): boolean {
    const isNew = idleMs !== this.#idleMs
    this.#idleMs = idleMs
    return isNew
  }

  /** Of a connection without questions (RFC 7766 §6.2.3). */
  isIdle(now: number): boolean {
    return now >= this.#lastReceived + this.#idleMs
  }

  /** Of a connection with questions. A path that is interrupted is silent, and TCP does not notice for minutes. */
  isSilent(now: number): boolean {
    return now >= this.#silentSince + CHECK_MS
  }

  /** Whether it is time to replace it for its age. It is said once, and later again. */
  isOld(now: number): boolean {
    if (now < this.#replaceAt) return false
    this.#replaceAt = now + REPLACE_AGAIN_MS
    return true
  }

  /** When to look again. */
  next(now: number, hasQuestions: boolean): number {
    return Math.min(hasQuestions ? now + CHECK_MS : this.#lastReceived + this.#idleMs, this.#replaceAt)
  }
}
