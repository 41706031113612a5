import { authorityOf, contentLengthOf, type Field, isFieldValue, isMethod, isPortableLine, isTarget, NO_CONTENT_LENGTH } from '../fields.ts'

const REQUEST_PSEUDO_FIELDS = new Set([':method', ':scheme', ':authority', ':path'])
const RESPONSE_PSEUDO_FIELDS = new Set([':status'])
const NO_PSEUDO_FIELDS = new Set<string>()

/** RFC 9114 §4.5: there is no upgrade. */
const SWITCHING_PROTOCOLS = 101
/** RFC 9110 §8.6, 15.3.5, 15.4.5: the length is that of another response, these have no content. */
const STATUS_WITHOUT_CONTENT = new Set([204, 304])

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
  const authority = authorityOf(fields.get(':authority'), fields.get('host'))
  const contentLength = contentLengthOf(fields.get('content-length'))
  if (method === null || !isMethod(method) || authority === null || contentLength === null) return null
  if (method === 'CONNECT') {
    // RFC 9114 §4.4: its only pseudo-fields are :method and :authority
    const alone = scheme === null && path === null && fields.get(':authority') !== null
    return alone ? { method, scheme: '', path: '', authority, contentLength, fields } : null
  }
  if (scheme === null || scheme === '' || path === null) return null
  if (!isTarget(path, method)) return null
  return { method, scheme, path, authority, contentLength, fields }
}

/** Validates the header section of a response to GET or POST (RFC 9114 §4.1.2); null when it is malformed. */
export function readResponse(lines: readonly Field[]): Http3Response | null {
  if (!areValidLines(lines, RESPONSE_PSEUDO_FIELDS)) return null
  const fields = new Fields(lines)
  const status = fields.get(':status')
  const contentLength = contentLengthOf(fields.get('content-length'))
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
    if (!isFieldValue(value)) return false
    if (name.startsWith(':')) {
      // RFC 9114 §4.3: defined ones only, once, and before all others
      if (!inFront || !pseudoFields.has(name) || seen.includes(name)) return false
      seen.push(name)
      continue
    }
    inFront = false
    if (!isPortableLine(name, value)) return false
  }
  return true
}
