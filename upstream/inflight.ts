import type { UpstreamSink } from '../dns/contracts.ts'
import type { Query } from '../dns/query.ts'
import type { LiveSet } from '../net/live-set.ts'
import { type Wheel, WheelEntry } from '../net/wheel.ts'
import type { Cookie } from './client-cookies.ts'
import type { Asked } from './edns-support.ts'
import { random16 } from './random.ts'

/** Whoever owns a table of pending queries hears when one of them runs out of time. */
export interface PendingOwner {
  expired(pending: Pending): void
}

/** How a question is asked. */
export interface Wording {
  /** Whether it was asked before: on an earlier connection that broke (conformance TCP-13), or in other words; once. */
  readonly resent: boolean
  /** Whether it has an OPT record. */
  readonly edns: boolean
  /** In the OPT record; null: none. */
  readonly cookie: Cookie | null
}

export interface PendingFacts extends Wording {
  readonly now: number
  /** 0x20: see putLetterCase(); 0 where it is not used. */
  readonly letterCase: number
}

/** One question on its way to one server. */
export class Pending extends WheelEntry implements Asked, Wording {
  readonly query: Query
  readonly sink: UpstreamSink
  readonly sentAt: number
  readonly id: number
  readonly resent: boolean
  readonly edns: boolean
  readonly cookie: Cookie | null
  readonly letterCase: number
  readonly #owner: PendingOwner

  constructor(query: Query, sink: UpstreamSink, { id, owner, facts }: { id: number; owner: PendingOwner; facts: PendingFacts }) {
    super()
    this.query = query
    this.sink = sink
    this.id = id
    this.sentAt = facts.now
    this.resent = facts.resent
    this.edns = facts.edns
    this.cookie = facts.cookie
    this.letterCase = facts.letterCase
    this.#owner = owner
  }

  override onDeadline(): void {
    this.#owner.expired(this)
  }
}

/** The questions in flight on one socket, by message id. An id is never in use twice (RFC 7766 §6.2.1). */
export class Inflight {
  readonly #wheel: Wheel
  readonly #owner: PendingOwner
  readonly #limit: number
  readonly #busy: LiveSet<Inflight>
  readonly #pending = new Map<number, Pending>()
  /** Ids of questions whose time ran out on a stream: the server may still answer them, so that they are in use (RFC 7766 §6.2.1). */
  readonly #overdue = new Set<number>()

  /**
   * `limit`: how many at once, below 65,536; far below it a free id is found at once. `busy`: the tables of the upstream that are
   * not empty, for drain().
   */
  constructor(wheel: Wheel, options: { owner: PendingOwner; limit: number; busy: LiveSet<Inflight> }) {
    this.#wheel = wheel
    this.#owner = options.owner
    this.#limit = options.limit
    this.#busy = options.busy
  }

  get size(): number {
    return this.#pending.size
  }

  get isFull(): boolean {
    return this.#pending.size >= this.#limit
  }

  /** Precondition: not full. The entry expires at the query's deadline. */
  add(query: Query, sink: UpstreamSink, facts: PendingFacts): Pending {
    // RFC 5452 §9.2; conformance DOH-10: never the client's, which is 0 over HTTP and QUIC
    let id = random16()
    while (this.#pending.has(id) || this.#overdue.has(id)) id = random16()
    const pending = new Pending(query, sink, { id, owner: this.#owner, facts })
    if (this.#pending.size === 0) this.#busy.add(this)
    this.#pending.set(id, pending)
    this.#wheel.set(pending, query.deadline)
    return pending
  }

  get(id: number): Pending | undefined {
    return this.#pending.get(id)
  }

  remove(pending: Pending): void {
    this.#pending.delete(pending.id)
    this.#wheel.clear(pending)
    if (this.#pending.size === 0) this.#busy.delete(this)
  }

  /** How many answers are owed that nobody waits for. */
  get overdue(): number {
    return this.#overdue.size
  }

  /** Removes a question whose answer may still come. */
  giveUp(pending: Pending): void {
    this.remove(pending)
    this.#overdue.add(pending.id)
  }

  /** The same with all that were not sent before. */
  giveUpFirstSends(): readonly Pending[] {
    const first = [...this.#pending.values()].filter(({ resent }) => !resent)
    for (const pending of first) this.giveUp(pending)
    return first
  }

  /** Whether an answer under this id was owed; it no longer is. */
  settleOverdue(id: number): boolean {
    return this.#overdue.delete(id)
  }

  /** Takes all, for a socket that broke. */
  takeAll(): readonly Pending[] {
    const all = [...this.#pending.values()]
    this.#pending.clear()
    this.#busy.delete(this)
    for (const pending of all) this.#wheel.clear(pending)
    return all
  }
}
