const URN = 'urn:ietf:params:acme:error:'
/** Of a message in which texts of a CA are. */
export const MAX_TEXT = 1000
const MAX_DETAIL = 300
const MAX_SUBPROBLEMS = 10

export interface AcmeErrorParts {
  readonly status: number
  /** Of the problem document, without the URN's head ("rateLimited"); empty: there is none. */
  readonly type: string
  /** For how long the CA wants to be left alone; null: it does not say that. */
  readonly retryAfterMs: number | null
}

/** What a CA has against a request (RFC 8555 §6.7). The message may be logged and shown. */
export class AcmeError extends Error implements AcmeErrorParts {
  readonly status: number
  readonly type: string
  readonly retryAfterMs: number | null

  constructor(message: string, { status, type, retryAfterMs }: AcmeErrorParts) {
    super(message)
    this.name = 'AcmeError'
    this.status = status
    this.type = type
    this.retryAfterMs = retryAfterMs
  }
}

/** The type of a problem document as AcmeErrorParts has it. */
export function problemType(problem: unknown): string {
  const type = textOf(problem, 'type')
  return printable(type.startsWith(URN) ? type.slice(URN.length) : type, MAX_DETAIL)
}

/** A problem document (RFC 7807) with those of single identifiers (RFC 8555 §6.7.1), for people; empty when it says nothing. */
export function problemText(problem: unknown): string {
  const all = fieldOf(problem, 'subproblems')
  const subproblems = Array.isArray(all) ? all.slice(0, MAX_SUBPROBLEMS) : []
  const texts = subproblems.map((each) => `${printable(textOf(fieldOf(each, 'identifier'), 'value'), MAX_DETAIL)}: ${ownText(each)}`)
  return printable([ownText(problem), ...texts].join('; '), MAX_TEXT)
}

/** What arrives may hold anything: terminal escapes, line breaks, megabytes. */
export function printable(text: string, max: number): string {
  const clean = text
    .slice(0, 2 * max)
    .replaceAll(/[\p{C}\p{Z}]+/gu, ' ')
    .trim()
  return clean.length > max ? `${clean.slice(0, max)}…` : clean
}

/** A property of whatever has arrived as JSON. */
export function fieldOf(object: unknown, key: string): unknown {
  return typeof object === 'object' && object !== null ? (object as Record<string, unknown>)[key] : undefined
}

/** The same where it is text; empty where it is not. */
export function textOf(object: unknown, key: string): string {
  const value = fieldOf(object, key)
  return typeof value === 'string' ? value : ''
}

function ownText(problem: unknown): string {
  const detail = printable(textOf(problem, 'detail'), MAX_DETAIL)
  const type = problemType(problem)
  if (type === '') return detail
  return detail === '' ? type : `${detail} (${type})`
}
