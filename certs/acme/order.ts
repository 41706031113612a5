import { addAbortListener } from 'node:events'
import type { Authorization, Client, Order } from 'acme-client'
import { canonicalAddress, parseAddress } from '../../net/address.ts'
import { isUnknownAccount } from './account.ts'
import type { AcmeIdentifier, Challenge, ChallengeSolver } from './challenge.ts'
import type { AcmeHttp, Reply } from './http.ts'
import type { AcmeClock } from './options.ts'
import { AcmeError, MAX_TEXT, printable, problemText } from './problem.ts'
import { checkedAuthorization, checkedOrder, checkedToken } from './resources.ts'

/** For how long one order is waited for at a time; it is taken up again by the next attempt. */
const WAIT_MS = 300_000
const MIN_PAUSE_MS = 1000
const MAX_PAUSE_MS = 30_000
/** RFC 8555 §7.4: the CA may find out late that an order is not ready. */
const FINALIZE_ATTEMPTS = 3

export interface OrderTools {
  readonly client: Client
  readonly http: AcmeHttp
  readonly solver: ChallengeSolver
  readonly clock: AcmeClock
  readonly signal: AbortSignal
}

export interface OrderTerms {
  readonly names: readonly string[]
  readonly profile: string | null
  /** The certificate that is replaced (RFC 9773 §5); null: the CA does not want to know it. */
  readonly replaces: string | null
}

interface Presented {
  readonly url: string
  readonly challenge: Challenge
  readonly offered: Authorization['challenges'][number]
}

/** An order of a certificate at a CA (RFC 8555 §7.4), from its beginning to its chain. Everything throws as AcmeHttp does. */
export class AcmeOrder {
  readonly #tools: OrderTools
  readonly #names: readonly string[]
  #order: Order

  private constructor(tools: OrderTools, names: readonly string[], order: Order) {
    this.#tools = tools
    this.#names = names
    this.#order = order
  }

  static async begin(tools: OrderTools, terms: OrderTerms): Promise<AcmeOrder> {
    try {
      return new AcmeOrder(tools, terms.names, await place(tools, terms))
    } catch (error) {
      // RFC 9773 §5: alreadyReplaced; and a CA may not know a certificate of an account before. Nobody goes without one for that
      if (terms.replaces === null || !isRefusal(error)) throw error
      return new AcmeOrder(tools, terms.names, await place(tools, { ...terms, replaces: null }))
    }
  }

  /** One for these names that was begun before; null: the CA has given it up. */
  static async resume(tools: OrderTools, { url, names }: { url: string; names: readonly string[] }): Promise<AcmeOrder | null> {
    try {
      const { value } = await fetchOrder(tools, url)
      return value.status === 'invalid' ? null : new AcmeOrder(tools, names, value)
    } catch (error) {
      if (isRefusal(error)) return null
      throw error
    }
  }

  get url(): string {
    return this.#order.url
  }

  /** The chain, PEM, for the key of the CSR. `preferredChain`: the CN of its root; the CA's first one when none leads there. */
  async complete({ csr, preferredChain }: { csr: string; preferredChain: string | null }): Promise<string> {
    const { http, client } = this.#tools
    if (this.#order.status === 'pending') {
      await this.#authorize()
      await this.#awaitOrder('pending')
    }
    for (let attempt = 1; this.#order.status === 'ready'; attempt++) await this.#finalize(csr, attempt)
    if (this.#order.status === 'processing') await this.#awaitOrder('processing')
    if (this.#order.status !== 'valid') throw new Error(`the order is ${this.#order.status}: ${problemText(this.#order.error)}`)
    const { value } = await http.call(() => client.getCertificate(this.#order, preferredChain ?? ''))
    if (typeof value !== 'string') throw new Error('what the CA sends is no certificate')
    return value
  }

  /** Has the CA see that all names are ours. */
  async #authorize(): Promise<void> {
    const { solver, http, client, signal } = this.#tools
    const presented: Presented[] = []
    for (const url of this.#order.authorizations) {
      const { value } = await this.#fetchAuthorization(url)
      if (value.status !== 'valid') presented.push(await this.#presentable(value))
    }
    try {
      // all at once: a record that takes minutes to be seen takes them once
      await unlessAborted(signal, settled(presented.map(({ challenge }) => solver.present(challenge))))
      for (const { offered } of presented) {
        if (offered.status === 'pending') await http.call(() => client.completeChallenge(offered))
      }
      for (const { url } of presented) await this.#awaitAuthorization(url)
    } finally {
      await Promise.all(presented.map(({ challenge }) => solver.remove(challenge)))
    }
  }

  async #presentable(authorization: Authorization): Promise<Presented> {
    const { solver, client } = this.#tools
    const { url, identifier, status, challenges } = authorization
    if (status !== 'pending') throw new Error(authorizationText(authorization))
    const offered = challenges.find(({ type }) => type === solver.type)
    if (offered === undefined) {
      const types = printable(challenges.map(({ type }) => type).join(', '), 100)
      throw new Error(`the CA does not offer ${solver.type} for ${printable(identifier.value, 100)}, only: ${types}`)
    }
    // RFC 8555 §8.1 is the same for all types; the library hashes it for dns-01
    const keyAuthorization = await client.getChallengeKeyAuthorization({ ...offered, type: 'http-01' })
    return {
      url,
      offered,
      challenge: { identifier: this.#ownIdentifier(identifier), token: checkedToken(offered.token), keyAuthorization },
    }
  }

  /** Nothing is shown for what was not ordered. */
  #ownIdentifier({ type, value }: Authorization['identifier']): AcmeIdentifier {
    const own = this.#names.map(bareIdentifier).find((each) => each.type === type && each.value === canonicalAddress(value))
    if (own === undefined) throw new Error(`the CA asks for what was not ordered: ${printable(value, 100)}`)
    return own
  }

  async #awaitAuthorization(url: string): Promise<void> {
    const authorization = await this.#poll(() => this.#fetchAuthorization(url), 'pending')
    if (authorization.status !== 'valid') throw new Error(authorizationText(authorization))
  }

  async #finalize(csr: string, attempt: number): Promise<void> {
    const { http, client, clock, signal } = this.#tools
    try {
      const { value } = await http.call(() => client.finalizeOrder(this.#order, csr))
      this.#order = checkedOrder(value, this.url)
    } catch (error) {
      if (!(error instanceof AcmeError && error.type === 'orderNotReady') || attempt === FINALIZE_ATTEMPTS) throw error
      await clock.sleep(MIN_PAUSE_MS, signal)
      await this.#awaitOrder('pending')
    }
  }

  /** Fetches the order until it is in another state. */
  async #awaitOrder(state: Order['status']): Promise<void> {
    this.#order = await this.#poll(() => fetchOrder(this.#tools, this.url), state)
  }

  async #poll<T extends { readonly status: string }>(fetch: () => Promise<Reply<T>>, state: T['status']): Promise<T> {
    const { clock, signal } = this.#tools
    const deadline = clock.now() + WAIT_MS
    for (let pause = MIN_PAUSE_MS; ; pause = Math.min(2 * pause, MAX_PAUSE_MS)) {
      const { value, retryAfterMs } = await fetch()
      if (value.status !== state) return value
      const wait = Math.max(retryAfterMs ?? pause, MIN_PAUSE_MS)
      if (clock.now() + wait > deadline) {
        throw new AcmeError(`the CA has come to no end yet: ${state}`, { status: 200, type: '', retryAfterMs })
      }
      await clock.sleep(wait, signal)
    }
  }

  async #fetchAuthorization(url: string): Promise<Reply<Authorization>> {
    const { http, client } = this.#tools
    const { value, retryAfterMs } = await http.call(() => client.getAuthorizations({ ...this.#order, authorizations: [url] }))
    return { value: checkedAuthorization(value[0], url), retryAfterMs }
  }
}

/** Rejects as the first that rejected, once all have come to an end. */
async function settled(works: readonly Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(works)) if (result.status === 'rejected') throw result.reason
}

async function unlessAborted(signal: AbortSignal, work: Promise<void>): Promise<void> {
  signal.throwIfAborted()
  const { promise, reject } = Promise.withResolvers<never>()
  using _ = addAbortListener(signal, () => reject(signal.reason))
  await Promise.race([work, promise])
}

/** The CA does not want it: neither that it is busy, nor that it does not know who asks. */
function isRefusal(error: unknown): boolean {
  return (
    error instanceof AcmeError && error.status < 500 && error.status !== 429 && error.type !== 'rateLimited' && !isUnknownAccount(error)
  )
}

async function place({ client, http }: OrderTools, { names, profile, replaces }: OrderTerms): Promise<Order> {
  // the library's type has neither of the two
  const request = { identifiers: names.map(identifierOf), ...(profile !== null && { profile }), ...(replaces !== null && { replaces }) }
  const { value } = await http.call(() => client.createOrder(request))
  return checkedOrder(value, value.url)
}

async function fetchOrder({ client, http }: OrderTools, url: string): Promise<Reply<Order>> {
  const known = { url, status: 'pending' as const, identifiers: [], authorizations: [], finalize: '' }
  const { value, retryAfterMs } = await http.call(() => client.getOrder(known))
  return { value: checkedOrder(value, url), retryAfterMs }
}

function identifierOf(name: string): AcmeIdentifier {
  return { type: parseAddress(name) === null ? 'dns' : 'ip', value: name }
}

/** As authorizations have it (RFC 8555 §7.1.4). */
function bareIdentifier(name: string): AcmeIdentifier {
  return identifierOf(name.replace(/^\*\./, ''))
}

/** With what the CA has found at a challenge. */
function authorizationText({ identifier, status, challenges }: Authorization): string {
  const reasons = challenges.filter(({ error }) => error !== undefined).map(({ type, error }) => `${type}: ${problemText(error)}`)
  return printable(`the CA has found ${identifier.value} ${status}: ${reasons.join('; ')}`, MAX_TEXT)
}
