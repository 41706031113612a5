import { createHash, randomBytes } from 'node:crypto'

/** RFC 6455 §1.3. */
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
/** RFC 6455 §4.2.1: 16 octets in base64. */
const KEY = /^[+/0-9A-Za-z]{22}==$/

export function freshKey(): string {
  return randomBytes(16).toString('base64')
}

export function isKey(text: string): boolean {
  return KEY.test(text)
}

/** RFC 6455 §4.2.2: what the server answers to a key. */
export function acceptOf(key: string): string {
  return createHash('sha1').update(`${key}${GUID}`).digest('base64')
}
