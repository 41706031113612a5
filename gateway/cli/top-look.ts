import type { Status, Traffic, UpstreamStatus } from '../admin/control.ts'

/** The gateway at one moment. */
export interface Look {
  /** Milliseconds of a clock that only runs forward. */
  readonly at: number
  readonly status: Status
  readonly upstreams: readonly UpstreamStatus[]
}

/** What has come to the counters between two looks, in the shape of the counters; what is no counter is of the later look. */
export interface Difference {
  readonly seconds: number
  readonly traffic: Traffic
  /** The mean is of the answers between the looks. */
  readonly upstreams: readonly UpstreamStatus[]
  readonly evictions: number
}

/** Null: the two looks are not of the same process, for its counters never fall. */
export function differenceOf(before: Look, after: Look): Difference | null {
  const seconds = (after.at - before.at) / 1000
  const traffic = trafficBetween(before.status.traffic, after.status.traffic)
  const evictions = after.status.cache.evictions - before.status.cache.evictions
  if (before.status.startedAt !== after.status.startedAt || seconds <= 0 || hasFallen(traffic) || evictions < 0) return null
  const earlier = new Map(before.upstreams.map((upstream) => [upstream.name, upstream]))
  const upstreams = after.upstreams.map((upstream) => upstreamBetween(earlier.get(upstream.name), upstream))
  return { seconds, traffic, upstreams, evictions }
}

function trafficBetween(before: Traffic, after: Traffic): Traffic {
  const queries = new Map(before.transports.map((each) => [each.transport, each.queries]))
  const answers = new Map(before.answers.map((each) => [`${each.transport} ${each.rcode} ${each.source}`, each.count]))
  const drops = new Map(before.drops.map((each) => [each.reason, each.count]))
  return {
    openQueries: after.openQueries,
    transports: after.transports.map((each) => ({ ...each, queries: each.queries - (queries.get(each.transport) ?? 0) })),
    answers: after.answers.map((each) => ({
      ...each,
      count: each.count - (answers.get(`${each.transport} ${each.rcode} ${each.source}`) ?? 0),
    })),
    drops: after.drops.map((each) => ({ ...each, count: each.count - (drops.get(each.reason) ?? 0) })),
  }
}

function hasFallen({ transports, answers, drops }: Traffic): boolean {
  return transports.some(({ queries }) => queries < 0) || [...answers, ...drops].some(({ count }) => count < 0)
}

/** One that is new, or began anew under its name, has done everything since. */
function upstreamBetween(before: UpstreamStatus | undefined, after: UpstreamStatus): UpstreamStatus {
  if (before === undefined || after.queries < before.queries || after.answers < before.answers) return after
  const failures = new Map(before.failures.map((each) => [each.reason, each.count]))
  const probes = new Map(before.probes.map((each) => [each.outcome, each.count]))
  const answers = after.answers - before.answers
  const total = (after.meanSeconds ?? 0) * after.answers - (before.meanSeconds ?? 0) * before.answers
  return {
    ...after,
    queries: after.queries - before.queries,
    answers,
    failures: after.failures.map((each) => ({ ...each, count: Math.max(0, each.count - (failures.get(each.reason) ?? 0)) })),
    probes: after.probes.map((each) => ({ ...each, count: Math.max(0, each.count - (probes.get(each.outcome) ?? 0)) })),
    // the means are rounded: their difference may be a little below nothing
    meanSeconds: answers === 0 ? null : Math.max(0, total / answers),
  }
}
