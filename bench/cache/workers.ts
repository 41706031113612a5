import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Context, type Outcome, type Part, type Row, skipped } from '../bench.ts'
import { dnsperf, hasDnsperf, type LoadTransport } from '../dnsperf.ts'
import { RunningGateway } from '../gateway.ts'
import { median } from '../measure.ts'
import { madeUpNames, topNames } from '../names.ts'
import { UdpAsker } from '../udp-asker.ts'
import { Upstream } from '../upstream.ts'

const WORKERS = ['1', '2'] as const
const PORTS = { '1': { dns: 28_053, dot: 28_853 }, '2': { dns: 28_054, dot: 28_854 } } as const
const TRANSPORTS: readonly LoadTransport[] = ['udp', 'tcp', 'dot']
/** Connections enough that the kernel spreads them evenly over the workers; as many questions as a UDP socket of Linux holds by default: one that is lost is missed for seconds. */
const LOAD = { connections: 32, outstanding: 200, hasOpt: true } as const
/** What two workers may take more for a query than one. */
const BAR = 1.1
const MICROSECONDS = 1_000_000

export const WORKERS_PART: Part = {
  name: 'workers',
  title: 'One worker and two',
  method: [
    'The program itself, all names in its cache, under as much load as it takes: dnsperf with 32 clients and 200 questions on their way. Processor time of the whole process, /proc/<pid>/stat, for each query answered.',
    'Both programs run all the time and are loaded in turns; medians of the pairs. dnsperf and the program share the cores of the machine: with few cores the queries per second say how these are divided, and only the processor time compares.',
  ],
  run,
}

type Workers = (typeof WORKERS)[number]
type Gateways = Readonly<Record<Workers, RunningGateway>>

interface Figures {
  readonly perSecond: number
  readonly cpuMicros: number
  readonly lost: number
}

async function run(context: Context): Promise<Outcome> {
  if (!hasDnsperf()) return skipped('dnsperf is not installed')
  const folder = mkdtempSync(join(tmpdir(), 'atlas-bench-'))
  const names = topNames() ?? madeUpNames(10_000)
  const file = join(folder, 'names.txt')
  writeFileSync(file, names.map((name) => `${name} A\n`).join(''))
  const upstream = await Upstream.start()
  const gateways: Gateways = { '1': launch('1', folder, upstream.url), '2': launch('2', folder, upstream.url) }
  try {
    for (const workers of WORKERS) await warm(gateways[workers], names)
    const rows: Row[] = []
    for (const transport of TRANSPORTS) rows.push(...(await compare(gateways, { transport, file }, context)))
    return { columns: COLUMNS, rows, notes: [`${names.length.toLocaleString('en')} names, each in the cache.`] }
  } finally {
    for (const workers of WORKERS) await gateways[workers].stop()
    await upstream.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

const COLUMNS = [{ title: '' }, { title: 'queries / s' }, { title: 'processor µs / query', digits: 2 }, { title: 'lost' }]

function launch(workers: Workers, folder: string, url: string): RunningGateway {
  const settings = { ATLAS_STATE: join(folder, workers), ATLAS_UPSTREAMS: url, ATLAS_WORKERS: workers }
  return new RunningGateway(PORTS[workers], settings)
}

async function warm(gateway: RunningGateway, names: readonly string[]): Promise<void> {
  await gateway.ready()
  const asker = await UdpAsker.connect(gateway.ports.dns)
  const answered = await asker.ask(names)
  asker.close()
  if (answered < names.length) throw new Error(`Cannot fill the cache: ${answered} of ${names.length} names were answered`)
}

async function compare(
  gateways: Gateways,
  load: { transport: LoadTransport; file: string },
  { isQuick, progress }: Context,
): Promise<Row[]> {
  const seconds = isQuick ? 1 : 5
  const figures: Record<Workers, Figures[]> = { '1': [], '2': [] }
  // a first pair does not count: code is compiled, connections have been made once
  for (let pair = 0; pair <= (isQuick ? 1 : 5); pair++) {
    for (const workers of WORKERS) {
      progress(`${load.transport}, workers: ${workers}, pair ${pair}`)
      const measured = await measure(gateways[workers], { ...load, seconds })
      if (pair > 0) figures[workers].push(measured)
    }
  }
  const [one, two] = WORKERS.map((workers) => mediansOf(figures[workers])) as [Figures, Figures]
  const bar = { text: `≤ ${BAR} × one worker's time`, isMet: two.cpuMicros <= BAR * one.cpuMicros }
  return [rowOf(`${load.transport}, 1 worker`, one), { ...rowOf(`${load.transport}, 2 workers`, two), bar }]
}

async function measure(gateway: RunningGateway, load: { transport: LoadTransport; file: string; seconds: number }): Promise<Figures> {
  const port = load.transport === 'dot' ? gateway.ports.dot : gateway.ports.dns
  const before = gateway.cpuSeconds
  const { answered, lost, perSecond } = await dnsperf({ ...load, ...LOAD, port })
  return { perSecond, lost, cpuMicros: ((gateway.cpuSeconds - before) * MICROSECONDS) / answered }
}

function mediansOf(figures: readonly Figures[]): Figures {
  const of = (value: (each: Figures) => number): number => median(figures.map(value))
  return { perSecond: of((each) => each.perSecond), cpuMicros: of((each) => each.cpuMicros), lost: of((each) => each.lost) }
}

function rowOf(what: string, { perSecond, cpuMicros, lost }: Figures): Row {
  return { cells: [what, perSecond, cpuMicros, lost] }
}
