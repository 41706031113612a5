import { Answer, type AnswerBody } from './answer.ts'
import { putU32, u16, u32 } from './bytes.ts'
import { scopeFor } from './client-subnet.ts'
import { upstreamEdeText } from './ede-text.ts'
import { EdnsOption, OPTION_HEADER_LENGTH, optExtendedRcode } from './edns.ts'
import { Failure, NO_EDE } from './failure.ts'
import { additionalCount, answerCount, authorityCount, Flag, flagsOf, HEADER_LENGTH, opcodeOf, questionCount } from './header.ts'
import { restoreLetterCase } from './letter-case.ts'
import { isChangeable } from './name.ts'
import type { Query } from './query.ts'
import { hasQuestionOf } from './question.ts'
import { isRdataValid } from './rdata.ts'
import { RecordView } from './record.ts'
import { MAX_RECORDS, RecordTable } from './record-table.ts'
import { rewriteRecords } from './record-writer.ts'
import { Relevance } from './relevance.ts'
import { clampTtl, MAX_NEGATIVE_TTL_SECONDS, unifyTtls } from './ttl.ts'
import { Opcode, Rcode, Type } from './types.ts'

const NO_TEXT = new Uint8Array(0)

/**
 * Whether `message` is a response to the question of `query` (RFC 5452 §9.1). What is not is no answer at all: on UDP it is
 * ignored and the wait goes on, so that a forger cannot end it.
 */
export function isAnswerTo(query: Query, message: Uint8Array): boolean {
  if (message.length < HEADER_LENGTH || questionCount(message) !== 1) return false
  const flags = flagsOf(message)
  return (flags & Flag.QR) !== 0 && opcodeOf(flags) === Opcode.QUERY && hasQuestionOf(query, message)
}

/**
 * Whether `message` is the header alone of a response that says FORMERR or NOTIMP: so answer servers from before EDNS (RFC 6891 §7)
 * that give up before they have read the question. It says less of itself than an answer does: nothing but an id.
 */
export function isBareError(message: Uint8Array): boolean {
  if (message.length !== HEADER_LENGTH || questionCount(message) !== 0) return false
  const flags = flagsOf(message)
  const rcode = flags & Flag.RCODE
  return (flags & Flag.QR) !== 0 && opcodeOf(flags) === Opcode.QUERY && (rcode === Rcode.FORMERR || rcode === Rcode.NOTIMP)
}

/**
 * Parses what an upstream answered, whole and strictly, before any octet of it goes on (conformance § 25.5). One reader per
 * upstream connection: its tables are reused from answer to answer.
 */
export class AnswerReader {
  /** TIMEOUT of edns-tcp-keepalive in the message read last, units of 100 ms; -1: none (RFC 7828 §3.2.2). */
  keepalive = -1
  /** RCODE of that message, extended by its OPT record (RFC 6891 §6.1.3). */
  rcode = 0
  /** Whether it had an OPT record. */
  hasOpt = false
  /** Where the data of its first COOKIE option stands, and its length; -1: none (RFC 7873 §5.3). */
  cookieAt = 0
  cookieLength = -1

  readonly #record = new RecordView()
  readonly #table = new RecordTable()
  readonly #relevance = new Relevance()
  #ede: number = NO_EDE
  #edeText = NO_TEXT
  #extendedRcode = 0
  /** RFC 7871 §7.3: 0 without the option; -1: it is that of another question. */
  #scope = 0
  #optAt = -1
  /** Position of the OPT record among the records. */
  #optIndex = -1

  /**
   * `message` satisfies isAnswerTo(). Its TTLs are capped and unified in place; the answer borrows its bytes.
   * An upstream's own failure is an answer with RCODE SERVFAIL, never another error code (conformance FAIL-10).
   */
  read(query: Query, message: Uint8Array, now: number): Answer | Failure {
    this.#reset()
    const answers = answerCount(message)
    const authorities = authorityCount(message)
    const total = answers + authorities + additionalCount(message)
    const isValid = total <= MAX_RECORDS && this.#readRecords(query, message, { total, answers, authorities })
    const rcode = (this.#extendedRcode << 4) | (flagsOf(message) & Flag.RCODE)
    this.rcode = rcode
    // RFC 2181 §9: nothing of it is used, but a cookie that it may bring
    if ((flagsOf(message) & Flag.TC) !== 0) return Failure.upstream_truncated
    if (!isValid) return Failure.upstream_malformed
    // RFC 7871 §7.3: dropped as a whole
    if (this.#scope < 0) return Failure.upstream_subnet_mismatch
    // §7.3: perhaps only because of the address
    if (rcode === Rcode.REFUSED && query.subnet.source > 0) return Failure.upstream_subnet_refused
    if (rcode !== Rcode.NOERROR && rcode !== Rcode.NXDOMAIN && rcode !== Rcode.YXDOMAIN) return this.#upstreamFailed()
    if (!this.#relevance.follow(query, message, this.#table, answers)) return Failure.upstream_alias_loop
    restoreLetterCase(query, message, this.#table)
    unifyTtls(message, this.#table, answers)
    this.#relevance.markAnswers(query, message, this.#table, answers)
    this.#relevance.markAuthorities(message, this.#table, answers, answers + authorities)
    const body = this.#body(query, message, { answers, authorities, rcode, now })
    if (body === null) return Failure.upstream_malformed
    return new Answer({ rcode, source: 'upstream', ede: this.#ede, edeText: this.#edeText, scope: this.#scope, body })
  }

  #reset(): void {
    this.keepalive = -1
    this.hasOpt = false
    this.cookieLength = -1
    this.#ede = NO_EDE
    this.#edeText = NO_TEXT
    this.#extendedRcode = 0
    this.#scope = 0
    this.#optAt = this.#optIndex = -1
    this.#table.clear()
  }

  #readRecords(query: Query, message: Uint8Array, counts: Counts): boolean {
    const record = this.#record
    let at = query.questionEnd
    for (let i = 0; i < counts.total; i++) {
      at = record.read(message, at, message.length)
      if (at < 0 || isChangeable(message, record.owner, this.#table)) return false
      this.#table.add(record)
      if (record.type === Type.OPT) {
        // RFC 6891 §6.1.1: in the additional section, and once
        if (i < counts.answers + counts.authorities || this.#optAt >= 0 || message[record.owner] !== 0) return false
        if (!this.#readOpt(query, message, i)) return false
        continue
      }
      if (!isRdataValid(message, record, this.#table)) return false
      clampTtl(message, record.ttlAt)
      // RFC 8945 §5.2: a signature we cannot have asked for means nothing to a client
      if (record.type === Type.TSIG || record.type === Type.TKEY || record.type === Type.SIG) this.#table.drop(i)
    }
    return at === message.length
  }

  #readOpt({ subnet }: Query, message: Uint8Array, index: number): boolean {
    const opt = this.#record
    this.hasOpt = true
    this.#optAt = opt.owner
    this.#optIndex = index
    this.#extendedRcode = optExtendedRcode(message, opt)
    this.#table.drop(index)
    for (let at = opt.rdata; at < opt.end; ) {
      if (at + OPTION_HEADER_LENGTH > opt.end) return false
      const code = u16(message, at)
      const length = u16(message, at + 2)
      const data = at + OPTION_HEADER_LENGTH
      at = data + length
      if (at > opt.end) return false
      if (code === EdnsOption.KEEPALIVE && length === 2) this.keepalive = u16(message, data)
      if (code === EdnsOption.CLIENT_SUBNET && this.#scope === 0) this.#scope = scopeFor(subnet, message, data, length)
      if (code === EdnsOption.COOKIE && this.cookieLength < 0) {
        this.cookieAt = data
        this.cookieLength = length
      }
      if (code === EdnsOption.EDE && length >= 2 && this.#ede === NO_EDE) {
        this.#ede = u16(message, data)
        this.#edeText = upstreamEdeText(message.subarray(data + 2, at))
      }
    }
    return true
  }

  #upstreamFailed(): Answer {
    const { rcode, ede } = Failure.upstream_failed
    return new Answer({ rcode, source: 'upstream', ede: this.#ede === NO_EDE ? ede : this.#ede, edeText: this.#edeText })
  }

  #body(query: Query, message: Uint8Array, facts: BodyFacts): AnswerBody | null {
    const { answers, authorities } = facts
    const table = this.#table
    const freshness = this.#freshness(message, facts)
    // the common case: all is relevant and the OPT record comes last, so the records are sent on as they stand
    const optLast = this.#optIndex < 0 || this.#optIndex === table.count - 1
    if (optLast && table.drops === (this.#optIndex < 0 ? 0 : 1)) {
      const count = table.count - table.drops
      const end = this.#optAt < 0 ? message.length : this.#optAt
      return {
        bytes: message,
        start: query.questionEnd,
        additional: answers + authorities < count ? table.owner(answers + authorities) : end,
        end,
        answers,
        authorities,
        additionals: count - answers - authorities,
        ttls: table.ttls(count),
        freshness,
        at: facts.now,
      }
    }
    return rewriteRecords(message, table, { start: query.questionEnd, answers, authorities, freshness, at: facts.now })
  }

  /** RFC 8484 §5.1, RFC 2308 §5: the smallest TTL of the answer, or what the SOA record allows for a denial, which its TTL then says. */
  #freshness(message: Uint8Array, facts: BodyFacts): number {
    let least = Number.POSITIVE_INFINITY
    for (let i = 0; i < facts.answers; i++) if (!this.#table.isDropped(i)) least = Math.min(least, u32(message, this.#table.ttl(i)))
    if (facts.rcode === Rcode.NOERROR && this.#relevance.answered) return least
    for (let i = facts.answers; i < facts.answers + facts.authorities; i++) {
      if (this.#table.type(i) !== Type.SOA || this.#table.isDropped(i)) continue
      const ttl = this.#table.ttl(i)
      const negative = Math.min(u32(message, ttl), soaMinimum(message, this.#table, i), MAX_NEGATIVE_TTL_SECONDS)
      putU32(message, ttl, negative)
      return Math.min(least, negative)
    }
    return 0
  }
}

interface Counts {
  readonly total: number
  readonly answers: number
  readonly authorities: number
}

interface BodyFacts {
  readonly answers: number
  readonly authorities: number
  readonly rcode: number
  readonly now: number
}

/** MINIMUM is the last field of a SOA record (RFC 1035 §3.3.13), whose RDATA was found valid. */
function soaMinimum(message: Uint8Array, table: RecordTable, i: number): number {
  const rdata = table.rdata(i)
  return u32(message, rdata + u16(message, rdata - 2) - 4)
}
