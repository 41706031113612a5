import type { Field } from './qpack-static.ts'

/** RFC 9110 §5.6.2; RFC 9114 §4.2: field names have no upper-case letters. */
const FIELD_NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/
/** RFC 9110 §9.1: a method is a token. */
const METHOD = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
/** RFC 9114 §4.2: they are about a connection of HTTP/1.1. */
const CONNECTION_FIELDS = new Set(['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade'])
const REQUEST_PSEUDO_FIELDS = new Set([':method', ':scheme', ':authority', ':path'])
const RESPONSE_PSEUDO_FIELDS = new Set([':status'])
const NO_PSEUDO_FIELDS = new Set<string>()

/** RFC 9114 §4.5: there is no upgrade. */
const SWITCHING_PROTOCOLS = 101
/** RFC 9110 §8.6, 15.3.5, 15.4.5: the length is that of another response, these have no content. */
const STATUS_WITHOUT_CONTENT = new Set([204, 304])

/** contentLength of a message that does not say it. */
export const NO_CONTENT_LENGTH = -1

/** A valid request without its content (RFC 9114 §4.3.1). */
export interface Http3Request {
  readonly method: string
  /** Empty with CONNECT, and so is the path (RFC 9114 §4.4). */
  readonly scheme: string
  readonly path: string
  /** :authority, or Host without it. */
  readonly authority: string
  readonly contentLength: number
  readonly fields: Fields
}

/** A valid response without its content (RFC 9114 §4.3.2). */
export interface Http3Response {
  readonly status: number
  readonly contentLength: number
  readonly fields: Fields
}

/** The field lines of a section. */
export class Fields {
  readonly #lines: readonly Field[]

  constructor(lines: readonly Field[]) {
    this.#lines = lines
  }

  /** The values of a field by its lower-case name, joined with commas (RFC 9110 §5.3); null when it is absent. */
  get(name: string): string | null {
    let joined: string | null = null
    for (const [own, value] of this.#lines) {
      if (own === name) joined = joined === null ? value : `${joined}, ${value}`
    }
    return joined
  }
}

/** Validates the header section of a request (RFC 9114 §4.1.2); null when it is malformed. */
export function readRequest(lines: readonly Field[]): Http3Request | null {
  if (!areValidLines(lines, REQUEST_PSEUDO_FIELDS)) return null
  const fields = new Fields(lines)
  const method = fields.get(':method')
  const scheme = fields.get(':scheme')
  const path = fields.get(':path')
  const authority = authorityOf(fields)
  const contentLength = contentLengthOf(fields)
  if (method === null || !METHOD.test(method) || authority === null || contentLength === null) return null
  if (method === 'CONNECT') {
    // RFC 9114 §4.4: its only pseudo-fields are :method and :authority
    const alone = scheme === null && path === null && fields.get(':authority') !== null
    return alone ? { method, scheme: '', path: '', authority, contentLength, fields } : null
  }
  if (scheme === null || scheme === '' || path === null) return null
  // RFC 9114 §4.3.1: "*" is for OPTIONS, anything else is an absolute path
  if (!path.startsWith('/') && !(path === '*' && method === 'OPTIONS')) return null
  return { method, scheme, path, authority, contentLength, fields }
}

/** Validates the header section of a response to GET or POST (RFC 9114 §4.1.2); null when it is malformed. */
export function readResponse(lines: readonly Field[]): Http3Response | null {
  if (!areValidLines(lines, RESPONSE_PSEUDO_FIELDS)) return null
  const fields = new Fields(lines)
  const status = fields.get(':status')
  const contentLength = contentLengthOf(fields)
  // RFC 9110 §15: three digits, 100 to 599
  if (status === null || !/^[1-5]\d\d$/.test(status) || contentLength === null) return null
  const number = Number(status)
  if (number === SWITCHING_PROTOCOLS) return null
  return { status: number, contentLength: STATUS_WITHOUT_CONTENT.has(number) ? NO_CONTENT_LENGTH : contentLength, fields }
}

/** RFC 9114 §4.1.2, 4.3: trailers follow the same rules, without pseudo-fields. */
export function areValidTrailers(lines: readonly Field[]): boolean {
  return areValidLines(lines, NO_PSEUDO_FIELDS)
}

function areValidLines(lines: readonly Field[], pseudoFields: ReadonlySet<string>): boolean {
  const seen: string[] = []
  let inFront = true
  for (const [name, value] of lines) {
    if (!isValidValue(value)) return false
    if (name.startsWith(':')) {
      // RFC 9114 §4.3: defined ones only, once, and before all others
      if (!inFront || !pseudoFields.has(name) || seen.includes(name)) return false
      seen.push(name)
      continue
    }
    inFront = false
    if (!FIELD_NAME.test(name) || CONNECTION_FIELDS.has(name)) return false
    // RFC 9114 §4.2
    if (name === 'te' && value !== 'trailers') return false
  }
  return true
}

/** RFC 9114 §10.3; RFC 9110 §5.5: no NUL, CR or LF, and no white space around it. */
function isValidValue(value: string): boolean {
  return !/[\0\r\n]|^[ \t]|[ \t]$/.test(value)
}

/** RFC 9114 §4.3.1: :authority or Host, not empty, the same where there are both, and without user information. */
function authorityOf(fields: Fields): string | null {
  const authority = fields.get(':authority')
  const host = fields.get('host')
  const either = authority ?? host
  if (either === null || either === '' || either.includes('@')) return null
  return host === null || host === either ? either : null
}

/** RFC 9110 §8.6: decimal digits, the same in every repetition; null when it is malformed. */
function contentLengthOf(fields: Fields): number | null {
  const value = fields.get('content-length')
  if (value === null) return NO_CONTENT_LENGTH
  const match = /^(\d+)(?:[ \t]*,[ \t]*\1)*$/.exec(value)
  return match === null ? null : Number(match[1])
}
