import { canonicalAddress, parseAddress, parseEndpoint } from '../../net/address.ts'
import type { RequestHead } from './request.ts'

/** Whose word about clients counts. */
export interface TrustedProxies {
  has(address: Uint8Array): boolean
}

/** forwardedAddress(): the two fields name different clients, so that who can forge one of them could choose. */
export const CONTRADICTION = Symbol('contradiction')

/**
 * The client that trusted proxies name (RFC 7239, X-Forwarded-For): the nearest hop that is no trusted proxy itself; null when they
 * name none. `peer`, an address, is trusted.
 */
export function forwardedAddress(head: RequestHead, peer: string, trusted: TrustedProxies): string | null | typeof CONTRADICTION {
  const standard = head.forwarded === '' ? null : nearestStranger(forwardedFor(head.forwarded), peer, trusted)
  const common = head.forwardedFor === '' ? null : nearestStranger(head.forwardedFor.split(','), peer, trusted)
  if (standard !== null && common !== null && standard !== common) return CONTRADICTION
  return standard ?? common
}

/** Each hop says who asked it, the last one at the end. What is no address ends the walk: who is known by then is the client. */
function nearestStranger(hops: readonly string[], peer: string, trusted: TrustedProxies): string {
  let client = peer
  for (const hop of hops.toReversed()) {
    const address = addressOf(hop.trim())
    const bytes = address === null ? null : parseAddress(address)
    if (address === null || bytes === null) break
    client = address
    if (!trusted.has(bytes)) break
  }
  return client
}

/** An address with or without brackets and port (RFC 7239 §6). */
function addressOf(text: string): string | null {
  const bare = /^\[([^\]]+)\]$/.exec(text)?.[1] ?? text
  if (bare.includes('%')) return null
  if (parseAddress(bare) !== null) return canonicalAddress(bare)
  const host = parseEndpoint(text)?.host
  return host === undefined ? null : canonicalAddress(host)
}

/** RFC 7239 §4: an element for each hop, of pairs; values may be quoted. */
const ELEMENT = /(?:[^,"]|"(?:[^"\\]|\\.)*")+/g
const FOR = /(?:^|;)[ \t]*for=(?:"((?:[^"\\]|\\.)*)"|([^;,"\s]*))[ \t]*(?=;|$)/i

/** The "for" of each element; empty where there is none. */
function forwardedFor(value: string): readonly string[] {
  return (value.match(ELEMENT) ?? []).map((element) => {
    const match = FOR.exec(element)
    return match?.[1]?.replaceAll(/\\(.)/g, '$1') ?? match?.[2] ?? ''
  })
}
