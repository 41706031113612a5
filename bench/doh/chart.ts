import { barChart } from '../bar-chart.ts'
import type { Results } from '../bench.ts'
import { SERVERS } from './servers.ts'

/** Processor time per query, a bar for each server and load; null before it has been measured. */
export function cpuChart({ cpu }: Results): string | null {
  if (cpu === undefined || cpu.rows.length === 0) return null
  return barChart({
    title: 'Server processor time per DoH query, microseconds (less is better)',
    label: 'Server processor time per DoH query',
    left: 96,
    series: SERVERS.map((name) => (name === 'ours' ? 'Atlas DNS' : name)),
    groups: cpu.rows.map(({ cells }) => ({ name: String(cells[0]), values: cells.slice(1, 1 + SERVERS.length) })),
  })
}
