import type { Query } from '../dns/query.ts'
import { Rcode } from '../dns/types.ts'
import type { Clock } from '../net/clock.ts'

/**
 * For how long a server that does not know EDNS is asked without it. RFC 6891 §6.2.2 wants it to be found out again: long enough that
 * few questions pay for it, short enough for a server that is exchanged.
 */
const MEMORY_MS = 300_000

/** How a question was put. */
export interface Asked {
  readonly query: Query
  /** Whether it had an OPT record. */
  readonly edns: boolean
  /** Whether it was the second try. */
  readonly resent: boolean
}

/** What an answer says of its sender's EDNS: an AnswerReader after read(), or of a bare error its RCODE and false. */
export interface EdnsFacts {
  /** Extended. */
  readonly rcode: number
  readonly hasOpt: boolean
}

/**
 * Whether one server knows EDNS, as far as is known (conformance EDNS-16). Questions with DO are asked with it whatever is known: without,
 * their answer would be to another question, so that a refusal is a failure.
 *
 * A leaf asks with `edns: support.isUsedFor(query)`, and calls heard() with each answer that it takes for one.
 */
export class EdnsSupport {
  readonly #clock: Clock
  #unknownUntil = Number.NEGATIVE_INFINITY

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Whether `query` goes with an OPT record. */
  isUsedFor(query: Query): boolean {
    return query.dnssecOk || this.#unknownUntil === Number.NEGATIVE_INFINITY || this.#clock() >= this.#unknownUntil
  }

  /** True: the answer is none; the same is to be asked once more, over the same transport, with `edns: false`. */
  heard({ query, edns, resent }: Asked, { rcode, hasOpt }: EdnsFacts): boolean {
    // RFC 6891 §7: who knows EDNS answers with an OPT record to one, errors included
    if (hasOpt) {
      this.#unknownUntil = Number.NEGATIVE_INFINITY
      return false
    }
    const refused = rcode === Rcode.FORMERR || rcode === Rcode.NOTIMP
    if (edns) return refused && !resent && !query.dnssecOk
    // only once it has helped: a server may refuse a question for what it asks
    if (resent && !refused) this.#unknownUntil = this.#clock() + MEMORY_MS
    return false
  }
}
