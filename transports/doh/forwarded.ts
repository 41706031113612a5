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
  const hops = head.forwarded === '' ? [] : forwardedFor(head.forwarded)
  // RFC 7239 §4: it may say other things, and no client
  const standard = hops.every((hop) => hop === '') ? null : nearestStranger(hops, peer, trusted)
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

/** The "for" of each element (RFC 7239 §4); empty where there is none, or the element is malformed. In one pass: regular expressions go back and forth over quotes. */
function forwardedFor(value: string): readonly string[] {
  const hops: string[] = []
  let element = new ForwardedElement()
  let isQuoted = false
  for (let at = 0; at < value.length; at++) {
    const character = value.charAt(at)
    if (isQuoted && character === '\\') element.add(value.charAt(++at))
    else if (character === '"') {
      isQuoted = !isQuoted
      element.quote()
    } else if (isQuoted || (character !== ';' && character !== ',')) element.add(character)
    else {
      element.endPair()
      if (character === ';') continue
      hops.push(element.for)
      element = new ForwardedElement()
    }
  }
  element.endPair()
  return [...hops, isQuoted ? '' : element.for]
}

class ForwardedElement {
  #for: string | null = null
  #isMalformed = false
  #pair = ''
  #quotes = 0

  get for(): string {
    return this.#isMalformed ? '' : (this.#for ?? '')
  }

  add(character: string): void {
    // nothing stands behind a quoted value but blanks
    if (this.#quotes === 2 && character !== ' ' && character !== '\t') this.#isMalformed = true
    this.#pair += character
  }

  quote(): void {
    this.#quotes++
    if (this.#quotes > 2 || (this.#quotes === 1 && !this.#pair.endsWith('='))) this.#isMalformed = true
  }

  endPair(): void {
    const pair = this.#pair.trim()
    this.#pair = ''
    this.#quotes = 0
    if (pair.slice(0, 4).toLowerCase() !== 'for=') return
    // RFC 7239 §4: each parameter once
    if (this.#for !== null) this.#isMalformed = true
    this.#for = pair.slice(4)
  }
}
