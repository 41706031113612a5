import { reasonOf } from '../../dns/operational-error.ts'
import type { Identity } from '../identity.ts'
import { askResponder } from './ask.ts'
import { ocspRequest, readOcspResponse } from './message.ts'
import { type OcspSubject, stapleWish } from './subject.ts'

/** What is shown beside a certificate: a value that can be sent to a thread. */
export interface Staple {
  /** Of the certificate, as in Identity. */
  readonly fingerprint256: string
  /** The OCSP response. */
  readonly response: Uint8Array
  /** Milliseconds since 1970. */
  readonly nextUpdate: number
}

/** What went wrong with a certificate's staple. */
export interface StapleProblem {
  readonly identity: Identity
  /** "Cannot staple: reason: who was asked". */
  readonly message: string
  /** Whether clients refuse the certificate now: it wants a staple, and there is none. */
  readonly isRefused: boolean
}

export interface StapleObserver {
  /** There are other staples: they are to be shown. */
  changed(): void
  /** For another reason than before. */
  failed(problem: StapleProblem): void
  /** The CA has taken the certificate back, at `revokedAt` milliseconds since 1970; said once. */
  revoked(identity: Identity, revokedAt: number): void
}

/** The share of a response's life after which there ought to be a newer one; jitter keeps many gateways apart. */
const [RENEW_FROM, RENEW_TO] = [0.4, 0.5]
/** Of what is left of a response that is older than that, for responders that have no newer one yet: many make them for days ahead. */
const AGAIN_SHARE = 0.1
/** Between two questions that were answered: a CA may take a certificate back long before a response ends. */
const [MIN_WAIT_MS, MAX_WAIT_MS] = [60_000, 86_400_000]
/** Between two that were not: doubled from the first to the last. */
const [FIRST_RETRY_MS, LAST_RETRY_MS] = [60_000, 3_600_000]

/** One certificate and its OCSP response, while it is in use. */
export class Stapled {
  readonly #identity: Identity
  readonly #observer: StapleObserver
  readonly #mustStaple: boolean
  readonly #stop = new AbortController()
  #timer: NodeJS.Timeout | null = null
  #staple: Staple | null = null
  #failures = 0
  /** Told last. */
  #problem: string | null = null
  #isRevoked = false

  /** Begins at once, where there is somebody to ask. */
  constructor(identity: Identity, observer: StapleObserver) {
    this.#identity = identity
    this.#observer = observer
    const { subject, responder, mustStaple } = stapleWish(identity)
    this.#mustStaple = mustStaple
    if (responder !== null && subject !== null) void this.#renew(subject, responder)
    else if (responder !== null) this.#tell(`Cannot staple: the chain does not have the issuer: ${responder.href}`)
    else if (mustStaple) this.#tell('Cannot staple: the certificate names no OCSP responder over HTTP')
  }

  get staple(): Staple | null {
    return this.#staple
  }

  stop(): void {
    this.#stop.abort()
    if (this.#timer !== null) clearTimeout(this.#timer)
  }

  async #renew(subject: OcspSubject, responder: URL): Promise<void> {
    const { signal } = this.#stop
    let wait: number
    try {
      const response = await askResponder(responder, { request: await ocspRequest(subject), signal })
      const now = Date.now()
      const status = await readOcspResponse(response, { subject, now })
      if (signal.aborted) return
      wait = status.kind === 'good' ? this.#take(response, { ...status, now }) : this.#refuse(status.revokedAt)
    } catch (error) {
      if (signal.aborted) return
      wait = this.#fail(`Cannot staple: ${reasonOf(error)}: ${responder.href}`)
    }
    this.#timer = setTimeout(() => void this.#renew(subject, responder), wait).unref()
  }

  /** Returns for how long it will do. */
  #take(response: Buffer, { thisUpdate, nextUpdate, now }: { thisUpdate: number; nextUpdate: number; now: number }): number {
    this.#failures = 0
    this.#problem = null
    this.#isRevoked = false
    const isOther = this.#staple === null || !response.equals(this.#staple.response)
    this.#staple = { fingerprint256: this.#identity.fingerprint256, response, nextUpdate }
    if (isOther) this.#observer.changed()
    const due = thisUpdate + (nextUpdate - thisUpdate) * between(RENEW_FROM, RENEW_TO)
    return Math.min(Math.max(due - now, (nextUpdate - now) * AGAIN_SHARE, MIN_WAIT_MS), MAX_WAIT_MS)
  }

  /** A client that is shown nothing may still find out by itself; one that is shown it can be sure. Neither can go on: that is for people. */
  #refuse(revokedAt: number): number {
    this.#drop()
    if (!this.#isRevoked) this.#observer.revoked(this.#identity, revokedAt)
    this.#isRevoked = true
    return LAST_RETRY_MS
  }

  /** The present one is shown as long as it is good. */
  #fail(message: string): number {
    if (this.#staple !== null && this.#staple.nextUpdate <= Date.now()) this.#drop()
    this.#tell(message)
    const wait = Math.min(FIRST_RETRY_MS * 2 ** this.#failures++, LAST_RETRY_MS)
    return wait * between(0.5, 1)
  }

  #drop(): void {
    if (this.#staple === null) return
    this.#staple = null
    this.#problem = null // what was told while there was one has become worse
    this.#observer.changed()
  }

  #tell(message: string): void {
    if (message === this.#problem) return
    this.#problem = message
    this.#observer.failed({ identity: this.#identity, message, isRefused: this.#mustStaple && this.#staple === null })
  }
}

function between(from: number, to: number): number {
  return from + (to - from) * Math.random()
}
