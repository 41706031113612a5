import type { AnswerTraffic, Traffic } from '../admin/control.ts'

export interface AnswerSums {
  readonly answers: number
  /** Of those that the cache and the upstreams gave, what the cache gave: 0 to 1; NaN when there were none. */
  readonly hitRate: number
}

/** Local answers count for nothing in the hit rate: no cache could have had them. */
export function sumsOf(answers: readonly AnswerTraffic[]): AnswerSums {
  let hits = 0
  let misses = 0
  let local = 0
  for (const { source, count } of answers) {
    if (source === 'local') local += count
    else if (source === 'upstream') misses += count
    else hits += count
  }
  return { answers: hits + misses + local, hitRate: hits / (hits + misses) }
}

/** All transports together, the most frequent first. */
export function byRcode(answers: readonly AnswerTraffic[]): readonly (AnswerSums & { readonly rcode: string })[] {
  const groups = Map.groupBy(answers, ({ rcode }) => rcode)
  return [...groups].map(([rcode, group]) => ({ rcode, ...sumsOf(group) })).toSorted((a, b) => b.answers - a.answers)
}

export function dropsOf({ drops }: Traffic): number {
  return drops.reduce((sum, { count }) => sum + count, 0)
}
