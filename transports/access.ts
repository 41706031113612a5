import type { Holder } from '../dns/contracts.ts'
import { Failure } from '../dns/failure.ts'
import type { AddressBytes } from '../net/address.ts'
import type { ClientCa } from '../net/tls.ts'

/** Addresses that are let in. */
export interface AccessList {
  has(address: AddressBytes): boolean
}

/** Who has been given a token. */
export interface TokenHolders {
  /** Whose it is; null: nobody's. */
  holderOf(token: string): Holder | null
  /** Whether `holder` has the same token still. */
  has(holder: Holder): boolean
}

/** Who may ask at a listener. */
export interface Access extends AccessList {
  /** Who asks has to be among them besides; null: nobody needs a token. */
  readonly tokens?: TokenHolders | null
  /** What the certificate leads to that clients have to show, which stands in for a token; null: none. Not of QUIC. */
  readonly clientCa?: ClientCa | null
}

/** What has an access list that may change. */
export interface AccessTerms {
  readonly access: Access
}

/** The one decision for all transports: why this address, with this token or certificate, may not ask; null: it may. */
export function refusalOf(octets: AddressBytes, holder: Holder | null, access: Access): Failure | null {
  if (!access.has(octets)) return Failure.access_denied
  const { tokens = null, clientCa = null } = access
  // the handshake has seen to it, unless it was before another client CA was asked for
  if (clientCa !== null) return holder?.clientCa === clientCa.id ? null : Failure.access_denied
  return tokens === null || (holder !== null && tokens.has(holder)) ? null : Failure.token_required
}

/** Who has the token that is the first label of the server name (RFC 6066 §3), such as "token.dns.example.com". */
export function holderOfName(serverName: string, { tokens = null }: Access): Holder | null {
  const dot = serverName.indexOf('.')
  return tokens === null || dot < 0 ? null : tokens.holderOf(serverName.slice(0, dot))
}
