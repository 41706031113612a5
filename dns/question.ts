import { putU16, u8 } from './bytes.ts'
import { isSameSubnet, NO_SUBNET, putSubnet, subnetLength } from './client-subnet.ts'
import { EdnsOption, OPTION_HEADER_LENGTH, putOpt, putOptionHeader, setOptLength } from './edns.ts'
import { Flag, HEADER_LENGTH } from './header.ts'
import { lower } from './name.ts'
import type { Query } from './query.ts'

/**
 * Whether `message` carries exactly the question of `query`, letters without case (RFC 5452 §9.1, RFC 4343 §3). The name in a
 * question cannot be compressed, so equal questions are equally long and every offset behind them agrees.
 */
export function hasQuestionOf(query: Query, message: Uint8Array): boolean {
  const { wire, questionEnd } = query
  if (message.length < questionEnd) return false
  const nameEnd = questionEnd - 4
  for (let i = HEADER_LENGTH; i < nameEnd; i++) if (lower(u8(wire, i)) !== lower(u8(message, i))) return false
  for (let i = nameEnd; i < questionEnd; i++) if (wire[i] !== message[i]) return false
  return true
}

/** Whether an answer to the one is an answer to the other: name, type, class, DO (RFC 4035 §3.2.1), CD (RFC 6840 §5.9), network (RFC 7871). */
export function isSameQuestion(a: Query, b: Query): boolean {
  if (a.questionEnd !== b.questionEnd || a.dnssecOk !== b.dnssecOk || ((a.flags ^ b.flags) & Flag.CD) !== 0) return false
  return isSameSubnet(a.subnet, b.subnet) && hasQuestionOf(a, b.wire)
}

/** RFC 8467 §4.1: what questions on encrypted transports are padded to a multiple of. */
export const QUERY_BLOCK = 128

export interface QuestionOptions {
  readonly id: number
  /** RFC 7828 §3.2.1: an empty keepalive option, on streams only. */
  readonly keepalive: boolean
  /** RFC 8467 block length, on encrypted transports only (RFC 7830 §6); 0: no padding. */
  readonly padding: number
  /** Whether it has an OPT record, and so any option; absent: it has. */
  readonly edns?: boolean
  /** RFC 7873 §5.1: the client cookie, and behind it the server cookie where one is known. */
  readonly cookie?: QuestionCookie | null
}

export interface QuestionCookie {
  readonly octets: Uint8Array
  readonly length: number
}

/**
 * Writes the question of a parked query as a message of our own (conformance P-12: no octet of the client's message reaches
 * an upstream unparsed): RD and CD as the query has them, and an OPT record of our hop (RFC 6891 §6.2.6) with our size, the client's DO and
 * what may be said of its network.
 * `out` has room for the padding. Returns its length.
 */
export function writeQuestion(query: Query, out: Uint8Array, at: number, options: QuestionOptions): number {
  const { wire, questionEnd } = query
  putU16(out, at, options.id)
  putU16(out, at + 2, query.flags & (Flag.RD | Flag.CD))
  putU16(out, at + 4, 1)
  putU16(out, at + 6, 0)
  putU16(out, at + 8, 0)
  putU16(out, at + 10, options.edns === false ? 0 : 1)
  for (let i = HEADER_LENGTH; i < questionEnd; i++) out[at + i] = u8(wire, i)
  const optAt = at + questionEnd
  if (options.edns === false) return questionEnd
  let end = putOpt(out, optAt, { extendedRcode: 0, dnssecOk: query.dnssecOk })
  if (query.subnet !== NO_SUBNET) {
    end = putOptionHeader(out, end, EdnsOption.CLIENT_SUBNET, subnetLength(query.subnet))
    end = putSubnet(out, end, query.subnet)
  }
  if (options.keepalive) end = putOptionHeader(out, end, EdnsOption.KEEPALIVE, 0)
  if (options.cookie) end = putCookie(out, end, options.cookie)
  // RFC 8467 §4.1; computed last, because its length depends on everything before it
  if (options.padding > 0) end = putPadding(out, { at, end, block: options.padding })
  setOptLength(out, optAt, end)
  return end - at
}

function putCookie(out: Uint8Array, at: number, { octets, length }: QuestionCookie): number {
  at = putOptionHeader(out, at, EdnsOption.COOKIE, length)
  for (let i = 0; i < length; i++) out[at + i] = u8(octets, i)
  return at + length
}

/** Fills the message that begins at `at` up to a whole number of blocks. */
function putPadding(out: Uint8Array, { at, end, block }: { at: number; end: number; block: number }): number {
  const used = end + OPTION_HEADER_LENGTH - at
  const padded = at + Math.ceil(used / block) * block
  out.fill(0, putOptionHeader(out, end, EdnsOption.PADDING, padded - at - used), padded)
  return padded
}
