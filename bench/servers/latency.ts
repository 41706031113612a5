import type { Outcome, Row } from '../bench.ts'
import { inChild } from '../child.ts'
import type { LatencyPlan, LinkKind } from '../load/latency-child.ts'
import { now } from '../load/ledger.ts'
import type { LoadFigures } from '../load/scheduled-load.ts'
import { type Window, windowOf } from '../load/window.ts'
import { median } from '../measure.ts'
import type { Stage } from './stage.ts'

const SCRIPT = new URL('../load/latency-child.ts', import.meta.url)
const SECOND = 1000

export interface Rate {
  readonly kind: LinkKind
  /** Questions a second, over all connections. */
  readonly rate: number
  readonly connections: number
  readonly seconds: number
}

/** The latencies of a load from a process of its own; the first second does not count. */
export async function latenciesAt(port: number, { kind, rate, connections, seconds }: Rate): Promise<Window> {
  // until the process has started and is connected
  const schedule = { rate, connections, startAt: now() + SECOND, durationMs: SECOND * seconds, warmUpMs: SECOND }
  const { latencies } = await inChild<LatencyPlan, LoadFigures>(SCRIPT, { ...schedule, kind, port })
  return windowOf(latencies)
}

interface Comparison {
  readonly load: Rate
  readonly rounds: number
  /** Of ours over dnsdist's. */
  readonly bar: number
  readonly progress: (text: string) => void
}

/** Latencies of ours and of dnsdist's, in turns: medians of the rounds, and of the ratios of a round. */
export async function compareLatencies(stage: Stage<'ours' | 'dnsdist'>, { load, rounds, bar, progress }: Comparison): Promise<Outcome> {
  const ours: Window[] = []
  const theirs: Window[] = []
  for (let round = 0; round < rounds; round++) {
    progress(`round ${round + 1}`)
    for (const [name, { port }] of stage.turns(round)) (name === 'ours' ? ours : theirs).push(await latenciesAt(port, load))
  }
  const rows = (['p50', 'p99'] as const).map((figure): Row => {
    const ratios = theirs.map((window, i) => (ours[i]?.[figure] ?? Number.NaN) / window[figure])
    const middle = (windows: readonly Window[]) => (windows.length === 0 ? null : median(windows.map((window) => window[figure])))
    const cells = [figure, middle(ours), middle(theirs)]
    if (ratios.length === 0) return { cells: [...cells, null] }
    return { cells: [...cells, median(ratios)], bar: { text: `≤ ${bar}; none lost`, isMet: median(ratios) <= bar && lostOf(ours) === 0 } }
  })
  return { columns: COLUMNS, rows, notes: [`Lost: ours ${lostOf(ours)}, dnsdist ${lostOf(theirs)}.`, ...stage.notes] }
}

function lostOf(windows: readonly Window[]): number {
  return windows.reduce((sum, { lost }) => sum + lost, 0)
}

const COLUMNS = [{ title: '' }, { title: 'ours, ms', digits: 2 }, { title: 'dnsdist, ms', digits: 2 }, { title: 'ratio', digits: 2 }]
