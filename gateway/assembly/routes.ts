import { createHash } from 'node:crypto'
import type { Route, Upstream } from '../../dns/contracts.ts'
import { NO_ROUTE } from '../../dns/route.ts'
import { OrderedUpstream } from '../../upstream/ordered.ts'
import type { UpstreamServer } from '../../upstream/server.ts'
import type { Config } from '../config/config.ts'
import { RouteTable } from '../stages/route-table.ts'
import { spaceOf } from './space.ts'
import { makeUpstreamServer, type UpstreamServerDependencies, type UpstreamTarget } from './upstreams.ts'

/** Which servers are asked for which names: a value that can be sent to a thread. */
export interface RoutingPlan {
  readonly targets: readonly UpstreamTarget[]
  /** For names without a route. */
  readonly fallback: RoutingGroup
  readonly routes: readonly (RoutingGroup & { readonly suffix: Uint8Array })[]
}

interface RoutingGroup {
  /** Names of targets, in the order in which they are asked. */
  readonly upstreams: readonly string[]
  readonly space: number
}

/** Upstreams in `disabled` are not asked, but what they said stays: their group keeps its space. */
export function routingPlan({ routes }: Config, targets: readonly UpstreamTarget[], disabled: ReadonlySet<string>): RoutingPlan {
  const group = (members: readonly UpstreamTarget[]): RoutingGroup => ({
    upstreams: members.map(({ server }) => server.name).filter((name) => !disabled.has(name)),
    space: spaceOf(members),
  })
  const named = (names: readonly string[]) => names.flatMap((name) => targets.find(({ server }) => server.name === name) ?? [])
  return {
    targets: targets.filter(({ server }) => !disabled.has(server.name)),
    fallback: group(targets),
    routes: routes.map(({ suffix, upstreams }) => ({ suffix, ...group(named(upstreams)) })),
  }
}

/** A number for all of it: answers that were kept under another one are of no use. */
export function fingerprintOf({ fallback, routes }: RoutingPlan): number {
  if (routes.length === 0) return fallback.space
  const spaces = [fallback.space, ...routes.map(({ suffix, space }) => [Buffer.from(suffix).toString('hex'), space])]
  return createHash('sha256').update(JSON.stringify(spaces)).digest().readInt32LE()
}

/** No query waits longer. */
const MAX_DRAIN_MS = 60_000

/** The upstream servers of one thread, and the ways that lead to them. */
export class Routing {
  readonly #dependencies: Omit<UpstreamServerDependencies, 'connectMs'>
  /** By all that they are made of. */
  #servers: ReadonlyMap<string, { readonly name: string; readonly server: UpstreamServer }> = new Map()
  #table = new RouteTable([], NO_ROUTE)

  constructor(dependencies: Omit<UpstreamServerDependencies, 'connectMs'>) {
    this.#dependencies = dependencies
  }

  get table(): RouteTable {
    return this.#table
  }

  /** For queries to come. Servers that stay keep their connections; those that are gone answer what they were asked, and end. */
  reconfigure(plan: RoutingPlan, connectMs: number): void {
    const before = this.#servers
    this.#servers = new Map(
      plan.targets.map((target) => {
        const key = keyOf(target, connectMs)
        const server = before.get(key)?.server ?? makeUpstreamServer(target, { ...this.#dependencies, connectMs })
        return [key, { name: target.server.name, server }]
      }),
    )
    const routeOf = ({ upstreams, space }: RoutingGroup): Route => ({ space, upstream: this.#upstreamOf(upstreams) })
    this.#table = new RouteTable(
      plan.routes.map((group) => ({ suffix: group.suffix, route: routeOf(group) })),
      routeOf(plan.fallback),
    )
    // nobody has to wait for them
    for (const [key, { server }] of before) if (!this.#servers.has(key)) void server.drain(MAX_DRAIN_MS)
  }

  async close(): Promise<void> {
    await Promise.all(Array.from(this.#servers.values(), ({ server }) => server.close()))
  }

  #upstreamOf(names: readonly string[]): Upstream {
    const all = [...this.#servers.values()]
    const servers = names.flatMap((name) => all.find((each) => each.name === name)?.server ?? [])
    return new OrderedUpstream(servers, this.#dependencies)
  }
}

/** Wherever it is written, and wherever its roots come from. */
function keyOf({ server, roots }: UpstreamTarget, connectMs: number): string {
  return JSON.stringify([{ ...server, origin: null, ca: null }, roots, connectMs])
}
