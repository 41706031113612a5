/** A field line (RFC 9110 §5): octets as characters one to one. */
export type Field = readonly [name: string, value: string]

/** RFC 9113 §10.5.1, RFC 9114 §4.2.2: counted for every field besides its name and value. */
export const FIELD_OVERHEAD = 32

/** contentLengthOf(): the message does not say it. */
export const NO_CONTENT_LENGTH = -1

/** RFC 9110 §5.6.2; in HTTP/2 and HTTP/3 field names have no upper-case letters (RFC 9113 §8.2.1, RFC 9114 §4.2). */
const FIELD_NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/
/** RFC 9110 §5.5: no NUL, CR or LF, and no white space around it. */
const BAD_VALUE = /[\0\r\n]|^[ \t]|[ \t]$/
/** RFC 9110 §9.1: a method is a token. */
const METHOD = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
/** RFC 3986: visible ASCII. A blank or a control character would end the target of a request in HTTP/1.1. */
const TARGET = /^[!-~]+$/
/** RFC 9113 §8.2.2, RFC 9114 §4.2: they are about a connection of HTTP/1.1. */
const CONNECTION_FIELDS = new Set(['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade'])

export function isFieldName(name: string): boolean {
  return FIELD_NAME.test(name)
}

export function isFieldValue(value: string): boolean {
  return !BAD_VALUE.test(value)
}

export function isMethod(text: string): boolean {
  return text === 'GET' || text === 'POST' || METHOD.test(text)
}

/** Whether HTTP/2 and HTTP/3 know this line, which is no pseudo-field: name and value are well-formed, and it is not about the connection. */
export function isPortableLine(name: string, value: string): boolean {
  if (!isFieldName(name) || CONNECTION_FIELDS.has(name)) return false
  return name !== 'te' || value === 'trailers'
}

/** RFC 9113 §8.3.1, RFC 9114 §4.3.1: "*" is for OPTIONS, anything else an absolute path. */
export function isTarget(path: string, method: string): boolean {
  return path.startsWith('/') ? TARGET.test(path) : path === '*' && method === 'OPTIONS'
}

/** RFC 9113 §8.3.1, RFC 9114 §4.3.1: :authority or Host, not empty, the same where there are both, and without user information; else null. */
export function authorityOf(authority: string | null, host: string | null): string | null {
  const either = authority ?? host
  if (either === null || either === '' || either.includes('@')) return null
  return host === null || host === either ? either : null
}

/** RFC 9110 §8.6: decimal digits, the same in every repetition; null when it is malformed. */
export function contentLengthOf(value: string | null): number | null {
  if (value === null) return NO_CONTENT_LENGTH
  const number = shortNumber(value)
  if (number >= 0) return number
  const match = /^(\d+)(?:[ \t]*,[ \t]*\1)*$/.exec(value)
  return match === null ? null : Number(match[1])
}

/** A number of at most nine digits; -1 for anything else. */
function shortNumber(text: string): number {
  let value = 0
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 0x30
    if (digit < 0 || digit > 9) return -1
    value = value * 10 + digit
  }
  return text === '' || text.length > 9 ? -1 : value
}
