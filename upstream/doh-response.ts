import { isDnsMessage } from '../net/doh-post.ts'

/** RFC 9111 §1.2.2: larger ages count as this one. */
const MAX_AGE_SECONDS = 2_147_483_648
/** RFC 9110 §15.6.4, RFC 6585 §4: not now. */
const BUSY_STATUSES: ReadonlySet<number> = new Set([429, 503])
/** When such a response does not say for how long. */
const DEFAULT_RETRY_MS = 1000
/** A server may ask to be left alone, but not for longer than an operator would notice. */
const MAX_RETRY_MS = 30_000
const DECIMAL = /^\d+$/

/** The field lines of a response, by lower-case names. */
export interface ResponseFields {
  get(name: string): string | null
}

/**
 * Whether a response has a DNS message as its content (RFC 8484 §4.2.1): no redirect is followed, to nobody was a question
 * allowed but this server, and no content coding was asked for.
 */
export function hasMessage(status: number, fields: ResponseFields): boolean {
  if (status !== 200 || !isDnsMessage(fields.get('content-type'))) return false
  const coding = fields.get('content-encoding')
  return coding === null || coding.toLowerCase() === 'identity'
}

/** RFC 9111 §5.1: seconds for which caches have had the response. A value that is none is ignored; of several the first counts. */
export function ageOf(fields: ResponseFields): number {
  const age = fields.get('age')
  if (age === null) return 0
  const [first = ''] = age.split(',')
  const text = first.trim()
  return DECIMAL.test(text) ? Math.min(Number(text), MAX_AGE_SECONDS) : 0
}

/** For how long the server wants to be left alone, milliseconds; 0: it does not say that (RFC 9110 §10.2.3). */
export function pauseOf(status: number, fields: ResponseFields): number {
  if (!BUSY_STATUSES.has(status)) return 0
  const after = fields.get('retry-after')
  if (after === null) return DEFAULT_RETRY_MS
  const ms = DECIMAL.test(after) ? Number(after) * 1000 : Date.parse(after) - Date.now()
  return ms > 0 ? Math.min(ms, MAX_RETRY_MS) : DEFAULT_RETRY_MS
}
