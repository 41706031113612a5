import { Answer } from '../../dns/answer.ts'
import { NO_KEEPALIVE, type Stage, TRANSPORTS, Verdict } from '../../dns/contracts.ts'
import { Failure } from '../../dns/failure.ts'
import { Flag, HEADER_LENGTH } from '../../dns/header.ts'
import { KEEPALIVE_ABSENT, type Query } from '../../dns/query.ts'
import { readQuery } from '../../dns/query-reader.ts'
import { CLIENT_COOKIE_LENGTH, COOKIE_LENGTH, type ServerCookies } from '../../dns/server-cookies.ts'
import { Class, Rcode, Type } from '../../dns/types.ts'
import { ASK_OVER_STREAM } from './ask-over-stream.ts'

const COOKIE_ALONE = new Answer({ rcode: Rcode.NOERROR, source: 'local' })

/** RFC 6895 §3.1: 128-255 are QTYPEs and meta types; what is not listed here is not defined. */
const FIRST_META_TYPE = 128
const LAST_META_TYPE = 255

/** Parses the message and refuses what the gateway does not serve (conformance §1-2, policies P-1 to P-12). */
export class AcceptStage implements Stage {
  readonly name = 'accept'
  /** Null: cookies are ignored. */
  cookies: ServerCookies | null
  readonly #recurses: boolean

  /** `recurses`: false where only zones of our own are served. */
  constructor({ cookies, recurses = true }: { cookies: ServerCookies | null; recurses?: boolean }) {
    this.cookies = cookies
    this.#recurses = recurses
  }

  onQuery(query: Query): Verdict {
    const failure = readQuery(query)
    if (failure === null && query.cookieLength > 0) this.#takeCookie(query)
    // RFC 7873 §5.4
    if (failure === null && query.questionEnd === HEADER_LENGTH) return this.#answerCookie(query)
    query.failure = failure ?? refusal(query) ?? this.#refusedRecursion(query)
    if (query.failure !== null) return Verdict.FAILED
    // RFC 8482 §4.4: ANY is what amplification asks for, so a spoofable transport gets no data (P-9)
    if (query.qtype === Type.ANY && query.client.traits.datagram) {
      query.answer = ASK_OVER_STREAM
      return Verdict.ANSWERED
    }
    return Verdict.NEXT
  }

  /** P-4: without recursion only a cache could be asked, and what others looked up is nobody's business. */
  #refusedRecursion({ flags }: Query): Failure | null {
    return this.#recurses && (flags & Flag.RD) === 0 ? Failure.recursion_not_desired : null
  }

  #takeCookie(query: Query): void {
    if (this.cookies === null) return
    const { wire, cookieAt: at, cookieLength: length } = query
    query.cookie = new Uint8Array(COOKIE_LENGTH)
    query.isProven = this.cookies.check({ wire, at, length }, query.client.octets, Math.floor(Date.now() / 1000), query.cookie)
  }

  #answerCookie(query: Query): Verdict {
    if (query.cookie === null) query.failure = Failure.malformed_message
    else if (query.isProven || query.cookieLength === CLIENT_COOKIE_LENGTH) query.answer = COOKIE_ALONE
    else query.failure = Failure.bad_cookie
    return query.answer === null ? Verdict.FAILED : Verdict.ANSWERED
  }
}

function refusal(query: Query): Failure | null {
  // RFC 9250 §5.5.2: it would be about the QUIC connection, which has a timeout of its own
  if (query.client.traits === TRANSPORTS.doq && query.keepaliveLength !== KEEPALIVE_ABSENT) return Failure.doq_keepalive
  // RFC 7828 §3.2.1: empty from a client; a client that sends a timeout is forgiven (KA-05); §3.3.1: ignored where it has no meaning
  const keepalive = query.keepaliveLength
  if (query.client.keepalive !== NO_KEEPALIVE && keepalive !== KEEPALIVE_ABSENT && keepalive !== 0 && keepalive !== 2) {
    return Failure.malformed_message
  }
  return refusedType(query.qtype) ?? (query.qclass === Class.IN ? null : Failure.class_refused)
}

function refusedType(type: number): Failure | null {
  if (type === 0 || type === Type.OPT) return Failure.malformed_message
  if (type < FIRST_META_TYPE || type > LAST_META_TYPE || type === Type.ANY) return null
  // RFC 9824 §3.5: a question for NXNAME is malformed and is not forwarded
  if (type === Type.NXNAME) return Failure.type_invalid
  if (type === Type.AXFR || type === Type.IXFR) return Failure.transfer_refused
  if (type === Type.TSIG || type === Type.TKEY) return Failure.signature_refused
  return Failure.type_not_implemented
}
