import { createHash } from 'node:crypto'
import type { Config, StrategyName } from '../config/config.ts'
import type { HealthRows } from './health-rows.ts'
import { spaceOf } from './space.ts'
import { type AddressesOf, endpointsOf, type PlannedUpstream, type UpstreamTarget, wayText } from './upstreams.ts'

/** Which servers are asked for which names: a value that can be sent to a thread. */
export interface RoutingPlan {
  readonly targets: readonly PlannedUpstream[]
  readonly strategy: StrategyName
  /** For names without a route. */
  readonly fallback: RoutingGroup
  /** Those that ask the same upstreams have the same group. */
  readonly routes: readonly { readonly suffix: Uint8Array; readonly group: RoutingGroup }[]
}

export interface RoutingGroup {
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
  readonly addressesOf: AddressesOf
  readonly rows: HealthRows
}

/**
 * A group of configured upstreams keeps its space as long as one of its servers stays: who edits a list of servers does not want to lose what
 * is known. The resolvers of the machine stand for the network that it is in: other ones may see other names (ADR 18).
 */
export function routingPlan({ routes, strategy, upstreams }: Config, facts: RoutingFacts): RoutingPlan {
  const { targets, disabled, before } = facts
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
    targets: withWays(targets, facts).filter(({ server }) => !disabled.has(server.name)),
    strategy,
    fallback: group(targets, before?.fallback),
    routes: routes.map(({ suffix, upstreams }) => ({ suffix, group: groupOf(upstreams) })),
  }
}

function withWays(targets: readonly UpstreamTarget[], { addressesOf, rows }: RoutingFacts): readonly PlannedUpstream[] {
  const ways = targets.map(({ server: { name, urls } }) =>
    urls.flatMap((url) =>
      endpointsOf(url, addressesOf).map((endpoint) => ({ url, endpoint, key: `${name} ${wayText({ url, endpoint })}` })),
    ),
  )
  const assigned = rows.assign(ways.flat().map(({ key }) => key))
  return targets.map((target, i) => ({
    ...target,
    ways: (ways[i] ?? []).map(({ key, ...way }) => ({ ...way, row: assigned.get(key) ?? 0 })),
  }))
}

/** A number for all of it: answers that were kept under another one are of no use. */
export function fingerprintOf({ fallback, routes }: RoutingPlan): number {
  if (routes.length === 0) return fallback.space
  const spaces = [fallback.space, ...routes.map(({ suffix, group }) => [Buffer.from(suffix).toString('hex'), group.space])]
  return createHash('sha256').update(JSON.stringify(spaces)).digest().readInt32LE()
}
