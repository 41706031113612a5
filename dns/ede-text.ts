/** Octets of an upstream's EXTRA-TEXT that are passed on (conformance EDE-03); it may name anything, so it is kept short. */
const MAX_TEXT_LENGTH = 64
const PREFIX = 'upstream'

/**
 * The EXTRA-TEXT for an explanation that an upstream gave: says that it is not our own (RFC 8914 §3), without control
 * characters, whole UTF-8 characters only.
 */
export function upstreamEdeText(text: Uint8Array): Uint8Array<ArrayBuffer> {
  const words = new TextDecoder()
    .decode(text.subarray(0, 4 * MAX_TEXT_LENGTH))
    .replaceAll(/\p{C}/gu, '')
    .trim()
  const bytes = new TextEncoder().encode(words === '' ? PREFIX : `${PREFIX}: ${words}`)
  let end = Math.min(bytes.length, MAX_TEXT_LENGTH)
  // a continuation octet at the cut means that a character would be torn
  while (end < bytes.length && ((bytes[end] as number) & 0xc0) === 0x80) end--
  return bytes.slice(0, end)
}
