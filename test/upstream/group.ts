import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
import type { Upstream } from '../../dns/contracts.ts'
import type { Endpoint } from '../../net/address.ts'
import type { Candidate } from '../../upstream/candidate.ts'
import { Health } from '../../upstream/health.ts'
import { HealthProber } from '../../upstream/health-prober.ts'
import { allocateHealth, HealthRow, HealthState } from '../../upstream/health-table.ts'
import { Ladder } from '../../upstream/ladder.ts'
import { Selection } from '../../upstream/selection.ts'
import type { UpstreamServer } from '../../upstream/server.ts'
import type { Strategy } from '../../upstream/strategies.ts'
import { SubnetRetry } from '../../upstream/subnet-retry.ts'
import { aRecord, hex, response } from '../harness/messages.ts'
import type { Handler, TestServer } from '../harness/servers.ts'
import { ask, type Outcome, upstreamDependencies } from '../harness/upstream.ts'
import { type Kind, type ServerPlace, serverFor, startServer } from './servers.ts'

/** How long a change may take on a machine that has much else to do, and how often it is looked. */
const PATIENCE_MS = 15_000
const BETWEEN_LOOKS_MS = 5
/** What clients ask for ends so; what the gateway asks for itself does not. */
const ZONE = 'group.example'
const ADDRESS = hex('c0000201')

export const answering: Handler = (query, reply) => reply(response(query, { answers: [aRecord()] }))
export const silent: Handler = () => {}

export async function eventually(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (const end = performance.now() + PATIENCE_MS; !(await holds()); ) {
    assert.ok(performance.now() < end, `never: ${what}`)
    await pause(BETWEEN_LOOKS_MS)
  }
}

/** A real server that may die, come back on its port, and do what the test says meanwhile. */
export class Member implements AsyncDisposable {
  readonly kind: Kind
  readonly endpoint: Endpoint
  /** How often it was asked for something by clients. */
  asked = 0
  handler: Handler = answering
  readonly #place: ServerPlace
  #server: TestServer | null

  private constructor(kind: Kind, place: ServerPlace, server: TestServer) {
    this.kind = kind
    this.endpoint = server.endpoint
    this.#place = { ...place, port: server.endpoint.port }
    this.#server = server
    this.#listen(server)
  }

  static async start(kind: Kind, place: ServerPlace = {}): Promise<Member> {
    return new Member(kind, place, await startServer(kind, silent, place))
  }

  /** Questions of any kind that it has seen; probes too where it is asked over HTTPS or QUIC. */
  get seen(): number {
    return this.#server?.queries.length ?? 0
  }

  async die(): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]()
    this.#server = null
  }

  async rise(): Promise<void> {
    // a client may have got the port meanwhile, for as long as it needs it
    await eventually('its port is free', async () => {
      this.#server ??= await startServer(this.kind, silent, this.#place).catch(() => null)
      return this.#server !== null
    })
    if (this.#server !== null) this.#listen(this.#server)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.die()
  }

  #listen(server: TestServer): void {
    server.handler = (query, reply, connection) => {
      if (query.includes('group')) this.asked++
      this.handler(query, reply, connection)
    }
  }
}

export interface Asking {
  readonly count: number
  /** All where absent. */
  readonly atOnce?: number
  readonly budgetMs?: number
}

/** What asks several servers, with their health behind it, as the gateway joins them. */
export class Group implements AsyncDisposable {
  readonly healths: readonly Health[]
  readonly candidates: readonly Candidate[]
  readonly dependencies: ReturnType<typeof upstreamDependencies>
  readonly #prober: HealthProber
  #names = 0

  constructor(
    servers: readonly UpstreamServer[],
    dependencies: ReturnType<typeof upstreamDependencies>,
    authenticated: readonly boolean[],
  ) {
    const memory = allocateHealth()
    this.dependencies = dependencies
    this.#prober = new HealthProber({ ...dependencies, loopLabel: '0'.repeat(32) })
    this.healths = servers.map((server, i) => new Health(new SubnetRetry(server), new HealthRow(memory, i), this.#prober))
    this.candidates = this.healths.map((health, i) => ({
      server: health.server,
      watch: health,
      weight: 1,
      key: Math.imul(i + 1, 0x1234_5671),
      isAuthenticated: authenticated[i] === true,
    }))
  }

  /** A server each, all of which are probed from now on. */
  static of(members: readonly Pick<Member, 'kind' | 'endpoint'>[]): Group {
    const dependencies = upstreamDependencies()
    const servers = members.map(({ kind, endpoint }) => serverFor(kind, endpoint, dependencies))
    const group = new Group(
      servers,
      dependencies,
      members.map(({ kind }) => kind !== 'udp' && kind !== 'tcp'),
    )
    for (const health of group.healths) health.introduce()
    return group
  }

  /** They as servers that one strategy chooses from. */
  selection(strategy: Strategy): Upstream {
    return new Selection('group', this.candidates, { ...this.dependencies, strategy, isStrict: false })
  }

  /** They as ways to one server, best first. */
  ladder(): Upstream {
    return new Ladder('ladder', this.candidates, this.dependencies)
  }

  stateOf(position: number): HealthState {
    return this.healths[position]?.row.state ?? HealthState.UNKNOWN
  }

  async untilUp(...positions: readonly number[]): Promise<void> {
    await eventually(`${positions} up`, () => positions.every((position) => this.stateOf(position) === HealthState.UP))
  }

  /** Asks for so many names that nobody has asked for before, some of them at once. */
  async ask(upstream: Upstream, { count, atOnce = count, budgetMs = 4000 }: Asking): Promise<readonly Outcome[]> {
    const outcomes: Outcome[] = []
    while (outcomes.length < count) {
      const some = Array.from({ length: Math.min(atOnce, count - outcomes.length) }, () =>
        ask(upstream, { name: `n${this.#names++}.${ZONE}`, budgetMs }),
      )
      outcomes.push(...(await Promise.all(some)))
    }
    return outcomes
  }

  /** Asks, and gets what the servers have to each question. */
  async askAll(upstream: Upstream, options: Asking): Promise<void> {
    for (const { message, failure } of await this.ask(upstream, options)) {
      assert.ok(message?.includes(ADDRESS), `not answered: ${failure?.code ?? `rcode ${(message?.[3] ?? 0) & 0xf}`}`)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.dependencies.wheel.clear(this.#prober)
    await Promise.all(this.healths.map(({ server }) => server.close()))
  }
}
