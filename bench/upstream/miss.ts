import { type Context, type Outcome, type Part, type Row, skipped } from '../bench.ts'
import { hasDnsperf } from '../dnsperf.ts'
import { median } from '../measure.ts'
import { nameFile } from '../name-file.ts'
import { type CpuFigures, cpuRounds } from '../servers/cpu-rounds.ts'
import { isInstalled } from '../servers/programs.ts'
import { Stage } from '../servers/stage.ts'
import { BACKEND_PROGRAMS, startBackend, UPSTREAM_KINDS, type UpstreamKind } from './backends.ts'
import { CLIENT_KINDS, type ClientKind, CONTENDERS, type ContenderName, contenders, portOf } from './servers.ts'

const LOAD = { connections: 4, outstanding: 400, hasOpt: false } as const
const ROUNDS = 3
const SECONDS = 4
/** Ours over dnsdist's. */
const BAR = 1
const CLIENT_NAMES: Readonly<Record<ClientKind, string>> = { dot: 'DoT', udp: 'UDP' }

export const MISS: Part = {
  name: 'miss',
  title: 'Processor time of a query that is forwarded',
  method: [
    'Nothing is kept: every query is asked of the upstream. Processor time of the whole server process per query answered, from /proc, under dnsperf (four clients, 400 queries on their way). Gateway with one worker, and dnsdist, side by side; each is measured once a round, in turn and then in the opposite order. Medians of the rounds; the ratio, ours over dnsdist’s, is the median of the ratios of a round.',
    'The upstream knows 10,000 names, on the same machine: nsd over UDP and TCP, unbound over TLS. dnsdist pipelines on connections that its clients share (`maxInFlight`), reads many datagrams at once (`setUDPMultipleMessagesVectorSize`), and asks over TCP what it was asked over TLS, also where the upstream is one for UDP. An answer that is a failure counts as lost.',
  ],
  run,
}

async function run(context: Context): Promise<Outcome> {
  if (!hasDnsperf()) return skipped('dnsperf is not installed')
  const rows: Row[] = []
  const notes: string[] = []
  for (const upstream of UPSTREAM_KINDS) {
    const program = BACKEND_PROGRAMS[upstream]
    if (!isInstalled(program)) {
      notes.push(`Left out: upstream over ${upstream}; ${program} is not installed.`)
      continue
    }
    context.progress(`starting the servers, upstream over ${upstream}`)
    const stage = await Stage.set(contenders(upstream), (place) => startBackend(upstream, place))
    try {
      for (const client of CLIENT_KINDS) rows.push(rowOf(client, upstream, await measure(stage, { client, upstream }, context)))
      for (const note of stage.notes) if (!notes.includes(note)) notes.push(note)
    } finally {
      await stage.strike()
    }
  }
  return { columns: COLUMNS, rows, notes }
}

function measure(stage: Stage<ContenderName>, { client, upstream }: { client: ClientKind; upstream: UpstreamKind }, context: Context) {
  return cpuRounds(stage, {
    load: { ...LOAD, transport: client, file: nameFile(stage.folder), seconds: context.isQuick ? 1 : SECONDS },
    portOf: (name) => portOf(name, client),
    rounds: context.isQuick ? 1 : ROUNDS,
    progress: (round) => context.progress(`${client} to ${upstream}, round ${round}`),
  })
}

const COLUMNS = [
  { title: 'client → upstream' },
  ...CONTENDERS.map((name) => ({ title: `${name}, µs`, digits: 1 })),
  { title: 'ratio', digits: 2 },
  ...CONTENDERS.map((name) => ({ title: `${name} a second` })),
  ...CONTENDERS.map((name) => ({ title: `${name} lost` })),
]

function rowOf(client: ClientKind, upstream: UpstreamKind, figures: ReadonlyMap<ContenderName, CpuFigures>): Row {
  const [ours, theirs] = [figures.get('ours'), figures.get('dnsdist')]
  const middle = (values: readonly number[] = []) => (values.length === 0 ? null : median(values))
  const ratio = middle(theirs?.micros.map((micros, i) => (ours?.micros[i] ?? Number.NaN) / micros))
  const cells = [
    `${CLIENT_NAMES[client]} → ${upstream}`,
    ...CONTENDERS.map((name) => middle(figures.get(name)?.micros)),
    ratio,
    ...CONTENDERS.map((name) => middle(figures.get(name)?.perSecond)),
    ...CONTENDERS.map((name) => figures.get(name)?.lost ?? null),
  ]
  // what is promised is promised to encrypted clients
  if (ratio === null || client !== 'dot') return { cells }
  return { cells, bar: { text: `≤ ${BAR}; none lost`, isMet: ratio <= BAR && ours?.lost === 0 } }
}
