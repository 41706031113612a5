import type { UpstreamSink } from '../dns/contracts.ts'
import type { Query } from '../dns/query.ts'
import { WheelEntry } from '../net/wheel.ts'
import type { QuicLink } from './quic-link.ts'

/** Hears when a question runs out of time. */
export interface QuestionOwner {
  expired(question: QuicQuestion): void
}

/** One question on its way to one server. */
export class QuicQuestion extends WheelEntry {
  readonly query: Query
  readonly sink: UpstreamSink
  /** Where it is, and on which stream; -1: it waits for one. */
  link: QuicLink | null = null
  stream = -1
  sentAt = 0
  /** Whether it was asked already in vain (conformance TCP-13: once more, on a connection younger than that). */
  resent = false
  notBefore = Number.NEGATIVE_INFINITY
  /** Its sink has been called. */
  settled = false
  readonly #owner: QuestionOwner

  constructor(query: Query, sink: UpstreamSink, owner: QuestionOwner) {
    super()
    this.query = query
    this.sink = sink
    this.#owner = owner
  }

  override onDeadline(): void {
    this.#owner.expired(this)
  }
}
