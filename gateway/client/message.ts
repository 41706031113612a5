import { u8, u16 } from '../../dns/bytes.ts'
import { additionalCount, answerCount, authorityCount, Flag, flagsOf, HEADER_LENGTH, opcodeOf, questionCount } from '../../dns/header.ts'
import { lower, skipPlainName } from '../../dns/name.ts'
import { Opcode, Rcode } from '../../dns/types.ts'

/** TYPE and CLASS. */
const QUESTION_TAIL = 4

/**
 * Why `message` is no answer to `query` (RFC 5452 §9.1); null when it is one. The question may be missing from an error: a
 * server need not repeat what it could not read.
 */
export function mismatch(query: Uint8Array, message: Uint8Array): string | null {
  if (message.length < HEADER_LENGTH) return `${message.length} octets are no DNS message`
  if (u16(message, 0) !== u16(query, 0)) return `the answer has another id: ${u16(message, 0)} instead of ${u16(query, 0)}`
  const flags = flagsOf(message)
  if ((flags & Flag.QR) === 0) return 'the message is no answer but a query'
  if (opcodeOf(flags) !== opcodeOf(flagsOf(query))) return 'the answer has another opcode'
  const bare = questionCount(message) === 0 && answerCount(message) + authorityCount(message) === 0
  // RFC 2136 §3.8: of an update too
  const mayBeBare = (flags & Flag.RCODE) !== Rcode.NOERROR || opcodeOf(flags) === Opcode.UPDATE
  if (bare && mayBeBare && additionalCount(message) <= 1) return null
  return questionCount(message) === 1 && hasSameQuestion(query, message) ? null : 'the answer is to another question'
}

/** Letters of the name without case (RFC 4343 §3); a question's name is never compressed. */
function hasSameQuestion(query: Uint8Array, message: Uint8Array): boolean {
  const nameEnd = skipPlainName(query, HEADER_LENGTH, query.length)
  if (message.length < nameEnd + QUESTION_TAIL) return false
  for (let i = HEADER_LENGTH; i < nameEnd; i++) if (lower(u8(query, i)) !== lower(u8(message, i))) return false
  for (let i = nameEnd; i < nameEnd + QUESTION_TAIL; i++) if (query[i] !== message[i]) return false
  return true
}
