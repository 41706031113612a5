import type { Bar, Context, Outcome, Part, Row } from '../bench.ts'
import { skipped } from '../bench.ts'
import { median } from '../measure.ts'
import type { QuestionForm } from '../questions.ts'
import { processNanoseconds } from '../servers/process-time.ts'
import { isInstalled, openFiles } from '../servers/programs.ts'
import { Stage } from '../servers/stage.ts'
import { h2load } from './h2load.ts'
import { contenders, messageFile, SERVERS, type ServerName, urlFile } from './servers.ts'

interface Case {
  readonly name: string
  readonly connections: number
  readonly streams: number
  readonly isPost: boolean
  readonly requests: number
  /** Ours over dnsdist's. */
  readonly bar: number
  readonly stretch: number
}

const CASES: readonly Case[] = [
  { name: 'POST 4×50', connections: 4, streams: 50, isPost: true, requests: 250_000, bar: 0.65, stretch: 0.45 },
  { name: 'GET 4×50', connections: 4, streams: 50, isPost: false, requests: 250_000, bar: 0.65, stretch: 0.45 },
  { name: 'GET 50×10', connections: 50, streams: 10, isPost: false, requests: 200_000, bar: 0.8, stretch: 0.6 },
  { name: 'GET 50×1', connections: 50, streams: 1, isPost: false, requests: 80_000, bar: 1.15, stretch: 0.95 },
  { name: 'GET 200×1', connections: 200, streams: 1, isPost: false, requests: 160_000, bar: 1.15, stretch: 0.95 },
]
const ROUNDS = 5
/** How many times as much Node's own HTTP/2 takes. */
const CORE_BAR = 3
const NEEDED_FILES = 512
const MICROSECOND = 1000

const METHOD = [
  'Processor time of the whole server process per query, from /proc, and queries a second, under h2load (4×50: four connections of 50 streams each). Gateway with one worker, dnsdist, nginx with one constant answer, and the least server on Node’s own http2 run side by side with the same certificate; each is measured once a round, in turn and then in the opposite order. Medians of the rounds; ratios are medians of the ratios of a round.',
  'All answers come from the cache: one name by POST, 10,000 names by GET. Every answer has to be 200. A ratio is ours over dnsdist’s, in brackets the stretch; “core” is Node’s own http2 over ours.',
]

export const CPU: Part = {
  name: 'cpu',
  title: 'Processor time per query',
  method: [...METHOD, 'Queries without OPT, so that the answers are equally long.'],
  run: (context) => run(context, { hasOpt: false }),
}

export const PADDED: Part = {
  name: 'padded',
  title: 'The same with OPT in the query',
  method: ['As before, but with OPT in the query: the gateway then pads its answers to 468 octets (RFC 8467), dnsdist does not.'],
  run: (context) => run(context, { hasOpt: true }),
}

/** By server, one figure a round. */
type Figures = ReadonlyMap<ServerName, { readonly micros: number[]; readonly perSecond: number[] }>

async function run(context: Context, form: QuestionForm): Promise<Outcome> {
  if (!isInstalled('h2load')) return skipped('h2load is not installed (nghttp2-client)')
  if (openFiles() < NEEDED_FILES) return skipped(`a process may have ${openFiles()} open files, and ${NEEDED_FILES} are needed`)
  context.progress('starting and filling the servers')
  const stage = await Stage.set(contenders(SERVERS, form))
  try {
    const rows: Row[] = []
    for (const each of CASES) rows.push(rowOf(each, await measure(stage, { ...each, form }, context), form))
    return { columns: COLUMNS, rows, notes: stage.notes }
  } finally {
    await stage.strike()
  }
}

async function measure(stage: Stage<ServerName>, each: Case & { form: QuestionForm }, { isQuick, progress }: Context): Promise<Figures> {
  const figures = new Map([...stage.servers.keys()].map((name) => [name, { micros: [], perSecond: [] }] as const)) as Figures
  const requests = isQuick ? each.requests / 10 : each.requests
  for (let round = 0; round < (isQuick ? 1 : ROUNDS); round++) {
    progress(`${each.name}, round ${round + 1}`)
    for (const [name, server] of stage.turns(round)) {
      const { connections, streams, form } = each
      const what = each.isPost ? { post: messageFile(stage.folder, form) } : { urls: urlFile(server, stage.folder, form) }
      const before = processNanoseconds(server.pid)
      const { perSecond } = await h2load({ port: server.port, connections, streams, requests, ...what })
      const spent = processNanoseconds(server.pid) - before
      figures.get(name)?.micros.push(spent / MICROSECOND / requests)
      figures.get(name)?.perSecond.push(perSecond)
    }
  }
  return figures
}

const COLUMNS = [
  { title: '' },
  ...SERVERS.map((name) => ({ title: `${name}, µs`, digits: 1 })),
  { title: 'ratio', digits: 2 },
  { title: 'core', digits: 1 },
  { title: 'ours a second' },
  { title: 'dnsdist a second' },
]

function rowOf({ name, bar, stretch, streams }: Case, figures: Figures, { hasOpt }: { hasOpt: boolean }): Row {
  const micros = (server: ServerName) => figures.get(server)?.micros ?? []
  const middle = (values: readonly number[] | undefined) => (values === undefined || values.length === 0 ? null : median(values))
  const ratio = middle(ratios(micros('ours'), micros('dnsdist')))
  const core = middle(ratios(micros('core http2'), micros('ours')))
  const cells = [
    name,
    ...SERVERS.map((server) => middle(micros(server))),
    ratio,
    core,
    middle(figures.get('ours')?.perSecond),
    middle(figures.get('dnsdist')?.perSecond),
  ]
  return hasOpt ? { cells } : { cells, ...barOf({ ratio, core }, { bar, stretch, streams }) }
}

function barOf(
  { ratio, core }: { ratio: number | null; core: number | null },
  { bar, stretch, streams }: Pick<Case, 'bar' | 'stretch' | 'streams'>,
): { bar?: Bar } {
  if (ratio === null) return {}
  const text = `≤ ${bar} (${stretch})`
  // where nothing can be batched, most of it is the system's and OpenSSL's
  if (streams === 1 || core === null) return { bar: { text, isMet: ratio <= bar } }
  return { bar: { text: `${text}; core ≥ ${CORE_BAR}`, isMet: ratio <= bar && core >= CORE_BAR } }
}

function ratios(above: readonly number[], below: readonly number[]): readonly number[] {
  return below.map((value, i) => (above[i] ?? Number.NaN) / value)
}
