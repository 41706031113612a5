import { createHash } from 'node:crypto'
import type { Route, Upstream } from '../../dns/contracts.ts'
import { NO_ROUTE } from '../../dns/route.ts'
import { WheelEntry } from '../../net/wheel.ts'
import { OrderedUpstream } from '../../upstream/ordered.ts'
import type { UpstreamServer } from '../../upstream/server.ts'
import { SubnetRetry } from '../../upstream/subnet-retry.ts'
import type { Config } from '../config/config.ts'
import { RouteTable } from '../stages/route-table.ts'
import { spaceOf } from './space.ts'
import { makeUpstreamServer, type UpstreamServerDependencies, type UpstreamTarget } from './upstreams.ts'

/** Which servers are asked for which names: a value that can be sent to a thread. */
export interface RoutingPlan {
  readonly targets: readonly UpstreamTarget[]
  /** For names without a route. */
  readonly fallback: RoutingGroup
  /** Those that ask the same upstreams have the same group. */
  readonly routes: readonly { readonly suffix: Uint8Array; readonly group: RoutingGroup }[]
}

interface RoutingGroup {
  /** Names of targets, those that are switched off too. */
  readonly names: readonly string[]
  /** Those that are asked, in this order. */
  readonly upstreams: readonly string[]
  /** A number for each of `names`: for all that the server is made of. */
  readonly members: readonly number[]
  /** Under which the cache keeps what they say. */
  readonly space: number
}

export interface RoutingFacts {
  readonly targets: readonly UpstreamTarget[]
  /** Names of those that are not to be asked; what they said stays. */
  readonly disabled: ReadonlySet<string>
  /** What this one takes the place of. */
  readonly before: RoutingPlan | null
}

/**
 * A group of configured upstreams keeps its space as long as one of its servers stays: who edits a list of servers does not want to lose what
 * is known. The resolvers of the machine stand for the network that it is in: other ones may see other names (ADR 18).
 */
export function routingPlan({ routes, upstreams }: Config, { targets, disabled, before }: RoutingFacts): RoutingPlan {
  const numbers = new Map(targets.map((target) => [target, spaceOf([target])]))
  const group = (of: readonly UpstreamTarget[], former: RoutingGroup | undefined): RoutingGroup => {
    const names = of.map(({ server }) => server.name)
    const members = of.map((target) => numbers.get(target) ?? 0)
    const stays = upstreams !== null && former?.members.some((member) => members.includes(member)) === true
    return {
      names,
      upstreams: names.filter((name) => !disabled.has(name)),
      members,
      space: stays ? former.space : spaceOf(of),
    }
  }
  const byName = new Map(targets.map((target) => [target.server.name, target]))
  const former = new Map(before?.routes.map((route) => [JSON.stringify(route.group.names), route.group]))
  const groups = new Map<string, RoutingGroup>()
  // a space is a hash over all roots: once for each group, not for each of many routes
  const groupOf = (names: readonly string[]): RoutingGroup => {
    const key = JSON.stringify(names)
    const known =
      groups.get(key) ??
      group(
        names.flatMap((name) => byName.get(name) ?? []),
        former.get(key),
      )
    groups.set(key, known)
    return known
  }
  return {
    targets: targets.filter(({ server }) => !disabled.has(server.name)),
    fallback: group(targets, before?.fallback),
    routes: routes.map(({ suffix, upstreams }) => ({ suffix, group: groupOf(upstreams) })),
  }
}

/** A number for all of it: answers that were kept under another one are of no use. */
export function fingerprintOf({ fallback, routes }: RoutingPlan): number {
  if (routes.length === 0) return fallback.space
  const spaces = [fallback.space, ...routes.map(({ suffix, group }) => [Buffer.from(suffix).toString('hex'), group.space])]
  return createHash('sha256').update(JSON.stringify(spaces)).digest().readInt32LE()
}

type RoutingDependencies = Omit<UpstreamServerDependencies, 'connectMs'>

/** No query waits longer. */
const MAX_DRAIN_MS = 60_000

/** The upstream servers of one thread, and the ways that lead to them. */
export class Routing {
  readonly #dependencies: RoutingDependencies
  /** By all that they are made of; those that are gone too, while queries on their way may still turn to them. */
  readonly #members = new Map<string, Member>()
  readonly #draining = new Set<UpstreamServer>()
  #table = new RouteTable([], NO_ROUTE)

  constructor(dependencies: RoutingDependencies) {
    this.#dependencies = dependencies
  }

  get table(): RouteTable {
    return this.#table
  }

  /** For queries to come. Servers that stay keep their connections, also those that come back while queries still know them. */
  reconfigure(plan: RoutingPlan, { handshakeMs, queryMs }: Config['timeouts']): void {
    const { clock, wheel } = this.#dependencies
    const wanted = new Map(plan.targets.map((target) => [keyOf(target, handshakeMs), target]))
    for (const [key, member] of this.#members) if (!wanted.has(key) && !member.isLeaving) wheel.set(member, clock() + queryMs)
    const servers = new Map<string, UpstreamServer>()
    for (const [key, target] of wanted) servers.set(target.server.name, this.#enlist(key, target, handshakeMs))
    const routes = new Map<RoutingGroup, Route>()
    for (const group of [plan.fallback, ...plan.routes.map((each) => each.group)]) {
      if (!routes.has(group)) routes.set(group, { space: group.space, upstream: this.#upstreamOf(group, servers) })
    }
    const routeOf = (group: RoutingGroup): Route => routes.get(group) ?? NO_ROUTE
    this.#table = new RouteTable(
      plan.routes.map(({ suffix, group }) => ({ suffix, route: routeOf(group) })),
      routeOf(plan.fallback),
    )
  }

  async close(): Promise<void> {
    const servers = [...this.#draining, ...Array.from(this.#members.values(), ({ server }) => server)]
    await Promise.all(servers.map((server) => server.close()))
  }

  #enlist(key: string, target: UpstreamTarget, connectMs: number): UpstreamServer {
    const present = this.#members.get(key)
    if (present !== undefined) {
      this.#dependencies.wheel.clear(present)
      return present.server
    }
    const server = new SubnetRetry(makeUpstreamServer(target, { ...this.#dependencies, connectMs }))
    this.#members.set(key, new Member(server, () => this.#dismiss(key, server)))
    return server
  }

  /** Only queries with a longer time than is given now can still be on their way. */
  #dismiss(key: string, server: UpstreamServer): void {
    this.#members.delete(key)
    this.#draining.add(server)
    // nobody has to wait for it
    void server.drain(MAX_DRAIN_MS).then(() => this.#draining.delete(server))
  }

  #upstreamOf({ upstreams }: RoutingGroup, servers: ReadonlyMap<string, UpstreamServer>): Upstream {
    return new OrderedUpstream(
      upstreams.flatMap((name) => servers.get(name) ?? []),
      this.#dependencies,
    )
  }
}

/** A server; in the wheel once it is gone. */
class Member extends WheelEntry {
  readonly server: UpstreamServer
  readonly #onLeft: () => void

  constructor(server: UpstreamServer, onLeft: () => void) {
    super()
    this.server = server
    this.#onLeft = onLeft
  }

  get isLeaving(): boolean {
    return this.next !== null
  }

  override onDeadline(): void {
    this.#onLeft()
  }
}

/** Wherever it is written, and wherever its roots come from. */
function keyOf({ server, roots }: UpstreamTarget, connectMs: number): string {
  return JSON.stringify([{ ...server, origin: null, ca: null }, roots, connectMs])
}
