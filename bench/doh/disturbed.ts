import type { Context, Outcome, Part, Row } from '../bench.ts'
import { skipped } from '../bench.ts'
import { inChild } from '../child.ts'
import { median } from '../measure.ts'
import { latenciesAt } from '../servers/latency.ts'
import { isInstalled } from '../servers/programs.ts'
import { Stage } from '../servers/stage.ts'
import type { DisturberFigures, DisturberPlan } from './disturber-child.ts'
import { contenders } from './servers.ts'

const DISTURBANCES = ['rapid reset', 'PING flood', 'CONTINUATION flood', 'a window of one octet'] as const
export type Disturbance = (typeof DISTURBANCES)[number]

const SCRIPT = new URL('./disturber-child.ts', import.meta.url)
const LOAD = { kind: 'doh', rate: 1000, connections: 10 } as const
const ROUNDS = 5
const BAR = 2
const SECOND = 1000

/** Milliseconds. */
interface Run {
  readonly kind: Disturbance
  readonly quiet: number
  readonly loud: number
  readonly opened: number
  readonly ended: number
  readonly frames: number
  readonly lost: number
}

export const DISTURBED: Part = {
  name: 'disturbed',
  title: 'While one connection misbehaves',
  method: [
    `${LOAD.rate.toLocaleString('en')} GETs a second over ${LOAD.connections} connections, by a schedule that does not wait for answers, while another client misbehaves on one connection, up to 20,000 frames a second and with the lowest priority, and opens the next when the gateway has ended that one. Each is measured in turn with a quiet run before it; medians of the rounds. A ratio is the p99 over that of the quiet run.`,
  ],
  run,
}

async function run({ isQuick, progress }: Context): Promise<Outcome> {
  if (!isInstalled('h2load')) return skipped('h2load, which fills the cache, is not installed (nghttp2-client)')
  progress('starting and filling the gateway')
  const stage = await Stage.set(contenders(['ours'], { hasOpt: false }))
  try {
    const port = stage.servers.get('ours')?.port ?? 0
    const seconds = isQuick ? 2 : 4
    const runs: Run[] = []
    for (let round = 0; round < (isQuick ? 1 : ROUNDS); round++) {
      for (const kind of DISTURBANCES) {
        progress(`${kind}, round ${round + 1}`)
        const before = await latenciesAt(port, { ...LOAD, seconds })
        // from before the first question to behind the last
        const durationMs = (seconds + 1) * SECOND
        const [after, disturber] = await Promise.all([
          latenciesAt(port, { ...LOAD, seconds }),
          inChild<DisturberPlan, DisturberFigures>(SCRIPT, { port, kind, durationMs }),
        ])
        runs.push({ kind, quiet: before.p99, loud: after.p99, ...disturber, lost: before.lost + after.lost })
      }
    }
    return outcomeOf(runs)
  } finally {
    await stage.strike()
  }
}

function outcomeOf(runs: readonly Run[]): Outcome {
  const rows = DISTURBANCES.map((kind): Row => {
    const own = runs.filter((each) => each.kind === kind)
    const ratio = median(own.map(({ quiet, loud }) => loud / quiet))
    const sum = (pick: (run: Run) => number) => own.reduce((total, each) => total + pick(each), 0)
    const cells = [
      kind,
      median(own.map(({ quiet }) => quiet)),
      median(own.map(({ loud }) => loud)),
      ratio,
      sum(({ frames }) => frames),
      sum(({ opened }) => opened),
      sum(({ ended }) => ended),
    ]
    return {
      cells,
      bar: { text: `≤ ${BAR}; none lost`, isMet: ratio <= BAR && sum(({ frames }) => frames) > 0 && sum(({ lost }) => lost) === 0 },
    }
  })
  return { columns: COLUMNS, rows, notes: [`Lost answers of the client that behaves: ${runs.reduce((sum, { lost }) => sum + lost, 0)}.`] }
}

const COLUMNS = [
  { title: '' },
  { title: 'quiet p99, ms', digits: 2 },
  { title: 'p99, ms', digits: 2 },
  { title: 'ratio', digits: 2 },
  { title: 'its frames' },
  { title: 'its connections' },
  { title: 'of them ended' },
]
