import { u8 } from './bytes.ts'

/** Text for each octet: itself, behind a backslash when it is among `specials`, \DDD when it is no printable ASCII (RFC 1035 §5.1). */
export function escapeTable(specials: string, options: { readonly space: boolean }): readonly string[] {
  return Array.from({ length: 256 }, (_, octet) => {
    const printable = octet > 0x20 && octet < 0x7f
    if (!printable && !(octet === 0x20 && options.space)) return `\\${String(octet).padStart(3, '0')}`
    const character = String.fromCharCode(octet)
    return specials.includes(character) ? `\\${character}` : character
  })
}

const STRING_ESCAPES = escapeTable('"\\', { space: true })

/** A character-string (RFC 1035 §5.1) in quotes. */
export function quoted(octets: Uint8Array): string {
  let text = '"'
  for (let i = 0; i < octets.length; i++) text += STRING_ESCAPES[u8(octets, i)] as string
  return `${text}"`
}

/** What others wrote for people to read, in UTF-8, without what could move the cursor or hide text: control, format and separator characters. */
export function readable(octets: Uint8Array): string {
  return new TextDecoder().decode(octets).replaceAll(/[\p{C}\p{Zl}\p{Zp}]/gu, '')
}

/** Capital letters, as RFC 8427 and most tools write it. */
export function hex(octets: Uint8Array): string {
  let text = ''
  for (let i = 0; i < octets.length; i++) text += HEX[u8(octets, i)] as string
  return text
}

const HEX = Array.from({ length: 256 }, (_, octet) => octet.toString(16).toUpperCase().padStart(2, '0'))

const BASE64 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
const BASE32HEX = '0123456789ABCDEFGHIJKLMNOPQRSTUV'

export function base64(octets: Uint8Array): string {
  const text = digits(octets, BASE64, 6)
  return text.padEnd(Math.ceil(text.length / 4) * 4, '=')
}

/** RFC 4648 §7 without padding, as NSEC3 wants it (RFC 5155 §3.3). */
export function base32hex(octets: Uint8Array): string {
  return digits(octets, BASE32HEX, 5)
}

function digits(octets: Uint8Array, alphabet: string, width: number): string {
  const mask = (1 << width) - 1
  let text = ''
  let held = 0
  let bits = 0
  for (let i = 0; i < octets.length; i++) {
    held = ((held << 8) | u8(octets, i)) & 0xffff
    for (bits += 8; bits >= width; ) {
      bits -= width
      text += alphabet.charAt((held >>> bits) & mask)
    }
  }
  return bits === 0 ? text : text + alphabet.charAt((held << (width - bits)) & mask)
}
