/** Castagnoli's polynomial, bits reversed (RFC 3720 appendix B.4). */
const POLYNOMIAL = 0x82f6_3b78
const TABLE = Uint32Array.from({ length: 256 }, (_, octet) => {
  let value = octet
  for (let bit = 0; bit < 8; bit++) value = (value & 1) === 0 ? value >>> 1 : (value >>> 1) ^ POLYNOMIAL
  return value
})

/** CRC32c of `bytes`. */
export function crc32c(bytes: Uint8Array): number {
  let value = 0xffff_ffff
  for (const octet of bytes) value = (value >>> 8) ^ (TABLE[(value ^ octet) & 0xff] as number)
  return (value ^ 0xffff_ffff) >>> 0
}
