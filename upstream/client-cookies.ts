import { randomFillSync } from 'node:crypto'
import type { Answer } from '../dns/answer.ts'
import { u8 } from '../dns/bytes.ts'
import type { UpstreamSink } from '../dns/contracts.ts'
import type { Failure } from '../dns/failure.ts'
import type { Query } from '../dns/query.ts'
import type { QuestionCookie } from '../dns/question.ts'
import { CLIENT_COOKIE_LENGTH } from '../dns/server-cookies.ts'
import type { Clock } from '../net/clock.ts'
import { mayRepeat } from './server.ts'

/** RFC 7873 §4: of the whole option, with the server's part. */
const MIN_WITH_SERVER = 16
const MAX_LENGTH = 40
/** RFC 7873 §7.1 has what a client cookie is made from exchanged once a day. */
const MAX_AGE_MS = 86_400_000
/** Addresses that this machine may ask one server from by turns; more would be a change of address every time. */
const MAX_ADDRESSES = 4
/** After a server has said over TCP that it has no cookies: time in which none are expected. Of an anycast address some servers may have them. */
const NOT_EXPECTED_MS = 600_000

export const CookieVerdict = {
  /** It has our cookie, or none, and none is expected. */
  ACCEPTED: 0,
  /** RFC 7873 §5.3: somebody else's, or of an illegal length: to be discarded. */
  FOREIGN: 1,
  /** None, where the server has always sent one. */
  MISSING: 2,
} as const
export type CookieVerdict = (typeof CookieVerdict)[keyof typeof CookieVerdict]

/** Where the COOKIE option of a message stands: an AnswerReader after read(). */
export interface CookieFacts {
  readonly cookieAt: number
  readonly cookieLength: number
}

/** The cookies towards one server (RFC 7873 §5.1): drawn at random, of nobody's secret and of no use elsewhere (RFC 9018 §3). */
export class ClientCookies {
  readonly #clock: Clock
  readonly #byAddress = new Map<string, Cookie>()
  #supported = false
  #expectedFrom = Number.NEGATIVE_INFINITY

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Whether an answer without a cookie is not believed: the server has cookies. */
  get isExpected(): boolean {
    return this.#supported && this.#clock() >= this.#expectedFrom
  }

  /** The cookie of questions that leave by `address` of this machine (RFC 9018 §3: of no other); for a while always the same. */
  ofAddress(address: string): Cookie {
    const now = this.#clock()
    const present = this.#byAddress.get(address)
    if (present !== undefined && now < present.until) return present
    this.#byAddress.delete(address)
    const [oldest] = this.#byAddress.keys()
    if (oldest !== undefined && this.#byAddress.size >= MAX_ADDRESSES) this.#byAddress.delete(oldest)
    const cookie = new Cookie(this, now + MAX_AGE_MS)
    this.#byAddress.set(address, cookie)
    return cookie
  }

  supported(): void {
    this.#supported = true
  }

  unsupported(): void {
    this.#supported = false
    this.#expectedFrom = this.#clock() + NOT_EXPECTED_MS
  }
}

/** A client cookie, and the server cookie that came for it last. */
export class Cookie implements QuestionCookie {
  readonly octets = new Uint8Array(MAX_LENGTH)
  /** No new sockets use it after this. */
  readonly until: number
  readonly #owner: ClientCookies
  #length = CLIENT_COOKIE_LENGTH

  constructor(owner: ClientCookies, until: number) {
    this.#owner = owner
    this.until = until
    randomFillSync(this.octets, 0, CLIENT_COOKIE_LENGTH)
  }

  get length(): number {
    return this.#length
  }

  /** Of the answer to a question that had it; takes the server cookie, which every answer may renew (RFC 7873 §5.3: errors too). */
  judge(message: Uint8Array, { cookieAt, cookieLength }: CookieFacts): CookieVerdict {
    if (cookieLength < 0) return this.#owner.isExpected ? CookieVerdict.MISSING : CookieVerdict.ACCEPTED
    if (!isLegal(cookieLength) || !this.#isEchoed(message, cookieAt)) return CookieVerdict.FOREIGN
    if (cookieLength === CLIENT_COOKIE_LENGTH) return CookieVerdict.ACCEPTED
    for (let i = CLIENT_COOKIE_LENGTH; i < cookieLength; i++) this.octets[i] = u8(message, cookieAt + i)
    this.#length = cookieLength
    this.#owner.supported()
    return CookieVerdict.ACCEPTED
  }

  /** The same of an answer over a stream, where nobody can have taken the option away: without it the server has no cookies. */
  judgeReliable(message: Uint8Array, facts: CookieFacts): void {
    if (this.judge(message, facts) === CookieVerdict.MISSING) this.#owner.unsupported()
  }

  /** Nobody can be asked over a stream whether the server has lost its cookies: better it is asked without them than never again. */
  forget(): void {
    this.#owner.unsupported()
  }

  #isEchoed(message: Uint8Array, at: number): boolean {
    for (let i = 0; i < CLIENT_COOKIE_LENGTH; i++) if (message[at + i] !== this.octets[i]) return false
    return true
  }
}

/** Passes on what comes over a stream of a question whose answer had no cookie. */
export class CookieCheck implements UpstreamSink {
  readonly #cookie: Cookie
  readonly #sink: UpstreamSink

  constructor(cookie: Cookie, sink: UpstreamSink) {
    this.#cookie = cookie
    this.#sink = sink
  }

  answered(query: Query, answer: Answer): void {
    this.#sink.answered(query, answer)
  }

  failed(query: Query, failure: Failure): void {
    this.#cookie.forget()
    this.#sink.failed(query, failure)
  }

  mayRepeat(query: Query): boolean {
    return mayRepeat(query, this.#sink)
  }
}

function isLegal(length: number): boolean {
  return length === CLIENT_COOKIE_LENGTH || (length >= MIN_WITH_SERVER && length <= MAX_LENGTH)
}
