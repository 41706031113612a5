import type { Context, Outcome, Part, Row } from '../bench.ts'
import { skipped } from '../bench.ts'
import { inChild } from '../child.ts'
import { now } from '../load/ledger.ts'
import type { LoadFigures } from '../load/scheduled-load.ts'
import { type Window, windowOf } from '../load/window.ts'
import { median } from '../measure.ts'
import type { LatencyPlan } from './latency-child.ts'
import { isInstalled } from './programs.ts'
import type { ServerName } from './servers.ts'
import { Stage } from './stage.ts'

const SCRIPT = new URL('./latency-child.ts', import.meta.url)
const RATE = 5000
const CONNECTIONS = 20
const ROUNDS = 5
const BAR = 1.1
const COMPARED: readonly ServerName[] = ['ours', 'dnsdist']

export const LATENCY: Part = {
  name: 'latency',
  title: 'Latency at a fixed rate',
  method: [
    `${RATE.toLocaleString('en')} GETs a second over ${CONNECTIONS} connections, by a schedule that does not wait for answers: a latency counts from the moment at which its question was due. Answers from the cache. Both servers take turns; medians of the rounds, and of the ratios of a round.`,
  ],
  run,
}

async function run({ isQuick, progress }: Context): Promise<Outcome> {
  if (!isInstalled('h2load')) return skipped('h2load, which fills the caches, is not installed (nghttp2-client)')
  progress('starting and filling the servers')
  const stage = await Stage.set(COMPARED, { hasOpt: false })
  try {
    const windows = new Map<ServerName, Window[]>(COMPARED.map((name) => [name, []]))
    for (let round = 0; round < (isQuick ? 1 : ROUNDS); round++) {
      progress(`round ${round + 1}`)
      for (const [name, { port }] of round % 2 === 0 ? [...stage.servers] : [...stage.servers].toReversed())
        windows.get(name)?.push(await latenciesAt(port, { rate: RATE, connections: CONNECTIONS, seconds: isQuick ? 2 : 8 }))
    }
    return outcomeOf(windows, stage.missing)
  } finally {
    await stage.strike()
  }
}

/** The latencies of a load from a process of its own; the first second does not count. */
export async function latenciesAt(
  port: number,
  { rate, connections, seconds }: { rate: number; connections: number; seconds: number },
): Promise<Window> {
  // until the process has started and is connected
  const schedule = { rate, connections, startAt: now() + 1000, durationMs: 1000 * seconds, warmUpMs: 1000 }
  const { latencies } = await inChild<LatencyPlan, LoadFigures>(SCRIPT, { ...schedule, port })
  return windowOf(latencies)
}

function outcomeOf(windows: ReadonlyMap<ServerName, readonly Window[]>, missing: readonly ServerName[]): Outcome {
  const [ours = [], theirs = []] = COMPARED.map((name) => windows.get(name))
  const rows = (['p50', 'p99'] as const).map((figure): Row => {
    const ratios = theirs.map((window, i) => (ours[i]?.[figure] ?? Number.NaN) / window[figure])
    const cells = [
      figure,
      median(ours.map((window) => window[figure])),
      theirs.length === 0 ? null : median(theirs.map((window) => window[figure])),
    ]
    if (ratios.length === 0) return { cells: [...cells, null] }
    return { cells: [...cells, median(ratios)], bar: { text: `≤ ${BAR}; none lost`, isMet: median(ratios) <= BAR && lostOf(ours) === 0 } }
  })
  const lost = [...windows].map(([name, all]) => `${name} ${lostOf(all)}`)
  const notes = [`Lost: ${lost.join(', ')}.`, ...missing.map((name) => `Skipped: ${name} is not installed.`)]
  return { columns: COLUMNS, rows, notes }
}

function lostOf(windows: readonly Window[]): number {
  return windows.reduce((sum, { lost }) => sum + lost, 0)
}

const COLUMNS = [{ title: '' }, { title: 'ours, ms', digits: 2 }, { title: 'dnsdist, ms', digits: 2 }, { title: 'ratio', digits: 2 }]
