import { createHash, createHmac, randomBytes } from 'node:crypto'
import type { TokenHolder } from '../dns/contracts.ts'
import { digestOf, TOKEN, type TokenEntry } from '../net/token.ts'
import type { TokenHolders } from './access.ts'

const KEY_OCTETS = 32
/** RFC 4291 §2.7: multicast, the address of no client. */
const NO_CLIENT = 0xff
const ACCOUNT_OCTETS = 16

/**
 * Finds holders by their tokens. What is looked up is made with a random key from what was presented, so that the time it takes tells
 * nothing of the tokens that there are.
 */
export class TokenTable implements TokenHolders {
  readonly #key = randomBytes(KEY_OCTETS)
  readonly #byMac = new Map<string, TokenHolder>()
  readonly #byName = new Map<string, TokenHolder>()

  constructor(entries: readonly TokenEntry[]) {
    for (const { name, digest } of entries) {
      const holder = { name, account: accountOf(digest) }
      this.#byMac.set(this.#mac(digest), holder)
      this.#byName.set(name, holder)
    }
  }

  holderOf(token: string): TokenHolder | null {
    return TOKEN.test(token) ? (this.#byMac.get(this.#mac(digestOf(token))) ?? null) : null
  }

  has({ name, account }: TokenHolder): boolean {
    const present = this.#byName.get(name)
    return present !== undefined && Buffer.compare(present.account, account) === 0
  }

  #mac(digest: string): string {
    return createHmac('sha256', this.#key).update(digest).digest('latin1')
  }
}

/** The first octets count for limits on networks, of which each token is one of its own. */
function accountOf(digest: string): Uint8Array {
  const account = createHash('sha256').update(digest).digest().subarray(0, ACCOUNT_OCTETS)
  account[0] = NO_CLIENT
  return new Uint8Array(account)
}
