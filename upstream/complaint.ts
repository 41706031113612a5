import type { TrustObserver } from './server.ts'

/** An operator recognizes a certificate by less of its names; a server may send thousands. */
const MAX_REASON = 300

/** Says once that a server cannot be asked and why, and once that it can again, however many connections it concerns. */
export class Complaint {
  readonly #observer: TrustObserver
  #raised = false

  constructor(observer: TrustObserver) {
    this.#observer = observer
  }

  raise(reason: string): void {
    if (!this.#raised) this.#observer.refused(reason.slice(0, MAX_REASON))
    this.#raised = true
  }

  withdraw(): void {
    if (this.#raised) this.#observer.accepted()
    this.#raised = false
  }
}
