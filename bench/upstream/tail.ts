import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Bar, Context, Outcome, Part, Row } from '../bench.ts'
import { median } from '../measure.ts'
import { selfSigned } from '../servers/certificate.ts'
import { BARS, FAULTS, type Fault, HEALTHY, STRATEGIES, type Strategy } from './cases.ts'
import { runTail, type TailFigures, type TailLoad, UPSTREAMS, WAITED_MS } from './tail-run.ts'

/** What two cores carry together with the upstreams and the load. */
const LOAD: TailLoad = { rate: 2000, connections: 20, seconds: 6 }
const QUICK_SECONDS = 4
const ROUNDS = 3

export const TAIL: Part = {
  name: 'tail',
  title: `One of ${UPSTREAMS} upstreams is bad`,
  method: [
    `The gateway with one worker and nothing kept asks ${UPSTREAMS} upstreams, which answer after 1 ms; something is wrong with the first of the list. Clients ask ${LOAD.rate.toLocaleString('en')} questions a second over ${LOAD.connections} DoT connections, every name once, for ${LOAD.seconds} s, by a schedule that does not wait for answers: a latency counts from the moment at which its question was due. Upstreams and gateway are started anew for every run, and all cases take turns. Medians of ${ROUNDS} rounds.`,
    `One that is dead is silent: it takes datagrams and connections, and says nothing, no ICMP, no handshake. It dies after a third of the run. Latencies are those after the first second, of the run or of the death; the ratio is the p99 over that of the healthy run of the same strategy, kind and round. Lost is what has no answer after 4 s or a failure for one, “waited” what had none for ${WAITED_MS} ms, as long as it takes to ask elsewhere: both of all questions of the run, the first seconds too. “Asked” is how many questions the upstreams were asked for one of a client.`,
  ],
  run,
}

/** Of one strategy and fault, one a round. */
type Figures = ReadonlyMap<string, readonly TailFigures[]>

function keyOf(strategy: Strategy, { name, kind }: Pick<Fault, 'name' | 'kind'>): string {
  return `${strategy} ${name} ${kind}`
}

async function run(context: Context): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), 'atlas-bench-'))
  try {
    const figures = await measure(folder, context)
    const rows = STRATEGIES.flatMap((strategy) => [...HEALTHY, ...FAULTS].map((fault) => rowOf(strategy, fault, figures)))
    return { columns: COLUMNS, rows, notes: [] }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function measure(folder: string, { isQuick, progress }: Context): Promise<Figures> {
  const place = { folder, ...selfSigned(folder) }
  const load = isQuick ? { ...LOAD, seconds: QUICK_SECONDS } : LOAD
  const figures = new Map<string, TailFigures[]>()
  for (let round = 0; round < (isQuick ? 1 : ROUNDS); round++) {
    for (const strategy of STRATEGIES) {
      for (const fault of [...HEALTHY, ...FAULTS]) {
        progress(`round ${round + 1}, ${strategy}, ${fault.name}, ${fault.kind}`)
        const key = keyOf(strategy, fault)
        figures.set(key, [...(figures.get(key) ?? []), await runTail(place, { fault, strategy }, load)])
      }
    }
  }
  return figures
}

/** Where the picture finds them in a row. */
export const CELLS = { fault: 0, strategy: 1, p99: 3 }

const COLUMNS = [
  { title: 'the first upstream' },
  { title: 'strategy' },
  { title: 'p50, ms', digits: 1 },
  { title: 'p99, ms', digits: 1 },
  { title: 'p99.9, ms', digits: 1 },
  { title: 'ratio', digits: 2 },
  { title: 'waited, %', digits: 2 },
  { title: 'asked', digits: 2 },
  { title: 'lost' },
]

function rowOf(strategy: Strategy, fault: Fault, figures: Figures): Row {
  const own = figures.get(keyOf(strategy, fault)) ?? []
  const healthy = figures.get(keyOf(strategy, { name: 'healthy', kind: fault.kind })) ?? []
  const middle = (pick: (run: TailFigures) => number) => median(own.map(pick))
  const ratio = median(own.map(({ window }, i) => window.p99 / (healthy[i]?.window.p99 ?? Number.NaN)))
  const p99 = middle(({ window }) => window.p99)
  const waited = middle((each) => each.waited)
  const lost = own.reduce((sum, each) => sum + each.lost, 0)
  const cells = [
    `${fault.name}, ${fault.kind}`,
    strategy,
    middle(({ window }) => window.p50),
    p99,
    middle(({ window }) => window.p999),
    fault.behaviour === 'healthy' ? null : ratio,
    100 * waited,
    middle((each) => each.asked),
    lost,
  ]
  return fault.bar === null ? { cells } : { cells, bar: barOf(fault.bar, { ratio, p99, waited, lost }) }
}

function barOf(name: keyof typeof BARS, figures: { ratio: number; p99: number; waited: number; lost: number }): Bar {
  const { text, ratio, p99, waited } = BARS[name]
  const isMet = figures.ratio <= ratio && figures.p99 <= p99 && figures.waited <= waited && figures.lost === 0
  return { text, isMet }
}
