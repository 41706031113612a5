import { isIpv4 } from '../dns/address.ts'
import { parseAddress } from '../net/address.ts'
import type { LocalNames } from './local-names.ts'

export const NAME_CONSTRAINTS_OID = '2.5.29.30'

/**
 * NameConstraints (RFC 5280 §4.2.1.10) that permit exactly these names and addresses. A name permits what is below it too: that
 * is how the RFC defines it. A family without a member is excluded, since constraints on one family say nothing about the
 * others. The same set gives the same octets, whatever its order.
 */
export function nameConstraints({ names, addresses }: LocalNames): Buffer {
  const octets = addresses.map(addressOctets).toSorted(Buffer.compare)
  const permitted = [...names.toSorted().map(dnsSubtree), ...octets.map((octet) => addressSubtree(octet, 0xff))]
  const excluded = [
    ...(names.length === 0 ? [dnsSubtree('')] : []),
    ...[4, 16].filter((size) => !octets.some(({ length }) => length === size)).map((size) => addressSubtree(Buffer.alloc(size), 0)),
  ]
  return der(SEQUENCE, [der(PERMITTED_SUBTREES, permitted), ...(excluded.length === 0 ? [] : [der(EXCLUDED_SUBTREES, excluded)])])
}

/** The whole Extension, as it stands in a certificate: critical, as the RFC demands. */
export function nameConstraintsExtension(names: LocalNames): Buffer {
  return der(SEQUENCE, [NAME_CONSTRAINTS_OID_DER, CRITICAL, der(OCTET_STRING, [nameConstraints(names)])])
}

const SEQUENCE = 0x30
const OCTET_STRING = 0x04
const PERMITTED_SUBTREES = 0xa0
const EXCLUDED_SUBTREES = 0xa1
const DNS_NAME = 0x82
const IP_ADDRESS = 0x87
const NAME_CONSTRAINTS_OID_DER = Buffer.from('0603551d1e', 'hex')
/** BOOLEAN TRUE */
const CRITICAL = Buffer.from('0101ff', 'hex')

/** The empty name stands for all names. */
function dnsSubtree(name: string): Buffer {
  return der(SEQUENCE, [der(DNS_NAME, [Buffer.from(name, 'latin1')])])
}

/** Address and mask: `fill` 0xff for the one address, 0 for the whole family. */
function addressSubtree(octets: Buffer, fill: number): Buffer {
  return der(SEQUENCE, [der(IP_ADDRESS, [octets, Buffer.alloc(octets.length, fill)])])
}

function addressOctets(text: string): Buffer {
  const address = parseAddress(text)
  if (address === null) throw new RangeError(`Cannot constrain an address: received ${text}`)
  return Buffer.from(isIpv4(address) ? address.subarray(12) : address)
}

/** Tag, length (X.690 §8.1.3), content. */
function der(tag: number, parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts)
  const { length } = content
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), content])
  const size = length < 0x100 ? [0x81, length] : [0x82, length >>> 8, length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...size]), content])
}
