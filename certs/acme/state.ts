import { PRIVATE_MODE } from '../disk.ts'
import type { Storage } from '../storage.ts'
import { fieldOf, textOf } from './problem.ts'

/** What is known of one certificate besides its files. Times: milliseconds since 1970. */
export interface CertificateRecord {
  /** When orders were placed, the last day's. */
  readonly orders: readonly number[]
  /** The one that is under way; its key is on disk. */
  readonly order: OrderRecord | null
  readonly failure: FailureRecord | null
  readonly suggestion: SuggestionRecord | null
}

export interface OrderRecord {
  readonly url: string
  readonly names: readonly string[]
}

export interface FailureRecord {
  readonly message: string
  readonly since: number
  readonly attempts: number
  readonly retriesAt: number
  /** It was the CA that asked to wait. */
  readonly isAsked: boolean
}

/** Renewal information (RFC 9773). */
export interface SuggestionRecord {
  /** Fingerprint of the one that it is about. */
  readonly certificate: string
  /** The window, and the moment that was chosen in it; null: the CA gave none. */
  readonly window: { readonly start: number; readonly end: number; readonly chosen: number } | null
  readonly checkAt: number
  /** Failed ones in a row. */
  readonly failures: number
}

export interface AccountRecord {
  readonly url: string
  /** Digest of its public key: the file may have been exchanged. */
  readonly key: string
  /** The one that the CA knows; null: none. */
  readonly email: string | null
}

export interface AcmeStateContent {
  /** By directory: a host may have several. */
  readonly accounts: Readonly<Record<string, AccountRecord>>
  /** By the name of their directory in `identities/acme/`. */
  readonly certificates: Readonly<Record<string, CertificateRecord>>
}

export const NO_RECORD: CertificateRecord = { orders: [], order: null, failure: null, suggestion: null }
/** Of certificates; operators have 20, and what was once configured stays for a while. */
const MAX_RECORDS = 200

/** ECMA-262 §21.4.1.1. */
const MAX_TIME = 8.64e15

/** `acme/<host>/state.json`. What it holds can be found out again, so a damaged one is an empty one. */
export class AcmeState {
  readonly #storage: Storage
  readonly #path: string

  constructor(storage: Storage, path: string) {
    this.#storage = storage
    this.#path = path
  }

  /** Throws OperationalError. */
  async read(): Promise<AcmeStateContent> {
    return parseState((await this.#storage.read(this.#path)) ?? '')
  }

  async account(directory: string): Promise<AccountRecord | null> {
    return (await this.read()).accounts[directory] ?? null
  }

  async certificate(name: string): Promise<CertificateRecord> {
    return (await this.read()).certificates[name] ?? NO_RECORD
  }

  /** Null: it is gone. Only in Storage.exclusively(), as saveCertificate(). */
  async saveAccount(directory: string, account: AccountRecord | null): Promise<void> {
    const { accounts, certificates } = await this.read()
    const { [directory]: _, ...others } = accounts
    await this.#write({ accounts: account === null ? others : { ...others, [directory]: account }, certificates })
  }

  async saveCertificate(name: string, record: CertificateRecord): Promise<void> {
    const { accounts, certificates } = await this.read()
    const { [name]: _, ...others } = certificates
    const kept = Object.entries(others).slice(1 - MAX_RECORDS)
    await this.#write({ accounts, certificates: { ...Object.fromEntries(kept), [name]: record } })
  }

  async #write(content: AcmeStateContent): Promise<void> {
    await this.#storage.write(this.#path, { text: `${JSON.stringify(content, null, 2)}\n`, mode: PRIVATE_MODE })
  }
}

function parseState(text: string): AcmeStateContent {
  let content: unknown
  try {
    content = JSON.parse(text)
  } catch {
    content = null
  }
  return { accounts: mapOf(content, 'accounts', parseAccount), certificates: mapOf(content, 'certificates', parseRecord) }
}

function mapOf<T>(content: unknown, key: string, parse: (value: unknown) => T): Record<string, T> {
  const map = fieldOf(content, key)
  return typeof map === 'object' && map !== null ? Object.fromEntries(Object.entries(map).map(([name, value]) => [name, parse(value)])) : {}
}

function parseAccount(value: unknown): AccountRecord {
  return { url: textOf(value, 'url'), key: textOf(value, 'key'), email: textOf(value, 'email') || null }
}

function parseRecord(value: unknown): CertificateRecord {
  const orders = fieldOf(value, 'orders')
  return {
    orders: Array.isArray(orders) ? orders.filter(isNumber) : [],
    order: parseOrder(fieldOf(value, 'order')),
    failure: parseFailure(fieldOf(value, 'failure')),
    suggestion: parseSuggestion(fieldOf(value, 'suggestion')),
  }
}

function parseOrder(value: unknown): OrderRecord | null {
  const url = textOf(value, 'url')
  const names = fieldOf(value, 'names')
  return url === '' || !Array.isArray(names) ? null : { url, names: names.map(String) }
}

function parseFailure(value: unknown): FailureRecord | null {
  const message = textOf(value, 'message')
  const [since, attempts, retriesAt] = ['since', 'attempts', 'retriesAt'].map((key) => numberOf(value, key))
  if (message === '' || since == null || attempts == null || retriesAt == null) return null
  return { message, since, attempts, retriesAt, isAsked: fieldOf(value, 'isAsked') === true }
}

function parseSuggestion(value: unknown): SuggestionRecord | null {
  const certificate = textOf(value, 'certificate')
  const checkAt = numberOf(value, 'checkAt')
  if (certificate === '' || checkAt === null) return null
  const window = fieldOf(value, 'window')
  const [start, end, chosen] = ['start', 'end', 'chosen'].map((key) => numberOf(window, key))
  return {
    certificate,
    window: start == null || end == null || chosen == null ? null : { start, end, chosen },
    checkAt,
    failures: numberOf(value, 'failures') ?? 0,
  }
}

function numberOf(object: unknown, key: string): number | null {
  const value = fieldOf(object, key)
  return isNumber(value) ? value : null
}

/** One that a Date can be made of. */
function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Math.abs(value) <= MAX_TIME
}
