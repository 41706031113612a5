import { OperationalError, reasonOf } from '../../dns/operational-error.ts'
import type { Identity } from '../identity.ts'
import type { CertificateProblem } from '../provider.ts'
import type { Storage } from '../storage.ts'
import { type AcmeAccount, isUnknownAccount } from './account.ts'
import type { ChallengeSolver } from './challenge.ts'
import { type AcmeDirectory, readDirectory } from './directory.ts'
import type { AcmeHttp, Reach } from './http.ts'
import { loadAcmeClient } from './library.ts'
import type { AcmeClock, AcmeOptions, KeyKind } from './options.ts'
import { AcmeOrder, type OrderTools } from './order.ts'
import { AcmeError, MAX_TEXT, printable } from './problem.ts'
import { askSuggestion, certificateId } from './renewal-info.ts'
import { boundedWait, isUrgent, MAX_ORDERS_PER_DAY, orderAllowedAt, recentOrders, renewalTime, waitAfter } from './schedule.ts'
import { type AcmeState, type CertificateRecord, NO_RECORD } from './state.ts'
import { type Obtained, StoredIdentity } from './stored.ts'

export interface CertificateDependencies {
  readonly storage: Storage
  readonly state: AcmeState
  readonly account: AcmeAccount
  readonly solver: ChallengeSolver
  readonly clock: AcmeClock
}

const RSA_BITS = 2048

/** A certificate for one kind of key: what there is, when it is due, and getting it. What writes runs in Storage.exclusively(). */
export class AcmeCertificate {
  readonly #kind: KeyKind
  readonly #options: AcmeOptions
  readonly #dependencies: CertificateDependencies
  /** Of its directory, and of its record. */
  readonly #name: string
  readonly #stored: StoredIdentity
  readonly #random: number
  #record: CertificateRecord = NO_RECORD
  /** What could not be read; it holds until something is written. */
  #unread: Pick<CertificateProblem, 'message' | 'since' | 'attempts'> | null = null
  /** The state directory does not have all of `#record`. */
  #isAhead = false
  #identity: Identity | null = null
  #issuer: string | null = null
  /** What could not be written. */
  #unsaved: Obtained | null = null

  constructor(kind: KeyKind, options: AcmeOptions, dependencies: CertificateDependencies) {
    const [first = ''] = options.names
    this.#kind = kind
    this.#options = options
    this.#dependencies = dependencies
    this.#name = `${first.replace('*', '_')}${kind === 'rsa' ? '-rsa' : ''}`
    const directory = `identities/acme/${this.#name}`
    this.#stored = new StoredIdentity({ storage: dependencies.storage, directory, origin: options.origin })
    this.#random = dependencies.clock.random()
  }

  get identity(): Identity | null {
    return this.#identity
  }

  get problem(): CertificateProblem | null {
    const noted = this.#record.failure ?? this.#unread
    if (noted === null) return null
    const { message, since, attempts } = noted
    return { message, since, attempts, retriesAt: Math.max(this.#dependencies.clock.now(), this.dueAt) }
  }

  /** When it is to be got, again or for the first time. Milliseconds since 1970; 0: at once. */
  get dueAt(): number {
    const now = this.#dependencies.clock.now()
    const { orders, failure } = this.#record
    const identity = this.#identity
    const isWanted = identity === null || this.#unsaved !== null || !this.#isAsConfigured(identity)
    const terms = { suggestedAt: this.#suggestion?.window?.chosen ?? null, orderedAt: orders.at(-1) ?? 0, random: this.#random }
    const due = isWanted ? 0 : renewalTime(identity, terms)
    return Math.max(due, boundedWait(failure?.retriesAt ?? 0, now), orderAllowedAt(orders, now))
  }

  /** When the CA is to be asked for renewal information. */
  get checkAt(): number {
    const now = this.#dependencies.clock.now()
    // RFC 9773 §4.3: not after it has expired
    if (this.#identity === null || now > this.#identity.notAfter) return Infinity
    return boundedWait(this.#suggestion?.checkAt ?? 0, now)
  }

  /** Throws OperationalError when it must not be ordered now, whoever wants it. */
  refuseEarly(): void {
    const now = this.#dependencies.clock.now()
    const { orders, failure } = this.#record
    const refuse = (reason: string, until: number): void => {
      if (until <= now) return
      const text = `${reason} until ${new Date(until).toISOString()}`
      throw new OperationalError('ATLAS_CERTIFICATE', `Cannot renew certificate: ${text}: ${this.#options.names[0]}`)
    }
    if (failure?.isAsked) refuse('the CA wants to be left alone', boundedWait(failure.retriesAt, now))
    refuse(`no more than ${MAX_ORDERS_PER_DAY} orders a day are placed, so none`, orderAllowedAt(orders, now))
  }

  /** Reads what there is now. Never throws: what cannot be read is a problem, which a new one may solve. */
  async load(): Promise<void> {
    if (this.#isAhead) return
    this.#unread = null
    // each by itself: a certificate is worth serving whatever has become of its record
    for (const read of [() => this.#readRecord(), () => this.#readIdentity()]) {
      await read().catch((error: unknown) => this.#noteUnread(error))
    }
  }

  /** Asks the CA when it should be renewed. */
  async check(reach: Reach): Promise<void> {
    const { clock } = this.#dependencies
    if (this.#identity === null) return
    // whoever this one takes over from may have written since; what cannot be read cannot be written either
    if (!this.#isAhead) await this.#readRecord().catch(() => {})
    const { directory } = this.#options
    const terms = { directory, identity: this.#identity, before: this.#suggestion, now: clock.now(), random: clock.random() }
    const suggestion = await askSuggestion(reach, terms)
    await this.#save({ suggestion }).catch(() => {}) // it holds in memory; where it matters, at an order, it is said
  }

  /** Gets it. Throws whatever went wrong; `identity` may be a new one all the same, that could not be written. */
  async renew(http: AcmeHttp, signal: AbortSignal): Promise<void> {
    if (this.#unsaved === null) {
      this.#unsaved = await this.#obtain(http, signal)
      this.#identity = this.#stored.parse(this.#unsaved)
      this.#issuer = this.#unsaved.issuer
    }
    await this.#stored.replace(this.#unsaved)
    this.#unsaved = null
    // without it, the order is found to be done with, since its key is in use
    await this.#save({ order: null, failure: null, suggestion: null }).catch(() => {})
  }

  /** Notes that it went wrong, and when it is tried again. */
  async fail(error: unknown): Promise<OperationalError> {
    const { clock } = this.#dependencies
    const now = clock.now()
    const explained = this.#explained(error)
    const { since = now, attempts: before = 0 } = this.#record.failure ?? {}
    const attempts = before + 1
    const retryAfterMs = error instanceof AcmeError ? error.retryAfterMs : null
    const isRateLimited = error instanceof AcmeError && (error.type === 'rateLimited' || error.status === 429)
    const wait = waitAfter({ attempts, isUrgent: isUrgent(this.#identity, now), random: clock.random(), retryAfterMs, isRateLimited })
    const isAsked = retryAfterMs !== null || isRateLimited
    const failure = { message: explained.message, since, attempts, retriesAt: now + wait, isAsked }
    await this.#save({ failure }).catch(() => {}) // in memory it holds
    return explained
  }

  async #readRecord(): Promise<void> {
    this.#record = await this.#dependencies.state.certificate(this.#name)
  }

  async #readIdentity(): Promise<void> {
    const loaded = await this.#stored.load()
    if (loaded === null || loaded.identity.fingerprint256 === this.#identity?.fingerprint256) return
    this.#identity = loaded.identity
    this.#issuer = loaded.issuer
  }

  #noteUnread(error: unknown): void {
    this.#unread ??= { message: this.#explained(error).message, since: this.#dependencies.clock.now(), attempts: 0 }
  }

  async #obtain(http: AcmeHttp, signal: AbortSignal): Promise<Obtained> {
    const { directory: url, profile } = this.#options
    const directory = await readDirectory(http, url)
    if (profile !== null && !directory.profiles.includes(profile)) {
      const known = printable(directory.profiles.join(', '), 300)
      throw new Error(`the CA has no profile ${profile}, ${known === '' ? 'and no other one' : `only: ${known}`}`)
    }
    try {
      return await this.#order({ http, signal, directory })
    } catch (error) {
      if (!isUnknownAccount(error)) throw error
      // RFC 8555 §6.7; once: what the CA makes it has to know
      await this.#dependencies.account.forget()
      return this.#order({ http, signal, directory })
    }
  }

  async #order({ http, signal, directory }: { http: AcmeHttp; signal: AbortSignal; directory: AcmeDirectory }): Promise<Obtained> {
    const { account, solver, clock } = this.#dependencies
    const { names, preferredChain, directory: issuer } = this.#options
    const tools = { client: await account.open(http), http, solver, clock, signal }
    const { order, keyPem } = (await this.#resume(tools)) ?? (await this.#begin(tools, directory))
    const { crypto } = await loadAcmeClient()
    const [, csr] = await crypto.createCsr({ altNames: [...names] }, keyPem)
    const chainPem = await order.complete({ csr: csr.toString(), preferredChain })
    const obtained = { chainPem, keyPem, issuer }
    await this.#refuseWrong(obtained)
    return obtained
  }

  /** The order that was under way, with its key: none is placed twice. */
  async #resume(tools: OrderTools): Promise<{ order: AcmeOrder; keyPem: string } | null> {
    const { order: known } = this.#record
    const keyPem = await this.#stored.nextKey()
    if (known === null || keyPem === null || !hasSame(known.names, this.#options.names)) return null
    const order = await AcmeOrder.resume(tools, known)
    return order === null ? null : { order, keyPem }
  }

  async #begin(tools: OrderTools, { renewalInfo }: AcmeDirectory): Promise<{ order: AcmeOrder; keyPem: string }> {
    const { names, profile, directory } = this.#options
    const { crypto } = await loadAcmeClient()
    const key = this.#kind === 'rsa' ? crypto.createPrivateRsaKey(RSA_BITS) : crypto.createPrivateEcdsaKey('P-256')
    const keyPem = (await key).toString()
    await this.#stored.keepNextKey(keyPem)
    // before the CA hears of it: where nothing can be written, nothing is ordered
    const now = tools.clock.now()
    await this.#save({ orders: [...recentOrders(this.#record.orders, now), now], order: null })
    const isKnown = renewalInfo !== null && this.#identity !== null && this.#issuer === directory
    const replaces = isKnown && this.#identity !== null ? await certificateId(this.#identity.chainPem) : null
    const order = await AcmeOrder.begin(tools, { names, profile, replaces })
    await this.#save({ order: { url: order.url, names } })
    return { order, keyPem }
  }

  /** What cannot be used is not fetched again either, but for a clock that is behind. */
  async #refuseWrong(obtained: Obtained): Promise<void> {
    const now = this.#dependencies.clock.now()
    try {
      const identity = this.#stored.parse(obtained)
      const missing = this.#options.names.filter((name) => !isFor(identity, name))
      if (missing.length > 0) throw new Error(`the certificate lacks names that were ordered: ${missing.join(', ')}`)
      if (now > identity.notAfter) throw new Error(`the certificate expired on ${new Date(identity.notAfter).toISOString()}`)
      if (now >= identity.notBefore) return
    } catch (error) {
      await this.#save({ order: null })
      throw error
    }
    throw new Error(`the certificate is not valid yet: the clock says ${new Date(now).toISOString()}`)
  }

  async #save(change: Partial<CertificateRecord>): Promise<void> {
    this.#record = { ...this.#record, ...change }
    this.#isAhead = true
    await this.#dependencies.state.saveCertificate(this.#name, this.#record)
    this.#isAhead = false
    this.#unread = null
  }

  get #suggestion(): CertificateRecord['suggestion'] {
    const { suggestion } = this.#record
    return suggestion?.certificate === this.#identity?.fingerprint256 ? suggestion : null
  }

  /** Both change with the configuration: a name is added, staging becomes production. */
  #isAsConfigured(identity: Identity): boolean {
    const isFromThere = this.#issuer === null || this.#issuer === this.#options.directory
    return isFromThere && this.#options.names.every((name) => isFor(identity, name))
  }

  #explained(error: unknown): OperationalError {
    if (error instanceof OperationalError) return error
    const { names, directory, origin } = this.#options
    // URLs of the CA may be in it, as long and as wild as the CA wants
    const reason = printable(reasonOf(error), MAX_TEXT)
    const message = `Cannot get a certificate: ${reason}: ${names[0]} of ${new URL(directory).host} (${origin})`
    return new OperationalError('ATLAS_CERTIFICATE', message, error)
  }
}

function isFor({ names, addresses }: Identity, name: string): boolean {
  return names.includes(name) || addresses.includes(name)
}

function hasSame(some: readonly string[], others: readonly string[]): boolean {
  return some.length === others.length && some.every((name) => others.includes(name))
}
