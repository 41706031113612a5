import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import { OperationalError, reasonOf } from '../../dns/operational-error.ts'
import type { CertificateRenewal } from '../admin/control.ts'

/** How long whoever asks waits for the end: files and the local CA take milliseconds, a CA elsewhere may take minutes. */
const PATIENCE_MS = 5_000

interface Renewal {
  readonly askedAt: string
  outcome: CertificateRenewal['outcome']
  message: string | null
}

interface Running {
  readonly renewal: Renewal
  readonly ended: Promise<void>
}

export interface RenewalsOptions {
  /** Resolves when the new certificate of this name is served. Throws OperationalError when there is none. */
  readonly renew: (name: string) => Promise<void>
  readonly log: Logger
}

/** Renewals that somebody asks for. One may outlast the request, so the last one of each certificate is remembered. */
export class Renewals {
  readonly #options: RenewalsOptions
  /** By the name of the certificate: no more than were ever configured. */
  readonly #last = new Map<string, Renewal>()
  readonly #running = new Map<string, Running>()

  constructor(options: RenewalsOptions) {
    this.#options = options
  }

  /** How it stands with it after some seconds at most. Who asks while it goes on joins. */
  async ask(name: string): Promise<CertificateRenewal> {
    const { renewal, ended } = this.#running.get(name) ?? this.#begin(name)
    const enough = new AbortController()
    await Promise.race([ended, sleep(PATIENCE_MS, undefined, { signal: enough.signal }).catch(() => {})])
    enough.abort()
    return { ...renewal }
  }

  of(name: string): CertificateRenewal | null {
    const last = this.#last.get(name)
    return last === undefined ? null : { ...last }
  }

  #begin(name: string): Running {
    const renewal: Renewal = { askedAt: new Date().toISOString(), outcome: 'running', message: null }
    const running = { renewal, ended: this.#carryOut(name, renewal).finally(() => this.#running.delete(name)) }
    this.#last.set(name, renewal)
    this.#running.set(name, running)
    return running
  }

  async #carryOut(name: string, renewal: Renewal): Promise<void> {
    try {
      await this.#options.renew(name)
      renewal.outcome = 'renewed'
    } catch (error) {
      // not ours: a defect, whose origin only the log can tell
      if (!(error instanceof OperationalError)) this.#options.log.error({ err: error, name }, 'cannot renew a certificate')
      renewal.outcome = 'failed'
      renewal.message = reasonOf(error)
    }
  }
}
