import { type Context, type Outcome, type Part, type Row, skipped } from '../bench.ts'
import { inChild } from '../child.ts'
import { hasDnsperf } from '../dnsperf.ts'
import { median } from '../measure.ts'
import { processNanoseconds } from '../servers/process-time.ts'
import { Stage } from '../servers/stage.ts'
import { contenders, SERVERS, type ServerName } from './servers.ts'

const SCRIPT = new URL('./handshake-child.ts', import.meta.url)
const COUNT = 4000
const ROUNDS = 5
const BAR = 1.15
const STRETCH = 1
const MICROSECOND = 1000

export interface HandshakePlan {
  readonly port: number
  readonly count: number
  readonly isResumed: boolean
}

export interface HandshakeFigures {
  readonly resumed: number
  readonly seconds: number
}

export const HANDSHAKES: Part = {
  name: 'handshakes',
  title: 'A handshake, one query, and the end',
  method: [
    'Connections of TLS 1.3 that ask one question, take the answer and end, 8 at a time, from one process: processor time of the whole server process for each, and how many a second. X25519, ECDSA P-256, AES-128-GCM for all servers; resumed with a ticket and a new key exchange (psk_dhe_ke, the only kind that browsers and Android use). Each is measured once a round, in turn and then in the opposite order. Medians of the rounds, and of the ratios of a round.',
  ],
  run,
}

interface Figures {
  readonly micros: number[]
  readonly perSecond: number[]
}

async function run(context: Context): Promise<Outcome> {
  if (!hasDnsperf()) return skipped('dnsperf, which fills the caches, is not installed')
  context.progress('starting and filling the servers')
  const stage = await Stage.set(contenders(SERVERS))
  try {
    const rows: Row[] = []
    for (const isResumed of [false, true]) rows.push(rowOf(isResumed ? 'resumed' : 'full', await measure(stage, isResumed, context)))
    return { columns: COLUMNS, rows, notes: stage.notes }
  } finally {
    await stage.strike()
  }
}

async function measure(stage: Stage<ServerName>, isResumed: boolean, { isQuick, progress }: Context) {
  const figures = new Map<ServerName, Figures>(SERVERS.map((name) => [name, { micros: [], perSecond: [] }]))
  const count = isQuick ? COUNT / 10 : COUNT
  // the first round does not count: it compiles
  for (let round = 0; round <= (isQuick ? 1 : ROUNDS); round++) {
    progress(`${isResumed ? 'resumed' : 'full'}, round ${round}`)
    for (const [name, { port, pid }] of stage.turns(round)) {
      const before = processNanoseconds(pid)
      const { resumed, seconds } = await inChild<HandshakePlan, HandshakeFigures>(SCRIPT, { port, count, isResumed })
      if (resumed !== (isResumed ? count : 0)) throw new Error(`Cannot measure ${name}: ${resumed} of ${count} handshakes were resumed`)
      if (round === 0) continue
      figures.get(name)?.micros.push((processNanoseconds(pid) - before) / MICROSECOND / count)
      figures.get(name)?.perSecond.push(count / seconds)
    }
  }
  return figures
}

const COLUMNS = [
  { title: '' },
  ...SERVERS.map((name) => ({ title: `${name}, µs` })),
  { title: 'ratio', digits: 2 },
  ...SERVERS.map((name) => ({ title: `${name} a second` })),
]

function rowOf(what: string, figures: ReadonlyMap<ServerName, Figures>): Row {
  const middle = (values: readonly number[] = []) => (values.length === 0 ? null : median(values))
  const ours = figures.get('ours')?.micros ?? []
  const ratio = middle(figures.get('dnsdist')?.micros.map((micros, i) => (ours[i] ?? Number.NaN) / micros))
  const cells = [
    what,
    ...SERVERS.map((name) => middle(figures.get(name)?.micros)),
    ratio,
    ...SERVERS.map((name) => middle(figures.get(name)?.perSecond)),
  ]
  return ratio === null ? { cells } : { cells, bar: { text: `≤ ${BAR} (${STRETCH})`, isMet: ratio <= BAR } }
}
