import { Answer } from '../dns/answer.ts'
import { type AnswerReader, isAnswerTo } from '../dns/answer-reader.ts'
import { u16 } from '../dns/bytes.ts'
import { Failure } from '../dns/failure.ts'
import type { Query } from '../dns/query.ts'

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
