import { createHash } from 'node:crypto'

/** A token and whose it is, as it is kept. */
export interface TokenEntry {
  readonly name: string
  /** SHA-256 of the token in lower case, hexadecimal. */
  readonly digest: string
}

/** A label of a host name (RFC 1123 §2.1): so a token can stand in a server name as well as in a path. */
export const TOKEN = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/i

/** Host names have no case (RFC 4343), and so tokens have none. */
export function digestOf(token: string): string {
  return createHash('sha256').update(token.toLowerCase()).digest('hex')
}

/** A path of DNS over HTTPS with `token` as its last segment. */
export function tokenPath(path: string, token: string): string {
  return `${path}${path.endsWith('/') ? '' : '/'}${token}`
}
