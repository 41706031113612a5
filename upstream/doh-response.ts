import { Answer } from '../dns/answer.ts'
import { type AnswerReader, isAnswerTo } from '../dns/answer-reader.ts'
import { u16 } from '../dns/bytes.ts'
import { Failure } from '../dns/failure.ts'
import type { Query } from '../dns/query.ts'
import { MAX_TTL_SECONDS } from '../dns/ttl.ts'

/** RFC 8484 §6. */
export const MEDIA_TYPE = 'application/dns-message'

/** A server may ask to be left alone, but not for longer than an operator would notice. */
const MAX_RETRY_AFTER_MS = 30_000

const DIGITS = /^\d+$/

/** The fields of a response that count; undefined where it has none of the name. */
export interface ResponseHead {
  readonly status: number
  readonly contentType: string | undefined
  readonly contentEncoding: string | undefined
}

/** Why the content of a response is no answer; null: it is one. */
export function flawOf({ status, contentType, contentEncoding }: ResponseHead): Failure | null {
  // RFC 6585 §4, RFC 9110 §15.6.4: the server works, but not for us, not now
  if (status === 429 || status === 503) return Failure.upstream_failed
  // RFC 8484 §3, §4.2.1: only a success has an answer, and a redirection leads to a server that nobody has configured
  if (status !== 200) return Failure.upstream_malformed
  const essence = contentType?.split(';', 1)[0]?.trim().toLowerCase()
  if (essence !== MEDIA_TYPE) return Failure.upstream_malformed
  // RFC 9110 §8.4: none was asked for
  return contentEncoding === undefined || contentEncoding.toLowerCase() === 'identity' ? null : Failure.upstream_malformed
}

/** RFC 9111 §5.1: for how long caches have kept the response, milliseconds; what is malformed says nothing. */
export function ageOf(age: string | undefined): number {
  if (age === undefined || !DIGITS.test(age)) return 0
  // no TTL is longer
  return Math.min(Number(age), MAX_TTL_SECONDS) * 1000
}

/** RFC 9110 §10.2.3: for how long the server wants to be left alone, milliseconds; `now` is the time of day. */
export function retryAfterOf(retryAfter: string | undefined, now: number): number {
  if (retryAfter === undefined) return 0
  const ms = DIGITS.test(retryAfter) ? Number(retryAfter) * 1000 : Date.parse(retryAfter) - now
  return ms > 0 ? Math.min(ms, MAX_RETRY_AFTER_MS) : 0
}

/** The answer that is the content of a response, `ageMs` old at `now`. It borrows the octets of `content`, and changes them. */
export function readAnswer(
  reader: AnswerReader,
  query: Query,
  content: Uint8Array,
  { now, ageMs }: { now: number; ageMs: number },
): Answer | Failure {
  // RFC 8484 §4.1: the id comes back as it was sent; which question is answered the stream says, and yet it must be there (VAL-08)
  if (!isAnswerTo(query, content) || u16(content, 0) !== 0) return Failure.upstream_malformed
  // RFC 8484 §5.1: its TTLs were true when the caches got it
  const answer = reader.read(query, content, now - ageMs)
  if (ageMs === 0 || !(answer instanceof Answer) || answer.freshness(now) > 0) return answer
  // conformance NC-15: over by now, it is for whoever asked and not to be kept
  const { rcode, source, ede, edeText, body } = answer
  return new Answer({ rcode, source, ede, edeText, body: { ...body, freshness: 0 } })
}
