import { barChart } from '../bar-chart.ts'
import type { Cell, Results } from '../bench.ts'
import { STRATEGIES } from './cases.ts'
import { CELLS } from './tail.ts'

/** The p99 by what is wrong, a bar for each strategy; null before it has been measured. */
export function tailChart({ tail }: Results): string | null {
  if (tail === undefined || tail.rows.length === 0) return null
  const faults = new Set(tail.rows.map(({ cells }) => String(cells[CELLS.fault])))
  const p99Of = (fault: string, strategy: string): Cell => {
    const row = tail.rows.find(({ cells }) => cells[CELLS.fault] === fault && cells[CELLS.strategy] === strategy)
    return row?.cells[CELLS.p99] ?? null
  }
  return barChart({
    title: 'One of three upstreams is bad: p99 in milliseconds (less is better)',
    label: 'p99 while one of three upstreams is bad',
    left: 168,
    series: STRATEGIES,
    groups: [...faults].map((name) => ({ name, values: STRATEGIES.map((strategy) => p99Of(name, strategy)) })),
  })
}
