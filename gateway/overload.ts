import type { Logger } from 'pino'
import { accountOf, type Client } from '../dns/contracts.ts'
import { Failure } from '../dns/failure.ts'
import { type AddressBytes, clientKey } from '../net/address.ts'

/** Memory is short until a tenth of the bound is free again. */
const MEMORY_RESUME_SHARE = 0.9
/** Of the bound: where clients have less, turning them away would free nothing. A small container is nearly full of Node itself. */
const CLIENTS_SHARE = 0.1
/** Clients give up after 2 to 5 s, so a worker that is late by one second, twice in a row, does no good to those that it lets in. */
const DELAY_MS = 1000
const DELAY_RESUME_MS = 250
const DELAYED_LOOKS = 2

/** Octets that may wait for one client, all threads together: what a household that stalls in the middle of everything leaves. */
const MAX_BUFFERED_PER_CLIENT = 16_777_216
/** What a connection costs with TLS (docs/benchmarks/dot.md), and a question that waits. */
const CONNECTION_OCTETS = 50_000
const QUESTION_OCTETS = 1_000

/** A connection, as far as it is a burden. */
export interface Burden {
  readonly client: Client
  readonly workload: { readonly questions: number; readonly asked: number }
  readonly held: number
  close(): void
}

export interface OverloadTerms {
  /** Octets of the process. */
  readonly memory: number
  /** Threads among which what one client may have waiting is divided. */
  readonly threads: number
  /** Who asks for many, and is no client itself. */
  readonly exempt: { has(address: AddressBytes): boolean }
}

export interface OverloadOptions {
  readonly governor: { isOverloaded: boolean }
  /** Those of this thread. */
  readonly connections: () => readonly Burden[]
  /** Octets that wait in all of them. */
  readonly held: () => number
  readonly dropped: (client: Client, failure: Failure) => void
  readonly log: Pick<Logger, 'warn' | 'info'>
}

/** How this thread is. */
export interface Vitals {
  /** Octets of the process. */
  readonly rss: number
  /** By how much this look was late. */
  readonly delayMs: number
}

type Shortage = 'memory' | 'time'

/** Watches memory and time. Where one of them is short, nobody new is let in, and the heaviest client goes, one with each look. */
export class OverloadWatch {
  terms: OverloadTerms
  readonly #options: OverloadOptions
  #shortage: Shortage | null = null
  #delayedLooks = 0
  /** Questions that connections had asked at the last look while time was short. */
  #askedBefore = new WeakMap<Burden, number>()

  constructor(terms: OverloadTerms, options: OverloadOptions) {
    this.terms = terms
    this.#options = options
  }

  /** To be called twice a second. */
  look(vitals: Vitals): void {
    this.#delayedLooks = vitals.delayMs > DELAY_MS ? this.#delayedLooks + 1 : 0
    this.#turn(this.#isShortOf(vitals), vitals)
    if (this.#shortage === 'memory') this.#shed((burden) => weightOf(burden))
    if (this.#shortage === 'time') this.#shed((burden) => this.#askedSince(burden))
    this.#trim()
  }

  /** With hysteresis: who comes and goes at a bound would be let in and thrown out in turns. */
  #isShortOf({ rss, delayMs }: Vitals): Shortage | null {
    const bound = this.terms.memory * (this.#shortage === 'memory' ? MEMORY_RESUME_SHARE : 1)
    if (rss > bound && this.#isOfClients()) return 'memory'
    return this.#delayedLooks >= DELAYED_LOOKS || (this.#shortage === 'time' && delayMs > DELAY_RESUME_MS) ? 'time' : null
  }

  /** Whether much of the memory is what clients have; each thread answers for its part. */
  #isOfClients(): boolean {
    let weight = 0
    for (const burden of this.#options.connections()) weight += weightOf(burden)
    return weight >= (this.terms.memory * CLIENTS_SHARE) / this.terms.threads
  }

  #turn(next: Shortage | null, { rss, delayMs }: Vitals): void {
    if (next === this.#shortage) return
    const { governor, log } = this.#options
    const facts = { rss, memory: this.terms.memory, delayMs: Math.round(delayMs) }
    if (next === null) log.info(facts, 'there is room again: connections are let in')
    else log.warn(facts, `${next} is short: no connection is let in, and the heaviest clients go`)
    this.#shortage = next
    this.#askedBefore = new WeakMap()
    governor.isOverloaded = next !== null
  }

  /** Ends the connections of the client that weighs most, if it weighs more than twice what others do: where all are alike, nobody is to blame. */
  #shed(weigh: (burden: Burden) => number): void {
    const accounts = this.#accounts(weigh)
    let total = 0
    let heaviest: Account = { weight: 0, members: [] }
    for (const account of accounts.values()) {
      total += account.weight
      if (account.weight > heaviest.weight) heaviest = account
    }
    const others = (total - heaviest.weight) / (accounts.size - 1)
    if (accounts.size < 2 || heaviest.weight <= 2 * others) return
    for (const burden of heaviest.members) this.#end(burden, Failure.overload_shed)
  }

  /** What may wait for one client is more than for one connection: so much of it goes as is too much. */
  #trim(): void {
    const share = MAX_BUFFERED_PER_CLIENT / this.terms.threads
    if (this.#options.held() <= share) return
    for (const account of this.#accounts(({ held }) => held).values()) {
      if (account.weight <= share) continue
      let { weight } = account
      for (const burden of account.members.toSorted((a, b) => b.held - a.held)) {
        if (weight <= share) break
        weight -= burden.held
        this.#end(burden, Failure.buffer_limit)
      }
    }
  }

  #accounts(weigh: (burden: Burden) => number): ReadonlyMap<string, Account> {
    const accounts = new Map<string, Account>()
    for (const burden of this.#options.connections()) {
      const { client } = burden
      if (this.terms.exempt.has(client.octets)) continue
      const key = clientKey(accountOf(client))
      const account = accounts.get(key) ?? { weight: 0, members: [] }
      accounts.set(key, account)
      account.weight += weigh(burden)
      account.members.push(burden)
    }
    return accounts
  }

  #askedSince(burden: Burden): number {
    const { asked } = burden.workload
    const before = this.#askedBefore.get(burden) ?? asked
    this.#askedBefore.set(burden, asked)
    return asked - before
  }

  #end(burden: Burden, failure: Failure): void {
    this.#options.dropped(burden.client, failure)
    burden.close()
  }
}

interface Account {
  weight: number
  readonly members: Burden[]
}

function weightOf({ held, workload }: Burden): number {
  return CONNECTION_OCTETS + held + workload.questions * QUESTION_OCTETS
}
