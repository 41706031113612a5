import { Answer } from '../../dns/answer.ts'
import type { UpstreamSink } from '../../dns/contracts.ts'
import { Failure } from '../../dns/failure.ts'
import type { Query } from '../../dns/query.ts'
import { type Wheel, WheelEntry } from '../../net/wheel.ts'
import { Health } from '../../upstream/health.ts'
import { HealthProber } from '../../upstream/health-prober.ts'
import { allocateHealth, HealthRow } from '../../upstream/health-table.ts'
import { Selection } from '../../upstream/selection.ts'
import type { UpstreamServer } from '../../upstream/server.ts'
import { ordered, type Strategy } from '../../upstream/strategies.ts'
import { HandClock } from './lab.ts'
import { client, parsedQuery, question } from './messages.ts'

/** A server that answers when the test says so, on the test's clock. */
export class HandServer implements UpstreamServer {
  readonly name: string
  readonly rtt = Number.NaN
  readonly isLossy: boolean
  /** Questions of clients and probes that are not answered yet, in order. */
  readonly open: Held[] = []
  /** How often it was asked by clients, and by the prober: for the root, and for what would come back. */
  asked = 0
  probes = 0
  loopProbes = 0
  /** What it does at once; null: it is answered by hand. */
  react: ((query: Query, sink: UpstreamSink) => void) | null = null
  /** Whether it answers as soon as it is asked: clients, and probes. */
  obliges = false
  answersProbes = false
  readonly #wheel: Wheel

  constructor(name: string, { isLossy, wheel }: { isLossy: boolean; wheel: Wheel }) {
    this.name = name
    this.isLossy = isLossy
    this.#wheel = wheel
  }

  send(query: Query, sink: UpstreamSink): void {
    if (query.client.port !== 0) this.asked++
    else if (query.qtype === 2) this.probes++
    else this.loopProbes++
    if (this.react !== null) {
      this.react(query, sink)
      return
    }
    const held = new Held(query, sink, this.open)
    this.open.push(held)
    this.#wheel.set(held, query.deadline)
    if ((this.obliges || this.answersProbes) && query.client.port === 0) {
      this.open.splice(this.open.indexOf(held), 1)
      this.#wheel.clear(held)
      sink.answered(query, new Answer({ rcode: 0, source: 'upstream' }))
    }
  }

  /** Answers all that is open. */
  answer(rcode = 0): void {
    for (const held of this.open.splice(0)) {
      this.#wheel.clear(held)
      held.sink.answered(held.query, new Answer({ rcode, source: 'upstream' }))
    }
  }

  fail(failure: Failure): void {
    for (const held of this.open.splice(0)) {
      this.#wheel.clear(held)
      held.sink.failed(held.query, failure)
    }
  }

  async drain(): Promise<void> {}
  async close(): Promise<void> {}
}

/** A question that waits, until its deadline. */
class Held extends WheelEntry {
  readonly query: Query
  readonly sink: UpstreamSink
  readonly #open: Held[]

  constructor(query: Query, sink: UpstreamSink, open: Held[]) {
    super()
    this.query = query
    this.sink = sink
    this.#open = open
  }

  override onDeadline(): void {
    const at = this.#open.indexOf(this)
    if (at >= 0) this.#open.splice(at, 1)
    this.sink.failed(this.query, Failure.upstream_timeout)
  }
}

export interface Outcome {
  answer: Answer | null
  failure: Failure | null
}

/** A selection of servers by hand, the health table and the prober behind it, on one clock. */
export class Ward {
  readonly clock = new HandClock()
  readonly servers: readonly HandServer[]
  readonly rows: readonly HealthRow[]
  readonly selection: Selection
  readonly memory = allocateHealth()
  readonly healths: readonly Health[]
  readonly #strategy: Strategy

  constructor(
    count: number,
    {
      strategy = ordered(),
      isStrict = false,
      weights = [],
      isAuthenticated = () => true,
      isLossy = false,
    }: {
      strategy?: Strategy
      isStrict?: boolean
      weights?: readonly number[]
      isAuthenticated?: (position: number) => boolean
      isLossy?: boolean
    } = {},
  ) {
    const clock = () => this.clock.now
    const wheel = this.clock.makeWheel()
    const prober = new HealthProber({ clock, wheel, loopLabel: 'loop' })
    this.#strategy = strategy
    this.servers = Array.from({ length: count }, (_, i) => new HandServer(`s${i}`, { isLossy, wheel }))
    this.rows = this.servers.map((_, i) => new HealthRow(this.memory, i))
    this.healths = this.servers.map((server, i) => new Health(server, this.rows[i] as HealthRow, prober))
    const candidates = this.servers.map((server, i) => ({
      server,
      watch: this.healths[i] as Health,
      weight: weights[i] ?? 1,
      key: Math.imul(i + 1, 0x1234_5671),
      isAuthenticated: isAuthenticated(i),
    }))
    this.selection = new Selection('ward', candidates, { clock, wheel, strategy: this.#strategy, isStrict })
  }

  /** All servers have answered a probe in `ms`. */
  introduce(ms: readonly number[] = []): this {
    for (const health of this.healths) health.introduce()
    this.clock.advance(50)
    for (const [i, server] of this.servers.entries()) {
      for (const { query } of server.open) query.receivedAt = this.clock.now - (ms[i] ?? 1)
      server.answer()
    }
    return this
  }

  server(i: number): HandServer {
    const server = this.servers[i]
    if (server === undefined) throw new RangeError(`received ${i}`)
    return server
  }

  row(i: number): HealthRow {
    return new HealthRow(this.memory, i)
  }

  ask(name = 'example.com', budgetMs = 4000): Outcome {
    const query = parsedQuery(question({ name, opt: '' }), client('tcp'))
    query.receivedAt = this.clock.now
    query.deadline = this.clock.now + budgetMs
    query.park()
    const outcome: Outcome = { answer: null, failure: null }
    this.selection.send(query, {
      answered: (_, answer) => settle(outcome, () => (outcome.answer = answer)),
      failed: (_, failure) => settle(outcome, () => (outcome.failure = failure)),
    })
    for (const server of this.servers) if (server.obliges) server.answer()
    return outcome
  }

  /** How often each was asked by clients, since the last time. */
  counts(): readonly number[] {
    const counts = this.servers.map(({ asked }) => asked)
    for (const server of this.servers) server.asked = 0
    return counts
  }
}

function settle(outcome: Outcome, set: () => void): void {
  if (outcome.answer !== null || outcome.failure !== null) throw new Error('settled twice')
  set()
}
