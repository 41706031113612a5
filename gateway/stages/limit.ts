import { Answer } from '../../dns/answer.ts'
import { type Stage, TRANSPORTS, Verdict } from '../../dns/contracts.ts'
import { Failure } from '../../dns/failure.ts'
import type { Query } from '../../dns/query.ts'
import { Rcode } from '../../dns/types.ts'
import type { AddressBytes } from '../../net/address.ts'
import type { RateLimit } from '../../net/rate-limit.ts'

/** A page of many names, or a start of a browser, is no flood. */
const QUERY_BURST_MS = 10_000
/** What is sent to an address that may be forged comes at most in such a gust. */
const UDP_BURST_MS = 1000

const ASK_OVER_STREAM = new Answer({ rcode: Rcode.NOERROR, source: 'local', truncated: true })

export interface LimitTerms {
  /** Queries of one client over all transports; 0 for no limit. */
  readonly queriesPerSecond: number
  readonly udp: {
    /** Answers over UDP to one client that has not shown that it is there; 0 for no limit. */
    readonly perSecond: number
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
    const { client, receivedAt } = query
    const { queriesPerSecond, udp } = this.terms
    // RFC 7873 §5.2.5: who has a cookie of ours is there
    const mayBeForged = client.traits.datagram && !query.isProven && udp.perSecond > 0 && !udp.exempt.has(client.octets)
    if (mayBeForged && !this.#udp.take(client.octets, { perSecond: udp.perSecond, burstMs: UDP_BURST_MS }, receivedAt))
      return this.#slip(query)
    if (queriesPerSecond === 0) return Verdict.NEXT
    if (this.#queries.take(client.octets, { perSecond: queriesPerSecond, burstMs: QUERY_BURST_MS }, receivedAt)) return Verdict.NEXT
    if (client.traits.datagram && !query.isProven) return this.#slip(query)
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
