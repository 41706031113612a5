import { putU16, putU32, u32 } from './bytes.ts'
import { SCOPE_AT, SOURCE_AT } from './client-subnet.ts'
import { EdnsOption, OPT_LENGTH, OPTION_HEADER_LENGTH, putOpt, putOptionHeader, setOptLength } from './edns.ts'
import { type Failure, NO_EDE } from './failure.ts'
import { Flag, HEADER_LENGTH, opcodeOf } from './header.ts'
import type { Query } from './query.ts'
import { COOKIE_LENGTH } from './server-cookies.ts'
import { Opcode, Rcode } from './types.ts'

/** Where an answer came from: the `source` label of the metrics. */
export const SOURCES = ['upstream', 'cache', 'stale', 'local'] as const
export type AnswerSource = (typeof SOURCES)[number]

export interface AnswerParts {
  readonly rcode: number
  readonly source: AnswerSource
  readonly ede?: number
  /** UTF-8, RFC 8914 §2 EXTRA-TEXT. */
  readonly edeText?: Uint8Array
  /** TC=1 without records: ask again over a stream. */
  readonly truncated?: boolean
  /** RFC 7871 SCOPE PREFIX-LENGTH; by default 0: it is for everybody. */
  readonly scope?: number
  readonly body?: AnswerBody
}

/** The records of an answer, as they stand in a message whose question has the same length as the client's. */
export interface AnswerBody {
  /** Borrowed: whoever keeps the answer beyond the call copies it. */
  readonly bytes: Uint8Array
  /** Offset of the first record, of the additional section, and after the last record. */
  readonly start: number
  readonly additional: number
  readonly end: number
  readonly answers: number
  readonly authorities: number
  readonly additionals: number
  /** Offsets of the TTL fields, from the start of the message. */
  readonly ttls: Uint16Array
  /** Seconds for which an HTTP cache may keep it (RFC 8484 §5.1); 0: not at all. */
  readonly freshness: number
  /** Milliseconds of the pipeline's clock at which the TTLs were true; Infinity for records that never age. */
  readonly at: number
}

const NO_TEXT = new Uint8Array(0)
const NO_BODY: AnswerBody = Object.freeze({
  bytes: NO_TEXT,
  start: 0,
  additional: 0,
  end: 0,
  answers: 0,
  authorities: 0,
  additionals: 0,
  ttls: new Uint16Array(0),
  freshness: 0,
  at: 0,
})

/**
 * What is answered, without what belongs to one client: no id, no OPT record, no padding. Immutable, so that one answer
 * can be given to many clients; encodeInto() writes it for one of them.
 */
export class Answer {
  readonly rcode: number
  readonly source: AnswerSource
  readonly ede: number
  readonly edeText: Uint8Array
  readonly truncated: boolean
  /** RFC 7871: how many bits of the asking network's address it depends on. */
  readonly scope: number
  readonly body: AnswerBody

  constructor(parts: AnswerParts) {
    this.rcode = parts.rcode
    this.source = parts.source
    this.ede = parts.ede ?? NO_EDE
    this.edeText = parts.edeText ?? NO_TEXT
    this.truncated = parts.truncated ?? false
    this.scope = parts.scope ?? 0
    this.body = parts.body ?? NO_BODY
  }

  static ofFailure(failure: Failure): Answer {
    return new Answer({ rcode: failure.rcode, ede: failure.ede, edeText: failure.edeText, source: 'local' })
  }

  /** The same answer for a network of `scope` bits alone. */
  scopedTo(scope: number): Answer {
    return new Answer({ ...this, scope })
  }

  /** RFC 8484 §5.1: seconds of freshness left at `now`; 0: must not be stored. */
  freshness(now: number): number {
    // an HTTP cache does not know networks, and would give it to everybody (conformance DOH-17)
    if (this.scope > 0) return 0
    if (this.rcode !== Rcode.NOERROR && this.rcode !== Rcode.NXDOMAIN) return 0
    return Math.max(0, this.body.freshness - ageOf(this.body, now))
  }

  /**
   * Writes the message for `query` at `at`; returns its length. `out` has room for 65,535 octets behind `at`.
   * One copy of the records, then id, the client's own question (its letter case, RFC 4343 §3) and the aged TTLs in place,
   * then the OPT record.
   */
  encodeInto(out: Uint8Array, at: number, query: Query, now: number): number {
    const { body } = this
    const room = query.sizeLimit - query.questionEnd - optLength(query)
    // RFC 8914 §3: the explanation is dropped before any data, and TC says so
    const ede = this.#edeLength(query)
    const explained = ede === 0 || body.end - body.start + ede <= room
    // RFC 2181 §9: the additional section may be left out without TC, anything else may not
    const end = body.end - body.start <= room ? body.end : body.additional - body.start <= room ? body.additional : body.start
    const cut = end < body.additional
    return this.#write(out, at, { query, now, end, truncated: this.truncated || cut || !explained, ede: explained ? this.ede : NO_EDE })
  }

  #write(out: Uint8Array, at: number, layout: Layout): number {
    const { query, now, end } = layout
    const { body } = this
    for (let i = HEADER_LENGTH; i < query.questionEnd; i++) out[at + i] = query.wire[i] as number
    if (end > body.start) {
      copy(body, end, out, at + query.questionEnd)
      ageTtls(out, at, body, { end, age: ageOf(body, now) })
    }
    const records = at + query.questionEnd + end - body.start
    const length = (query.edns ? this.#putOpt(out, records, layout.ede, query, at) : records) - at
    putHeader(out, at, {
      query,
      rcode: query.edns || this.rcode <= Flag.RCODE ? this.rcode : Rcode.SERVFAIL,
      truncated: layout.truncated,
      answers: end > body.start ? body.answers : 0,
      authorities: end > body.start ? body.authorities : 0,
      additionals: (end > body.additional ? body.additionals : 0) + (query.edns ? 1 : 0),
    })
    return length
  }

  #edeLength(query: Query): number {
    return !query.edns || this.ede === NO_EDE ? 0 : OPTION_HEADER_LENGTH + 2 + this.edeText.length
  }

  #putOpt(out: Uint8Array, optAt: number, ede: number, query: Query, messageAt: number): number {
    let at = putOpt(out, optAt, { extendedRcode: this.rcode >>> 4, dnssecOk: query.dnssecOk })
    if (query.keepalive >= 0) {
      at = putOptionHeader(out, at, EdnsOption.KEEPALIVE, 2)
      putU16(out, at, query.keepalive)
      at += 2
    }
    if (query.cookie !== null) {
      at = putOptionHeader(out, at, EdnsOption.COOKIE, COOKIE_LENGTH)
      out.set(query.cookie, at)
      at += COOKIE_LENGTH
    }
    if (query.clientSubnet !== null) at = this.#putClientSubnet(out, at, query, query.clientSubnet)
    if (ede !== NO_EDE) {
      at = putOptionHeader(out, at, EdnsOption.EDE, 2 + this.edeText.length)
      putU16(out, at, ede)
      out.set(this.edeText, at + 2)
      at += 2 + this.edeText.length
    }
    // RFC 8467 §3: padding is computed last
    if (query.padding > 0) at = putPadding(out, at, messageAt, query)
    setOptLength(out, optAt, at)
    return at
  }

  /** RFC 7871 §7.2.2: what the client sent, with a SCOPE. */
  #putClientSubnet(out: Uint8Array, at: number, { subnet }: Query, data: Uint8Array): number {
    at = putOptionHeader(out, at, EdnsOption.CLIENT_SUBNET, data.length)
    out.set(data, at)
    // where an upstream was not told the network, the answer may be for that of the gateway: nobody else is to get it from the client
    out[at + SCOPE_AT] = subnet.source > 0 ? this.scope : (data[SOURCE_AT] as number)
    return at + data.length
  }
}

/** Octets of the OPT record without EDE and padding. */
function optLength(query: Query): number {
  if (!query.edns) return 0
  const keepalive = query.keepalive < 0 ? 0 : OPTION_HEADER_LENGTH + 2
  const cookie = query.cookie === null ? 0 : OPTION_HEADER_LENGTH + COOKIE_LENGTH
  const subnet = query.clientSubnet === null ? 0 : OPTION_HEADER_LENGTH + query.clientSubnet.length
  return OPT_LENGTH + keepalive + cookie + subnet
}

interface Layout {
  readonly query: Query
  readonly now: number
  /** Offset in the body after the last record to send. */
  readonly end: number
  readonly truncated: boolean
  readonly ede: number
}

/** RFC 8467 §4.1: fills up to the next multiple of the block, counted without any length prefix. */
function putPadding(out: Uint8Array, at: number, messageAt: number, query: Query): number {
  const used = at - messageAt + OPTION_HEADER_LENGTH
  if (used > query.sizeLimit) return at
  const padded = Math.min(Math.ceil(used / query.padding) * query.padding, query.sizeLimit)
  at = putOptionHeader(out, at, EdnsOption.PADDING, padded - used)
  out.fill(0, at, messageAt + padded)
  return messageAt + padded
}

interface HeaderFacts {
  readonly query: Query
  readonly rcode: number
  readonly truncated: boolean
  readonly answers: number
  readonly authorities: number
  readonly additionals: number
}

function putHeader(out: Uint8Array, at: number, facts: HeaderFacts): void {
  const { query } = facts
  const opcode = opcodeOf(query.flags)
  // UPDATE (RFC 2136 §2.2) and DSO (RFC 8490 §5.4) have reserved bits where others have RA
  const server = opcode === Opcode.UPDATE || opcode === Opcode.DSO ? 0 : query.serverFlags
  // AD stays 0: no upstream is authenticated (RFC 4035 §4.6)
  const copied = query.flags & (Flag.OPCODE | Flag.RD | Flag.CD)
  const flags = Flag.QR | copied | server | (facts.truncated ? Flag.TC : 0) | (facts.rcode & Flag.RCODE)
  putU16(out, at, query.id)
  putU16(out, at + 2, flags)
  putU16(out, at + 4, query.questionEnd > HEADER_LENGTH ? 1 : 0)
  putU16(out, at + 6, facts.answers)
  putU16(out, at + 8, facts.authorities)
  putU16(out, at + 10, facts.additionals)
}

/** Below it a loop is quicker than a view of the part and a call (measured: 60 ns against 150 for 64 octets). */
const LONG_BODY = 192

function copy({ bytes, start }: AnswerBody, end: number, out: Uint8Array, to: number): void {
  if (end - start > LONG_BODY) out.set(bytes.subarray(start, end), to)
  else for (let i = start; i < end; i++) out[to + i - start] = bytes[i] as number
}

function ageOf(body: AnswerBody, now: number): number {
  return Math.max(0, Math.floor((now - body.at) / 1000))
}

function ageTtls(out: Uint8Array, at: number, body: AnswerBody, { end, age }: { end: number; age: number }): void {
  if (age === 0) return
  for (const ttl of body.ttls) {
    if (ttl >= end) return
    putU32(out, at + ttl, Math.max(0, u32(out, at + ttl) - age))
  }
}
