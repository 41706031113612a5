import { createHmac, randomBytes } from 'node:crypto'
import type { Holder } from '../dns/contracts.ts'
import { digestOf, TOKEN, type TokenEntry } from '../net/token.ts'
import type { TokenHolders } from './access.ts'
import { accountFor } from './account.ts'

const KEY_OCTETS = 32

/**
 * Finds holders by their tokens. What is looked up is made with a random key from what was presented, so that the time it takes tells
 * nothing of the tokens that there are.
 */
export class TokenTable implements TokenHolders {
  readonly #key = randomBytes(KEY_OCTETS)
  readonly #byMac = new Map<string, Holder>()
  readonly #byName = new Map<string, Holder>()

  constructor(entries: readonly TokenEntry[]) {
    for (const { name, digest } of entries) {
      const holder = { name, account: accountFor(digest), clientCa: null }
      this.#byMac.set(this.#mac(digest), holder)
      this.#byName.set(name, holder)
    }
  }

  holderOf(token: string): Holder | null {
    return TOKEN.test(token) ? (this.#byMac.get(this.#mac(digestOf(token))) ?? null) : null
  }

  has({ name, account }: Holder): boolean {
    const present = this.#byName.get(name)
    return present !== undefined && Buffer.compare(present.account, account) === 0
  }

  #mac(digest: string): string {
    return createHmac('sha256', this.#key).update(digest).digest('latin1')
  }
}
