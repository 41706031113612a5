import { reasonOf } from '../dns/operational-error.ts'
import { type LocalCa, type LocalCaOptions, openLocalCa } from './local-ca.ts'
import type { CertificateObserver, CertificateProblem, CertificateState, IdentityProvider } from './provider.ts'

/** How often the certificate's age is looked at: it is renewed months before it expires, but the clock may be set. */
const CHECK_MS = 3_600_000

/** The source of its certificate. */
export const LOCAL_CA = 'local CA'

/** The certificate of the local CA, which renews itself. */
export class LocalIdentities implements IdentityProvider {
  readonly ca: LocalCa
  readonly #observer: CertificateObserver
  readonly #timer: NodeJS.Timeout
  #identity: LocalCa['identity']
  #problem: CertificateProblem | null = null
  #renewing: Promise<void> = Promise.resolve()

  /** Makes the CA and the certificate where need be. Throws OperationalError. */
  static async open(options: Omit<LocalCaOptions, 'now'>, observer: CertificateObserver): Promise<LocalIdentities> {
    return new LocalIdentities(await openLocalCa({ ...options, now: Date.now() }), observer)
  }

  private constructor(ca: LocalCa, observer: CertificateObserver) {
    this.ca = ca
    this.#identity = ca.identity
    this.#observer = observer
    this.#timer = setInterval(() => {
      this.#renewing = this.#renewIfDue()
    }, CHECK_MS).unref()
  }

  get certificates(): readonly CertificateState[] {
    return [this.#state]
  }

  async renew(): Promise<void> {
    this.#identity = await this.ca.renew(Date.now())
    this.#problem = null
    this.#observer.changed(this.#state)
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await this.#renewing
  }

  get #state(): CertificateState {
    const { names, addresses } = this.#identity
    return {
      source: LOCAL_CA,
      names: [...names, ...addresses],
      identities: [this.#identity],
      renewsAt: this.ca.dueAt(this.#identity),
      problem: this.#problem,
    }
  }

  async #renewIfDue(): Promise<void> {
    const now = Date.now()
    if (now < this.ca.dueAt(this.#identity)) return
    try {
      await this.renew()
    } catch (error) {
      const { message = null, since = now, attempts = 0 } = this.#problem ?? {}
      this.#problem = { message: reasonOf(error), since, retriesAt: now + CHECK_MS, attempts: attempts + 1 }
      if (message !== this.#problem.message) this.#observer.failed(this.#state)
    }
  }
}
