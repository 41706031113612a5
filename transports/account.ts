import { createHash } from 'node:crypto'

/** RFC 4291 §2.7: multicast, the address of no client. */
const NO_CLIENT = 0xff
const ACCOUNT_OCTETS = 16

/** What the use of a credential is counted under. The first octets count for limits on networks, of which each credential is one of its own. */
export function accountFor(credential: string | Uint8Array): Uint8Array {
  const account = createHash('sha256').update(credential).digest().subarray(0, ACCOUNT_OCTETS)
  account[0] = NO_CLIENT
  return new Uint8Array(account)
}
