import { putU16, u8, u16 } from '../../dns/bytes.ts'
import { EdnsOption, OPT_LENGTH, OPTION_HEADER_LENGTH, putOpt, putOptionHeader, setOptLength } from '../../dns/edns.ts'
import { additionalCount, answerCount, authorityCount, Flag, flagsOf, HEADER_LENGTH, opcodeOf, questionCount } from '../../dns/header.ts'
import { lower, MAX_NAME_LENGTH, skipPlainName } from '../../dns/name.ts'
import { Rcode } from '../../dns/types.ts'

/** RFC 8467 §4.1: clients pad to the next multiple of this. */
const PADDING_BLOCK = 128
/** TYPE and CLASS. */
const QUESTION_TAIL = 4

/** What to ask and how. */
export interface QueryFacts {
  readonly id: number
  /** Wire form, uncompressed. */
  readonly name: Uint8Array
  readonly type: number
  readonly class: number
  readonly recursionDesired: boolean
  readonly checkingDisabled: boolean
  /** Null: no OPT record. */
  readonly edns: EdnsChoice | null
}

export interface EdnsChoice {
  readonly udpSize: number
  readonly dnssecOk: boolean
  readonly padding: boolean
}

/** The message that asks, in wire format. */
export function buildQuery(facts: QueryFacts): Uint8Array<ArrayBuffer> {
  const wire = new Uint8Array(HEADER_LENGTH + MAX_NAME_LENGTH + QUESTION_TAIL + OPT_LENGTH + PADDING_BLOCK + OPTION_HEADER_LENGTH)
  putU16(wire, 0, facts.id)
  putU16(wire, 2, (facts.recursionDesired ? Flag.RD : 0) | (facts.checkingDisabled ? Flag.CD : 0))
  putU16(wire, 4, 1)
  wire.set(facts.name, HEADER_LENGTH)
  const nameEnd = HEADER_LENGTH + facts.name.length
  putU16(wire, nameEnd, facts.type)
  putU16(wire, nameEnd + 2, facts.class)
  const end = nameEnd + QUESTION_TAIL
  return wire.slice(0, facts.edns === null ? end : putEdns(wire, end, facts.edns))
}

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
  if (bare && (flags & Flag.RCODE) !== Rcode.NOERROR && additionalCount(message) <= 1) return null
  return questionCount(message) === 1 && hasSameQuestion(query, message) ? null : 'the answer is to another question'
}

function putEdns(wire: Uint8Array, optAt: number, edns: EdnsChoice): number {
  putU16(wire, 10, 1)
  let at = putOpt(wire, optAt, { extendedRcode: 0, dnssecOk: edns.dnssecOk })
  // the size stands where other records have their class (RFC 6891 §6.1.2)
  putU16(wire, optAt + 3, edns.udpSize)
  if (edns.padding) {
    const used = at + OPTION_HEADER_LENGTH
    const padded = Math.ceil(used / PADDING_BLOCK) * PADDING_BLOCK
    putOptionHeader(wire, at, EdnsOption.PADDING, padded - used)
    at = padded
  }
  setOptLength(wire, optAt, at)
  return at
}

/** Letters of the name without case (RFC 4343 §3); a question's name is never compressed. */
function hasSameQuestion(query: Uint8Array, message: Uint8Array): boolean {
  const nameEnd = skipPlainName(query, HEADER_LENGTH, query.length)
  if (message.length < nameEnd + QUESTION_TAIL) return false
  for (let i = HEADER_LENGTH; i < nameEnd; i++) if (lower(u8(query, i)) !== lower(u8(message, i))) return false
  for (let i = nameEnd; i < nameEnd + QUESTION_TAIL; i++) if (query[i] !== message[i]) return false
  return true
}
