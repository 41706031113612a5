import { accountOf, type Stage, TRANSPORTS, Verdict } from '../../dns/contracts.ts'
import { Failure } from '../../dns/failure.ts'
import type { Query } from '../../dns/query.ts'
import type { AddressBytes } from '../../net/address.ts'
import type { Rate, RateLimit } from '../../net/rate-limit.ts'
import { ASK_OVER_STREAM } from './ask-over-stream.ts'

export interface LimitTerms {
  readonly queries: {
    /** Of one client over all transports; null for no limit. */
    readonly rate: Rate | null
    /** Who may ask as much as it likes. */
    readonly exempt: { has(address: AddressBytes): boolean }
  }
  readonly udp: {
    /** Answers over UDP to one client that has not shown that it is there; null for no limit. */
    readonly rate: Rate | null
    /** Of those that are too many, each such one is answered: ask over TCP; 0: none. */
    readonly slip: number
    /** Whose addresses nobody forges. */
    readonly exempt: { has(address: AddressBytes): boolean }
  }
}

/** How many queries a client may ask, and what becomes of those that are too many: nobody else is to suffer from them, a forged sender least of all. */
export class LimitStage implements Stage {
  readonly name = 'limit'
  terms: LimitTerms
  readonly #queries: RateLimit
  readonly #udp: RateLimit
  #tooMany = 0

  constructor(terms: LimitTerms, { queries, udp }: { queries: RateLimit; udp: RateLimit }) {
    this.terms = terms
    this.#queries = queries
    this.#udp = udp
  }

  onQuery(query: Query): Verdict {
    const { octets, traits } = query.client
    const { queries, udp } = this.terms
    // RFC 7873 §5.2.5: who has a cookie of ours is there
    const mayBeForged = traits.datagram && !query.isProven
    const isLimited = mayBeForged && udp.rate !== null && !udp.exempt.has(octets)
    if (isLimited && !this.#udp.take(octets, udp.rate, query.receivedAt)) return this.#slip(query)
    if (queries.rate === null || queries.exempt.has(octets)) return Verdict.NEXT
    if (this.#queries.take(accountOf(query.client), queries.rate, query.receivedAt)) return Verdict.NEXT
    if (mayBeForged) return this.#slip(query)
    query.failure = hasStatus(query) ? Failure.rate_limited : Failure.rate_refused
    return Verdict.FAILED
  }

  /** An answer no longer than the query, by which a client that is there gets on; or silence. */
  #slip(query: Query): Verdict {
    const { slip } = this.terms.udp
    if (slip === 0 || ++this.#tooMany % slip !== 0) {
      query.failure = Failure.rate_limited
      return Verdict.FAILED
    }
    if (query.cookie !== null) {
      query.failure = Failure.bad_cookie
      return Verdict.FAILED
    }
    query.answer = ASK_OVER_STREAM
    return Verdict.ANSWERED
  }
}

/** HTTP has a word for it (RFC 6585 §4). */
function hasStatus({ client: { traits } }: Query): boolean {
  return traits === TRANSPORTS.doh1 || traits === TRANSPORTS.doh2 || traits === TRANSPORTS.doh3
}
