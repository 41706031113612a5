import { CODE_LENGTHS } from '../../net/huffman.ts'

/** RFC 7541 appendix B as strings of bits, derived apart from the decoder: by length, then by octet. */
export const CODES: readonly string[] = canonicalCodes()

/** Encodes with the padding of RFC 7541 §5.2. */
export function huffman(octets: Uint8Array): Buffer {
  const bits = Array.from(octets, (octet) => CODES[octet]).join('')
  return packed(bits.padEnd(Math.ceil(bits.length / 8) * 8, '1'))
}

/** Octets of a string of bits. */
export function packed(bits: string): Buffer {
  return Buffer.from(bits.match(/.{8}/g)?.map((octet) => Number.parseInt(octet, 2)) ?? [])
}

function canonicalCodes(): string[] {
  const codes: string[] = []
  let next = 0n
  let previous = 0
  const order = Array.from(CODE_LENGTHS.keys()).toSorted((a, b) => (CODE_LENGTHS[a] ?? 0) - (CODE_LENGTHS[b] ?? 0) || a - b)
  for (const octet of order) {
    const length = CODE_LENGTHS[octet] ?? 0
    next <<= BigInt(length - previous)
    codes[octet] = next.toString(2).padStart(length, '0')
    next++
    previous = length
  }
  return codes
}
