import { MAX_MESSAGE_LENGTH } from '../../dns/header.ts'

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
/** What no character has. */
const NONE = 64
/** By UTF-16 code unit: its six bits, or NONE. */
const VALUES = new Uint8Array(0x1_0000).fill(NONE)
for (let i = 0; i < ALPHABET.length; i++) VALUES[ALPHABET.charCodeAt(i)] = i

/** The octets of the last value; what is written behind them does not count. */
const decoded = Buffer.alloc(MAX_MESSAGE_LENGTH + 3)

/**
 * The octets that `text` says from `start` to its end in base64url (RFC 4648 §5), borrowed until the next call. Without padding and
 * without spare bits, so that one message has one form; null for anything else, and for more than a DNS message can have.
 */
export function decodeBase64url(text: string, start: number): Uint8Array | null {
  const characters = text.length - start
  const length = (characters * 3) >> 2
  if (characters === 0 || characters % 4 === 1 || length > MAX_MESSAGE_LENGTH) return null
  let at = 0
  let i = start
  for (; i + 4 <= text.length; i += 4) {
    const [a, b, c, d] = [valueAt(text, i), valueAt(text, i + 1), valueAt(text, i + 2), valueAt(text, i + 3)]
    if (((a | b | c | d) & NONE) !== 0) return null
    decoded[at++] = (a << 2) | (b >> 4)
    decoded[at++] = (b << 4) | (c >> 2)
    decoded[at++] = (c << 6) | d
  }
  return i === text.length || putRest(text, i, at) ? decoded.subarray(0, length) : null
}

/** The last two or three characters; false when there are spare bits (RFC 4648 §3.5). */
function putRest(text: string, from: number, at: number): boolean {
  const [a, b] = [valueAt(text, from), valueAt(text, from + 1)]
  const c = from + 2 < text.length ? valueAt(text, from + 2) : 0
  if (((a | b | c) & NONE) !== 0) return false
  decoded[at] = (a << 2) | (b >> 4)
  decoded[at + 1] = (b << 4) | (c >> 2)
  return from + 2 < text.length ? (c & 3) === 0 : (b & 15) === 0
}

function valueAt(text: string, at: number): number {
  return VALUES[text.charCodeAt(at)] as number
}
