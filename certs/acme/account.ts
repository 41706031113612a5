import { createHash, createPrivateKey, createPublicKey } from 'node:crypto'
import type { Client } from 'acme-client'
import { OperationalError, reasonOf } from '../../dns/operational-error.ts'
import { PRIVATE_MODE, readSmallFile } from '../disk.ts'
import { privateKeyBlock } from '../pem.ts'
import type { Storage } from '../storage.ts'
import type { AcmeHttp } from './http.ts'
import { loadAcmeClient } from './library.ts'
import type { AcmeOptions, ExternalAccount } from './options.ts'
import { AcmeError } from './problem.ts'
import type { AcmeState } from './state.ts'

export interface AccountDependencies {
  readonly storage: Storage
  readonly state: AcmeState
  /** Of the files of this CA. */
  readonly directory: string
}

/** An account at a CA (RFC 8555 §7.3). All of it runs in Storage.exclusively(). */
export class AcmeAccount {
  readonly #options: AcmeOptions
  readonly #storage: Storage
  readonly #state: AcmeState
  readonly #paths: { readonly key: string; readonly next: string }

  constructor(options: AcmeOptions, { storage, state, directory }: AccountDependencies) {
    this.#options = options
    this.#storage = storage
    this.#state = state
    this.#paths = { key: `${directory}/account.key`, next: `${directory}/account-next.key` }
  }

  /** A client that the CA knows, with the present contact. Throws OperationalError, and as AcmeHttp does. */
  async open(http: AcmeHttp): Promise<Client> {
    const key = (await this.#presentKey(http)) ?? (await this.#newKey(this.#paths.key))
    const { directory, email } = this.#options
    const recorded = await this.#state.account(directory)
    const digest = digestOf(key)
    const known = recorded?.key === digest ? recorded : null
    const client = await this.#client(key, known?.url ?? null)
    if (known?.email === email) return client
    if (known !== null) await http.call(() => client.updateAccount({ contact: this.#contact }))
    else if ((await this.#find(http, client)) === null) await this.#create(http, client)
    await this.#state.saveAccount(directory, { url: client.getAccountUrl(), key: digest, email })
    return client
  }

  /** The CA does not know it any more. */
  async forget(): Promise<void> {
    await this.#state.saveAccount(this.#options.directory, null)
  }

  /** Another key for the same account (RFC 8555 §7.3.5). Throws as open() does; then one of both is the account's, and open() finds out which. */
  async rollOver(http: AcmeHttp): Promise<void> {
    const client = await this.open(http)
    const key = await this.#newKey(this.#paths.next)
    try {
      await http.call(() => client.updateAccountKey(key))
    } catch (error) {
      if (error instanceof AcmeError && error.status < 500) await this.#storage.remove(this.#paths.next)
      throw error
    }
    await this.#adopt(key)
  }

  /** Null: there is none. A roll-over may have been cut short. */
  async #presentKey(http: AcmeHttp): Promise<string | null> {
    const key = await this.#readKey(this.#paths.key)
    const next = await this.#readKey(this.#paths.next)
    if (next === null) return key
    if ((await this.#find(http, await this.#client(next, null))) !== null) return this.#adopt(next)
    await this.#storage.remove(this.#paths.next)
    return key
  }

  async #adopt(key: string): Promise<string> {
    await this.#storage.write(this.#paths.key, { text: key, mode: PRIVATE_MODE })
    await this.#storage.remove(this.#paths.next)
    return key
  }

  /** Its URL; null: the CA has no account for the client's key (RFC 8555 §7.3.1). */
  async #find(http: AcmeHttp, client: Client): Promise<string | null> {
    try {
      await http.call(() => client.createAccount({ onlyReturnExisting: true }))
      return client.getAccountUrl()
    } catch (error) {
      if (isUnknownAccount(error)) return null
      throw error
    }
  }

  /** Whoever names a CA agrees to its terms of service. */
  async #create(http: AcmeHttp, client: Client): Promise<void> {
    await http.call(() => client.createAccount({ termsOfServiceAgreed: true, contact: this.#contact }))
  }

  get #contact(): string[] {
    return this.#options.email === null ? [] : [`mailto:${this.#options.email}`]
  }

  async #client(accountKey: string, accountUrl: string | null): Promise<Client> {
    const { Client } = await loadAcmeClient()
    const { directory, eab } = this.#options
    return new Client({
      directoryUrl: directory,
      accountKey,
      ...(accountUrl !== null && { accountUrl }),
      ...(eab !== null && { externalAccountBinding: { kid: eab.keyId, hmacKey: readExternalKey(eab) } }),
    })
  }

  async #newKey(path: string): Promise<string> {
    const { crypto } = await loadAcmeClient()
    const key = (await crypto.createPrivateEcdsaKey('P-256')).toString()
    await this.#storage.write(path, { text: key, mode: PRIVATE_MODE })
    return key
  }

  /** A damaged one is never replaced: the account, with all that the CA allows it, hangs on it. */
  async #readKey(path: string): Promise<string | null> {
    const text = await this.#storage.read(path)
    if (text === null) return null
    const block = privateKeyBlock(text)
    try {
      if (block === null) throw new Error('there is no private key in it')
      createPrivateKey(block)
      return `${block}\n`
    } catch (error) {
      const advice = 'restore the file, or move it away for another account'
      throw new OperationalError('ATLAS_CERTIFICATE', `Cannot use the ACME account key: ${reasonOf(error)}: ${path}: ${advice}`, error)
    }
  }
}

function digestOf(key: string): string {
  return createHash('sha256')
    .update(createPublicKey(key).export({ type: 'spki', format: 'der' }))
    .digest('base64url')
}

/** Of a request that was signed by an account (RFC 8555 §6.7). */
export function isUnknownAccount(error: unknown): boolean {
  return error instanceof AcmeError && error.type === 'accountDoesNotExist'
}

/** RFC 8555 §7.3.4: in base64url. Throws OperationalError that names the file and its origin. */
export function readExternalKey({ keyFile, origin }: ExternalAccount): string {
  let reason = 'there is no such file'
  try {
    const key = readSmallFile(keyFile)?.trim()
    if (key !== undefined && /^[\w-]+=*$/.test(key)) return key
    if (key !== undefined) reason = 'it is not base64url'
  } catch (error) {
    reason = reasonOf(error)
  }
  throw new OperationalError('ATLAS_CERTIFICATE', `Cannot use the HMAC key of tls.acme.eab: ${reason}: ${keyFile} (${origin})`)
}
