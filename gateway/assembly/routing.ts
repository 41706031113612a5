import { createHash } from 'node:crypto'
import type { Route, Upstream } from '../../dns/contracts.ts'
import { Failure } from '../../dns/failure.ts'
import { NO_ROUTE } from '../../dns/route.ts'
import { WheelEntry } from '../../net/wheel.ts'
import type { Candidate } from '../../upstream/candidate.ts'
import { Health } from '../../upstream/health.ts'
import { HealthProber } from '../../upstream/health-prober.ts'
import { HealthRow, HealthState, rowOfNonce } from '../../upstream/health-table.ts'
import { Ladder } from '../../upstream/ladder.ts'
import { Selection } from '../../upstream/selection.ts'
import type { UpstreamServer } from '../../upstream/server.ts'
import { fastest, hashed, ordered, race, roundRobin, type Strategy, weighted } from '../../upstream/strategies.ts'
import { SubnetRetry } from '../../upstream/subnet-retry.ts'
import type { Config, StrategyName } from '../config/config.ts'
import type { LoopObserver } from '../stages/loop.ts'
import { RouteTable } from '../stages/route-table.ts'
import type { RoutingGroup, RoutingPlan } from './routing-plan.ts'
import {
  isAuthenticated,
  makeUpstreamServer,
  type PlannedUpstream,
  type ServerFacts,
  type UpstreamServerDependencies,
  type UpstreamTarget,
  type Way,
} from './upstreams.ts'

export interface RoutingDependencies extends UpstreamServerDependencies {
  /** The health table. */
  readonly health: SharedArrayBuffer
  /** The last label of names that only this gateway asks for. */
  readonly loopLabel: string
}

/** No query waits longer. */
const MAX_DRAIN_MS = 60_000

/** The upstream servers of one thread, and the ways that lead to them. */
export class Routing implements LoopObserver {
  readonly #dependencies: RoutingDependencies
  readonly #prober: HealthProber
  /** By all that they are made of; those that are gone too, while queries on their way may still turn to them. */
  readonly #members = new Map<string, Member>()
  readonly #draining = new Set<UpstreamServer>()
  #table = new RouteTable([], NO_ROUTE)

  constructor(dependencies: RoutingDependencies) {
    this.#dependencies = dependencies
    this.#prober = new HealthProber(dependencies)
  }

  get table(): RouteTable {
    return this.#table
  }

  /** For queries to come. Servers that stay keep their connections, also those that come back while queries still know them. */
  reconfigure(plan: RoutingPlan, { timeouts: { handshakeMs, queryMs }, workers, edns: { cookies } }: Config): void {
    const { clock, wheel } = this.#dependencies
    const facts = { connectMs: handshakeMs, workers, cookies }
    const wanted = new Set<string>()
    const candidates = new Map<string, Candidate>()
    for (const target of plan.targets) {
      const ways = target.ways.map((way) => {
        const key = keyOf(target, way, facts)
        wanted.add(key)
        return this.#enlist(key, target, way, facts)
      })
      const candidate = this.#candidateOf(target, ways)
      if (candidate !== null) candidates.set(target.server.name, candidate)
    }
    for (const [key, member] of this.#members) if (!wanted.has(key) && !member.isLeaving) wheel.set(member, clock() + queryMs)
    const routes = new Map<RoutingGroup, Route>()
    for (const group of [plan.fallback, ...plan.routes.map((each) => each.group)]) {
      if (!routes.has(group)) routes.set(group, { space: group.space, upstream: this.#upstreamOf(group, plan.strategy, candidates) })
    }
    const routeOf = (group: RoutingGroup): Route => routes.get(group) ?? NO_ROUTE
    this.#table = new RouteTable(
      plan.routes.map(({ suffix, group }) => ({ suffix, route: routeOf(group) })),
      routeOf(plan.fallback),
    )
  }

  /** What was to be asked of an upstream has come to a listener of ours. */
  returned(nonce: number): void {
    const row = rowOfNonce(this.#dependencies.health, nonce)
    if (row === null) return
    row.nonce = 0
    row.blame(Failure.upstream_loop)
    const { state } = row
    if (state !== HealthState.LOOP) row.change(state, HealthState.LOOP, this.#dependencies.clock())
  }

  async close(): Promise<void> {
    this.#dependencies.wheel.clear(this.#prober)
    const servers = [...this.#draining, ...Array.from(this.#members.values(), ({ server }) => server)]
    await Promise.all(servers.map((server) => server.close()))
  }

  #enlist(key: string, target: UpstreamTarget, way: Way, facts: ServerFacts): Candidate {
    const { health: memory, wheel } = this.#dependencies
    const present = this.#members.get(key)
    const server = present?.server ?? new SubnetRetry(makeUpstreamServer(target, way, facts, this.#dependencies))
    // who comes back may have got another row
    const health = present?.row === way.row ? present.health : new Health(server, new HealthRow(memory, way.row), this.#prober)
    if (present !== undefined) {
      wheel.clear(present)
      if (present.health !== health) this.#prober.dismiss(present.health)
    }
    if (present?.health !== health) this.#members.set(key, new Member(health, way.row, () => this.#dismiss(key, health)))
    return { server, watch: health, weight: 1, key: 0, isAuthenticated: isAuthenticated(way) }
  }

  /** Only queries with a longer time than is given now can still be on their way. */
  #dismiss(key: string, health: Health): void {
    const { server } = health
    this.#members.delete(key)
    this.#prober.dismiss(health)
    this.#draining.add(server)
    // nobody has to wait for it
    void server.drain(MAX_DRAIN_MS).then(() => this.#draining.delete(server))
  }

  /** Null: there is no way to it. */
  #candidateOf(target: PlannedUpstream, ways: readonly Candidate[]): Candidate | null {
    const { name, weight } = target.server
    const [first] = ways
    if (first === undefined) return null
    const identity = { weight, key: createHash('sha256').update(name).digest().readInt32LE() }
    // before the first client needs them: a connection, or what works
    if (ways.length > 1 || target.ways[0]?.url.protocol !== 'udp') introduce(ways)
    if (ways.length === 1) return { ...first, ...identity }
    const ladder = new Ladder(name, ways, this.#dependencies)
    return { server: ladder, watch: ladder, ...identity, isAuthenticated: ways.every((way) => way.isAuthenticated) }
  }

  #upstreamOf({ upstreams }: RoutingGroup, strategy: StrategyName, candidates: ReadonlyMap<string, Candidate>): Upstream {
    const chosen = upstreams.flatMap((name) => candidates.get(name) ?? [])
    if (chosen.length > 1) introduce(chosen)
    const { clock, wheel } = this.#dependencies
    return new Selection(strategy, chosen, { clock, wheel, strategy: STRATEGY[strategy](chosen.length), isStrict: false })
  }
}

const STRATEGY: Readonly<Record<StrategyName, (count: number) => Strategy>> = {
  ordered,
  'round-robin': roundRobin,
  weighted,
  fastest,
  race,
  hash: hashed,
}

/** Who works is found out before a client waits for who does not. */
function introduce(choice: readonly Candidate[]): void {
  for (const { watch } of choice) if (watch instanceof Health) watch.introduce()
}

/** A server; in the wheel once it is gone. */
class Member extends WheelEntry {
  readonly health: Health
  readonly row: number
  readonly #onLeft: () => void

  constructor(health: Health, row: number, onLeft: () => void) {
    super()
    this.health = health
    this.row = row
    this.#onLeft = onLeft
  }

  get server(): UpstreamServer {
    return this.health.server
  }

  get isLeaving(): boolean {
    return this.next !== null
  }

  override onDeadline(): void {
    this.#onLeft()
  }
}

/** Wherever it is written, wherever its roots come from, and however it stands beside others. */
function keyOf({ server, roots, identity }: UpstreamTarget, { url, endpoint }: Way, facts: ServerFacts): string {
  const own = { ...server, origin: null, ca: null, clientCertificate: null, urls: null, weight: null }
  return JSON.stringify([own, url, endpoint, roots, identity, facts])
}
