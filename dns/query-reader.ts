import { u16 } from './bytes.ts'
import { optVersion, readOptHeader, readOptions } from './edns.ts'
import { Failure } from './failure.ts'
import { additionalCount, answerCount, authorityCount, Flag, flagsOf, HEADER_LENGTH, opcodeOf, questionCount } from './header.ts'
import { skipPlainName } from './name.ts'
import type { Query } from './query.ts'
import { RecordView } from './record.ts'
import { Opcode, Type } from './types.ts'

/**
 * Records besides the question that are looked at. A query has an OPT record and perhaps a signature; more is refused
 * before any work is done for it (conformance DNS-21).
 */
const MAX_RECORDS = 8

// one query is read at a time, and nothing of these outlives the call
const record = new RecordView()
const opt = new RecordView()

/**
 * Parses a client's message strictly (conformance P-1, P-12) and sets the query's facts: every octet is accounted for, so
 * that nothing can be smuggled past the gateway. Null when it is well-formed, with exactly one question, or with none and a cookie.
 * On a failure the facts that were read stay set, so that the error can echo question and OPT.
 */
export function readQuery(query: Query): Failure | null {
  const { wire, length } = query
  if (length < HEADER_LENGTH) return Failure.message_too_short
  query.id = u16(wire, 0)
  query.flags = flagsOf(wire)
  // RFC 1035 §7.3: a response is never answered, or two servers could talk to each other for ever
  if ((query.flags & Flag.QR) !== 0) return Failure.not_a_query
  if (opcodeOf(query.flags) !== Opcode.QUERY) {
    // the sections of other opcodes mean other things (RFC 2136 §2)
    readOptOnly(query)
    return Failure.opcode_not_implemented
  }
  const questions = questionCount(wire)
  // RFC 9619 §4
  if (questions > 1) {
    readOptOnly(query)
    return Failure.malformed_message
  }
  // RFC 7873 §5.4: no question means one for a cookie
  if (questions === 0) return readRecords(query, HEADER_LENGTH) ?? (query.cookieLength > 0 ? null : Failure.malformed_message)
  const body = readQuestion(query)
  if (body < 0) return Failure.malformed_message
  return readRecords(query, body) ?? ((query.flags & Flag.TC) === 0 ? null : Failure.malformed_message)
}

/** For a message that is refused whatever else it says: whether it has an OPT record, so that the error has one too (RFC 6891 §6.1.1). */
function readOptOnly(query: Query): void {
  const { wire, length } = query
  const questions = questionCount(wire)
  if (questions > MAX_RECORDS) return
  let at = HEADER_LENGTH
  for (let i = 0; i < questions; i++) {
    at = skipPlainName(wire, at, length) + 4
    if (at < HEADER_LENGTH || at > length) return
  }
  readRecords(query, at)
}

/** Sets the question's facts; the offset after it, or -1. */
function readQuestion(query: Query): number {
  const { wire, length } = query
  const after = skipPlainName(wire, HEADER_LENGTH, length)
  if (after < 0 || after + 4 > length) return -1
  query.qtype = u16(wire, after)
  query.qclass = u16(wire, after + 2)
  query.questionEnd = after + 4
  return query.questionEnd
}

function readRecords(query: Query, at: number): Failure | null {
  const { wire, length } = query
  const before = answerCount(wire) + authorityCount(wire)
  const total = before + additionalCount(wire)
  if (total > MAX_RECORDS) return Failure.malformed_message
  let signed = false
  let wrong = before > 0 && !isIncrementalTransfer(query, before)
  for (let i = 0; i < total; i++) {
    at = record.read(wire, at, length)
    if (at < 0) return Failure.malformed_message
    if (i < before) {
      wrong ||= record.type === Type.OPT
      continue
    }
    // RFC 8945 §5.1, RFC 2931 §3.1: a signature is the last record
    if (signed) wrong = true
    if (record.type === Type.OPT) wrong = !takeOpt(query, at) || wrong
    else if (record.type === Type.TSIG || record.type === Type.SIG) signed = true
    else wrong = true
  }
  if (wrong || at !== length) return Failure.malformed_message
  if (query.edns && optVersion(wire, opt) > 0) return Failure.bad_version
  if (query.edns && !readOptions(query, opt)) return Failure.malformed_message
  // RFC 8945 §5.5: a signed message is forwarded untouched or not at all
  return signed ? Failure.signature_refused : null
}

/** RFC 1995 §3: the client's SOA stands in the authority section. */
function isIncrementalTransfer(query: Query, before: number): boolean {
  return query.qtype === Type.IXFR && before === 1 && authorityCount(query.wire) === 1
}

/** False for a second OPT record (RFC 6891 §6.1.1) and for one whose owner is not the root (§6.1.2). */
function takeOpt(query: Query, end: number): boolean {
  if (query.edns || query.wire[record.owner] !== 0) return false
  opt.read(query.wire, record.owner, end)
  readOptHeader(query, opt)
  return true
}
