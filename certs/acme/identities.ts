import { getCACertificates } from 'node:tls'
import { OperationalError, reasonOf } from '../../dns/operational-error.ts'
import type { CertificateObserver, CertificateState, IdentityProvider } from '../provider.ts'
import { loadRoots } from '../roots.ts'
import type { Storage } from '../storage.ts'
import { AcmeAccount } from './account.ts'
import { AcmeCertificate } from './certificate.ts'
import type { ChallengeSolver } from './challenge.ts'
import { AcmeHttp } from './http.ts'
import { type AcmeClock, type AcmeOptions, acmeSource } from './options.ts'
import { MAX_TEXT, printable } from './problem.ts'
import { LOOK_MS, PAUSE_MS } from './schedule.ts'
import { AcmeState } from './state.ts'

export interface AcmeDependencies {
  readonly storage: Storage
  /** Closed with the provider. */
  readonly solver: ChallengeSolver
  readonly observer: CertificateObserver
  /** Product and version, for the CA. */
  readonly userAgent: string
  readonly clock: AcmeClock
}

/** For the whole process, so that CAs see one order at a time, and a state file has one writer. */
const EXCLUSIVE = 'acme'

/** Certificates that a CA gives out by ACME and that renew themselves: one for each kind of key. */
export class AcmeIdentities implements IdentityProvider {
  readonly #options: AcmeOptions
  readonly #dependencies: AcmeDependencies
  readonly #account: AcmeAccount
  readonly #certificates: readonly AcmeCertificate[]
  readonly #host: string
  readonly #stopped = new AbortController()
  readonly #underWay = new Set<Promise<unknown>>()
  #callOff: () => void = () => {}

  /** With what is stored already; the CA is not asked for anything yet. */
  static async open(options: AcmeOptions, dependencies: AcmeDependencies): Promise<AcmeIdentities> {
    const identities = new AcmeIdentities(options, dependencies)
    for (const certificate of identities.#certificates) await certificate.load()
    // the log of before may be gone, and what is told once would not be told any more
    if (identities.#state.problem !== null) dependencies.observer.failed(identities.#state)
    identities.#schedule()
    return identities
  }

  private constructor(options: AcmeOptions, dependencies: AcmeDependencies) {
    const { storage, solver, clock } = dependencies
    this.#options = options
    this.#dependencies = dependencies
    this.#host = new URL(options.directory).host
    const directory = `acme/${this.#host}`
    const state = new AcmeState(storage, `${directory}/state.json`)
    this.#account = new AcmeAccount(options, { storage, state, directory })
    const parts = { storage, state, account: this.#account, solver, clock }
    this.#certificates = options.keys.map((kind) => new AcmeCertificate(kind, options, parts))
  }

  get certificates(): readonly CertificateState[] {
    return [this.#state]
  }

  async renew(): Promise<void> {
    const before = this.#certificates.map((certificate) => certificate.identity)
    try {
      await this.#exclusively(async () => {
        for (const [i, certificate] of this.#certificates.entries()) {
          // it was renewed while this waited for its turn
          if (certificate.identity !== before[i]) continue
          certificate.refuseEarly()
          await this.#renew(certificate, () => true)
        }
      })
    } catch (error) {
      if (!this.#stopped.signal.aborted) throw error
      const reason = 'it was called off, since the gateway ends or has another configuration'
      throw new OperationalError('ATLAS_CERTIFICATE', `Cannot renew certificate: ${reason}: ${this.#options.names[0]}`, error)
    } finally {
      this.#schedule()
    }
  }

  /** Gives the account another key (RFC 8555 §7.3.5). Throws OperationalError; the present one stays in use then. */
  async rollOver(): Promise<void> {
    try {
      await this.#exclusively(() => this.#withHttp((http) => this.#account.rollOver(http)))
    } catch (error) {
      const reason = printable(reasonOf(error), MAX_TEXT)
      const message = `Cannot change the key of the ACME account: ${reason}: ${this.#host} (${this.#options.origin})`
      throw error instanceof OperationalError ? error : new OperationalError('ATLAS_CERTIFICATE', message, error)
    }
  }

  async stop(): Promise<void> {
    this.#callOff()
    this.#stopped.abort()
    await Promise.allSettled(this.#underWay)
    await this.#dependencies.solver.close()
  }

  get #state(): CertificateState {
    const { now } = this.#dependencies.clock
    return {
      source: acmeSource(this.#options.directory),
      names: this.#options.names,
      identities: this.#certificates.map(({ identity }) => identity).filter((identity) => identity !== null),
      renewsAt: Math.max(now(), Math.min(...this.#certificates.map(({ dueAt }) => dueAt))),
      problem: this.#certificates.find(({ problem }) => problem !== null)?.problem ?? null,
    }
  }

  #schedule(): void {
    this.#callOff()
    if (this.#stopped.signal.aborted) return
    const { clock } = this.#dependencies
    const next = Math.min(...this.#certificates.flatMap(({ dueAt, checkAt }) => [dueAt, checkAt]))
    this.#callOff = clock.after(Math.min(Math.max(next - clock.now(), PAUSE_MS), LOOK_MS), () => void this.#look())
  }

  /** Never rejects. */
  async #look(): Promise<void> {
    try {
      await this.#exclusively(async () => {
        for (const certificate of this.#certificates) await this.#attend(certificate)
      })
    } catch {
      // noted by the certificate, and tried again
    }
    this.#schedule()
  }

  async #attend(certificate: AcmeCertificate): Promise<void> {
    const { now } = this.#dependencies.clock
    if (certificate.checkAt <= now()) await certificate.check((work) => this.#withHttp(work))
    const isDue = (): boolean => certificate.dueAt <= now()
    if (isDue()) await this.#renew(certificate, isDue).catch(() => {})
  }

  /** `isWanted`: with what is stored by now, maybe by another provider that this one takes over from. */
  async #renew(certificate: AcmeCertificate, isWanted: () => boolean): Promise<void> {
    const { observer } = this.#dependencies
    const { signal } = this.#stopped
    const { identity, problem } = certificate
    try {
      await certificate.load()
      if (isWanted()) await this.#withHttp((http) => certificate.renew(http, signal))
    } catch (error) {
      if (signal.aborted) throw error
      const explained = await certificate.fail(error)
      if (explained.message !== problem?.message) observer.failed(this.#state)
      throw explained
    } finally {
      if (certificate.identity !== identity) observer.changed(this.#state)
    }
  }

  async #withHttp<T>(work: (http: AcmeHttp) => Promise<T>): Promise<T> {
    const { userAgent, clock } = this.#dependencies
    const { ca } = this.#options
    const roots = ca === null ? null : [...getCACertificates('default'), ...loadRoots(ca)]
    const http = new AcmeHttp({ roots, userAgent, signal: this.#stopped.signal, now: clock.now })
    try {
      return await work(http)
    } finally {
      http.close()
    }
  }

  async #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#dependencies.storage.exclusively(EXCLUSIVE, () => {
      this.#stopped.signal.throwIfAborted()
      return work()
    })
    this.#underWay.add(result)
    try {
      return await result
    } finally {
      this.#underWay.delete(result)
    }
  }
}
