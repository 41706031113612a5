import { type Context, type Outcome, type Part, type Row, skipped } from '../bench.ts'
import { hasDnsperf } from '../dnsperf.ts'
import { median } from '../measure.ts'
import { nameFile } from '../name-file.ts'
import { type CpuFigures, cpuRounds } from '../servers/cpu-rounds.ts'
import { Stage } from '../servers/stage.ts'
import { contenders, SERVERS, type ServerName } from './servers.ts'

interface Case {
  readonly name: string
  readonly connections: number
  readonly outstanding: number
  /** Ours over dnsdist's. */
  readonly bar: number
  readonly stretch: number
}

const CASES: readonly Case[] = [
  { name: '4×100', connections: 4, outstanding: 400, bar: 0.55, stretch: 0.4 },
  { name: '50×1', connections: 50, outstanding: 50, bar: 1.5, stretch: 1 },
]
const ROUNDS = 5
const SECONDS = 5

export const CPU: Part = {
  name: 'cpu',
  title: 'Processor time per query',
  method: [
    'Processor time of the whole server process per query answered, from /proc, under dnsperf (4×100: four connections with 100 questions on their way each). Gateway with one worker, dnsdist, and the least server on Node’s own tls run side by side with the same certificate; each is measured once a round, in turn and then in the opposite order. Medians of the rounds; the ratio, ours over dnsdist’s, is the median of the ratios of a round, with the stretch in brackets.',
    'All answers come from the cache, 10,000 names. Queries without OPT, so that the answers are equally long.',
  ],
  run,
}

async function run(context: Context): Promise<Outcome> {
  if (!hasDnsperf()) return skipped('dnsperf is not installed')
  context.progress('starting and filling the servers')
  const stage = await Stage.set(contenders(SERVERS))
  try {
    const rows: Row[] = []
    for (const each of CASES) rows.push(rowOf(each, await measure(stage, each, context)))
    return { columns: COLUMNS, rows, notes: stage.notes }
  } finally {
    await stage.strike()
  }
}

function measure(stage: Stage<ServerName>, { name, connections, outstanding }: Case, { isQuick, progress }: Context) {
  const file = nameFile(stage.folder)
  return cpuRounds(stage, {
    load: { transport: 'dot', file, seconds: isQuick ? 1 : SECONDS, connections, outstanding, hasOpt: false },
    portOf: (_, port) => port,
    rounds: isQuick ? 1 : ROUNDS,
    progress: (round) => progress(`${name}, round ${round}`),
  })
}

const COLUMNS = [
  { title: '' },
  ...SERVERS.map((name) => ({ title: `${name}, µs`, digits: 1 })),
  { title: 'ratio', digits: 2 },
  { title: 'ours a second' },
  { title: 'dnsdist a second' },
  { title: 'ours lost' },
]

function rowOf({ name, bar, stretch }: Case, figures: ReadonlyMap<ServerName, CpuFigures>): Row {
  const [ours, theirs] = [figures.get('ours'), figures.get('dnsdist')]
  const middle = (values: readonly number[] = []) => (values.length === 0 ? null : median(values))
  const ratio = middle(theirs?.micros.map((micros, i) => (ours?.micros[i] ?? Number.NaN) / micros))
  const cells = [
    name,
    ...SERVERS.map((server) => middle(figures.get(server)?.micros)),
    ratio,
    middle(ours?.perSecond),
    middle(theirs?.perSecond),
    ours?.lost ?? null,
  ]
  return ratio === null ? { cells } : { cells, bar: { text: `≤ ${bar} (${stretch}); none lost`, isMet: ratio <= bar && ours?.lost === 0 } }
}
