import { u8 } from './bytes.ts'
import { MAX_NAME_LENGTH, skipName } from './name.ts'
import { escapeTable } from './text-escape.ts'

/** RFC 1035 §2.3.4. */
const MAX_LABEL_LENGTH = 63
const POINTER = 0xc0

/** Besides separator and escape sign, what has a meaning in zone files (RFC 1035 §5.1), so that the text can be pasted there. */
const LABEL_ESCAPES = escapeTable('.\\"();@$', { space: false })

/**
 * The presentation form of the name at `at`: absolute, with its trailing dot; dots within labels and other special characters
 * behind a backslash, octets that are no printable ASCII as \DDD (RFC 1035 §5.1, RFC 4343 §2.1). Letters keep their case.
 * Compression pointers are followed, strictly backwards. Null when the name is malformed.
 */
export function nameText(bytes: Uint8Array, at: number): string | null {
  if (skipName(bytes, at, bytes.length) < 0) return null
  let text = ''
  for (;;) {
    const octets = u8(bytes, at)
    if (octets === 0) return text === '' ? '.' : text
    if (octets >= POINTER) {
      at = ((octets & 0x3f) << 8) | u8(bytes, at + 1)
      continue
    }
    for (let i = 1; i <= octets; i++) text += LABEL_ESCAPES[u8(bytes, at + i)] as string
    text += '.'
    at += octets + 1
  }
}

/**
 * Reads a name in presentation form into its wire form, uncompressed. It is absolute with or without its trailing dot.
 * Null when it is none: an empty label, a label over 63 or a name over 255 octets, a broken escape, a character that is no
 * printable ASCII (internationalised names are A-labels here).
 */
export function parseNameText(text: string): Uint8Array | null {
  if (text === '.') return Uint8Array.of(0)
  const tokens: string[] = text.match(/\\\d{3}|\\[^\d]|[^\\]/gs) ?? []
  if (tokens.length === 0 || tokens.length > MAX_NAME_LENGTH || tokens.join('') !== text) return null
  if (tokens.at(-1) !== '.') tokens.push('.')
  const wire = [0]
  let start = 0
  for (const token of tokens) {
    if (token !== '.') {
      const octet = octetOf(token)
      if (octet < 0) return null
      wire.push(octet)
      continue
    }
    const length = wire.length - start - 1
    if (length === 0 || length > MAX_LABEL_LENGTH) return null
    wire[start] = length
    start = wire.push(0) - 1
  }
  return wire.length > MAX_NAME_LENGTH ? null : Uint8Array.from(wire)
}

/** The octet that a character, an escaped character or \DDD stands for; -1 for none. */
function octetOf(token: string): number {
  if (token.length === 4) return Number(token.slice(1)) > 0xff ? -1 : Number(token.slice(1))
  const octet = token.charCodeAt(token.length - 1)
  // a bare space separates words in presentation format
  const least = token.length === 1 ? 0x21 : 0x20
  return octet < least || octet > 0x7e ? -1 : octet
}
