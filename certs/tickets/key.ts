import { randomBytes } from 'node:crypto'

/** RFC 5077 §4: 16 octets of a name, which stands in the ticket as it is, then 16 of an HMAC key and 16 of an AES key. */
const TICKET_KEY_LENGTH = 48
export const TICKET_KEY_NAME_LENGTH = 16

const TICKET_KEY = /^[0-9a-f]{96}$/i

/** Of 48 octets from a generator some 44 differ, and less than half of them in no lifetime of the universe. */
const MIN_DIFFERENT_OCTETS = 24

/** A new key, hexadecimal: keys are values that settings can hold. */
export function makeTicketKey(): string {
  return randomBytes(TICKET_KEY_LENGTH).toString('hex')
}

/** What is wrong with the text of a key, "expected …: received …" without the text itself; null: nothing. */
export function flawOfTicketKey(text: string): string | null {
  if (!TICKET_KEY.test(text)) return `expected ${2 * TICKET_KEY_LENGTH} hexadecimal digits: received ${text.length} characters`
  const different = new Set(Buffer.from(text, 'hex')).size
  return different < MIN_DIFFERENT_OCTETS ? `expected random octets: received only ${different} different ones` : null
}
