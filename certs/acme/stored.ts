import { createPrivateKey, X509Certificate } from 'node:crypto'
import { PRIVATE_MODE, PUBLIC_MODE } from '../disk.ts'
import { type Identity, parseIdentity } from '../identity.ts'
import type { Storage } from '../storage.ts'

export interface StoredOptions {
  readonly storage: Storage
  /** Path in the storage. */
  readonly directory: string
  /** Who wants it, for messages. */
  readonly origin: string
}

export interface Obtained {
  readonly chainPem: string
  readonly keyPem: string
  /** URL of the directory of the CA that gave it; null: nobody knows. */
  readonly issuer: string | null
}

export interface LoadedIdentity {
  readonly identity: Identity
  readonly issuer: string | null
}

/** The line before the chain (RFC 7468 §2 lets anything stand there) that says where it came from, so that both are replaced as one. */
const ISSUER = /^ACME directory: (\S+)$/m

/**
 * A certificate and its key on disk. A new key is `next.pem` until the chain that belongs to it is `chain.pem`; then it becomes
 * `key.pem`. So whatever ends the process, there is a key for the chain.
 */
export class StoredIdentity {
  readonly #storage: Storage
  readonly #paths: { readonly chain: string; readonly key: string; readonly next: string }
  readonly #origin: string

  constructor({ storage, directory, origin }: StoredOptions) {
    this.#storage = storage
    this.#paths = { chain: `${directory}/chain.pem`, key: `${directory}/key.pem`, next: `${directory}/next.pem` }
    this.#origin = origin
  }

  /** What is there, expired or not: better than nothing. Null: nothing. Throws OperationalError for what cannot be used. */
  async load(): Promise<LoadedIdentity | null> {
    const [chainPem, keyPem, nextPem] = await Promise.all([
      this.#storage.read(this.#paths.chain),
      this.#storage.read(this.#paths.key),
      this.nextKey(),
    ])
    if (chainPem === null || (keyPem === null && nextPem === null)) return null
    const issuer = ISSUER.exec(chainPem)?.[1] ?? null
    if (nextPem === null || !this.#isPair(chainPem, nextPem)) return { identity: this.parse({ chainPem, keyPem: keyPem ?? '' }), issuer }
    // what cannot be written now is written at the next start
    await this.#finish(nextPem).catch(() => {})
    return { identity: this.parse({ chainPem, keyPem: nextPem }), issuer }
  }

  /** Whatever the clock says. Throws OperationalError for what cannot be used. */
  parse({ chainPem, keyPem }: Pick<Obtained, 'chainPem' | 'keyPem'>): Identity {
    const source = { cert: this.#paths.chain, key: this.#paths.key, origin: this.#origin }
    return parseIdentity({ chainPem, keyPem, source, now: beginningOf(chainPem) })
  }

  /** Null: there is none, or none that is good for anything; then another one takes its place. */
  async nextKey(): Promise<string | null> {
    try {
      const keyPem = await this.#storage.read(this.#paths.next)
      if (keyPem !== null) createPrivateKey(keyPem)
      return keyPem
    } catch {
      return null
    }
  }

  async keepNextKey(keyPem: string): Promise<void> {
    await this.#storage.write(this.#paths.next, { text: keyPem, mode: PRIVATE_MODE })
  }

  /** `keyPem` is the one that was kept. */
  async replace({ chainPem, keyPem, issuer }: Obtained): Promise<void> {
    await this.#storage.write(this.#paths.chain, { text: `ACME directory: ${issuer}\n\n${chainPem}`, mode: PUBLIC_MODE })
    await this.#finish(keyPem)
  }

  async #finish(keyPem: string): Promise<void> {
    await this.#storage.write(this.#paths.key, { text: keyPem, mode: PRIVATE_MODE })
    await this.#storage.remove(this.#paths.next)
  }

  #isPair(chainPem: string, keyPem: string): boolean {
    try {
      this.parse({ chainPem, keyPem })
      return true
    } catch {
      return false
    }
  }
}

/** A moment at which the leaf is valid. */
function beginningOf(chainPem: string): number {
  try {
    return new X509Certificate(chainPem).validFromDate.getTime()
  } catch {
    return 0 // parseIdentity() says what is wrong with it
  }
}
