import { OperationalError } from '../dns/operational-error.ts'
import { formatAddress, parseAddress } from '../net/address.ts'

/** What a local certificate is for: normal forms, no duplicates, at least one of either. */
export interface LocalNames {
  readonly names: readonly string[]
  readonly addresses: readonly string[]
}

/** Throws OperationalError for what is neither a host name nor an address. */
export function parseLocalNames({ names, addresses }: LocalNames): LocalNames {
  const parsed = { names: [...new Set(names.map(parseName))], addresses: [...new Set(addresses.map(parseIp))] }
  const count = parsed.names.length + parsed.addresses.length
  if (count === 0) throw invalid('it needs a name or an address', 'none')
  if (count > MAX_LOCAL_NAMES) throw invalid(`it holds at most ${MAX_LOCAL_NAMES} names and addresses`, String(count))
  return parsed
}

/** Names and addresses together. As public CAs have it: the certificate goes into every full handshake. */
export const MAX_LOCAL_NAMES = 100

export function haveSameNames(a: LocalNames, b: LocalNames): boolean {
  return isSameSet(a.names, b.names) && isSameSet(a.addresses, b.addresses)
}

/** RFC 1123 §2.1, at most 63 octets a label; the last label is not a number, or it would read as an address (RFC 3696 §2). */
const HOST_NAME = /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*(?!\d+$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/
const MAX_NAME_LENGTH = 253

function parseName(text: string): string {
  const name = text.toLowerCase().replace(/\.$/, '')
  if (name.length > MAX_NAME_LENGTH || !HOST_NAME.test(name)) {
    throw invalid('a name is labels of letters, digits and hyphens (international ones as xn--…), without a wildcard', text)
  }
  return name
}

function parseIp(text: string): string {
  const address = parseAddress(text)
  if (address === null) throw invalid('an address is IPv4 or IPv6', text)
  return formatAddress(address)
}

function invalid(reason: string, received: string): OperationalError {
  return new OperationalError('ATLAS_CERTIFICATE', `Cannot make a local certificate: ${reason}: received ${received}`)
}

function isSameSet(a: readonly string[], b: readonly string[]): boolean {
  const set = new Set(a)
  return set.size === b.length && b.every((item) => set.has(item))
}
