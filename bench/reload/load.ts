import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Context, Outcome, Part, Row } from '../bench.ts'
import { inChild } from '../child.ts'
import type { LoadFigures } from '../load/scheduled-load.ts'
import { type Window, windowOf } from '../load/window.ts'
import { machineSeconds, median } from '../measure.ts'
import { PORTS } from './configuration.ts'
import { LOAD_TRANSPORTS, type LoadPlan, type LoadTransport, SHARES } from './plan.ts'
import { ReloadedGateway } from './reloaded-gateway.ts'
import { type Loads, windowsOf } from './windows.ts'

const SCRIPT = new URL('./load-child.ts', import.meta.url)
const RATE = 10_000
const SECOND = 1000
const TENTH = 100
/** Until the processes of the load have started and are connected. */
const LEAD_MS = 1000
const RATIO_BAR = 2

export const LOAD: Part = {
  name: 'load',
  title: 'A reload under load',
  method: [
    `The program with its default number of workers, a file with 200 routes and four upstreams of this machine, under ${RATE.toLocaleString('en')} questions a second: 45 % DoT on 12 connections, 35 % DoH (GET on HTTP/2) on 12, 20 % DoQ on 4, each from a process of its own. 90 % of the names are in the cache, the others are new.`,
    'The load leaves by a schedule that does not wait for answers, and a latency counts from the moment at which its question was due, so that a process that stands still is seen in all that was due meanwhile, the load’s own too. What has no answer within 4 s, or one without records, is lost.',
    'In the middle of a run the file is replaced and SIGHUP sent: another timeout, another access list, five routes that lead elsewhere, a DoT address that comes and one that goes, an upstream at another port. It is done when the one address accepts connections and the other does not. In the control runs nothing is changed; both take turns. Medians of the runs.',
    '“That second”: the one that begins with SIGHUP, the worst of them when the reload took longer. “Before”: the median of the p99s of the ten seconds before.',
  ],
  run,
}

interface Course {
  readonly rate: number
  readonly warmUpMs: number
  /** What counts before the change, and from it on. */
  readonly beforeMs: number
  readonly afterMs: number
  readonly pairs: number
}

/** One run. Milliseconds; processor time in cores. */
interface Run {
  readonly loads: Loads
  readonly seconds: readonly Window[]
  readonly tenths: readonly Window[]
  /** p99. */
  readonly before: number
  readonly during: number
  readonly reloadMs: number
  readonly gatewayCpu: number
  readonly machineCpu: number
}

async function run(context: Context): Promise<Outcome> {
  const course: Course = context.isQuick
    ? { rate: RATE / 5, warmUpMs: 0, beforeMs: 1000, afterMs: 1000, pairs: 1 }
    : { rate: RATE, warmUpMs: 5000, beforeMs: 10_000, afterMs: 15_000, pairs: 5 }
  const folder = mkdtempSync(join(tmpdir(), 'atlas-bench-'))
  try {
    const gateway = await ReloadedGateway.start(folder)
    try {
      return outcomeOf(await runPairs(gateway, course, context), course)
    } finally {
      await gateway.stop()
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

interface Pairs {
  readonly control: readonly Run[]
  readonly reloaded: readonly Run[]
}

async function runPairs(gateway: ReloadedGateway, course: Course, { progress }: Context): Promise<Pairs> {
  const control: Run[] = []
  const reloaded: Run[] = []
  for (let pair = 0; pair < course.pairs; pair++) {
    progress(`pair ${pair + 1}, nothing changes`)
    control.push(await measure(gateway, course, { run: 2 * pair, isReload: false }))
    progress(`pair ${pair + 1}, reload`)
    reloaded.push(await measure(gateway, course, { run: 2 * pair + 1, isReload: true }))
  }
  return { control, reloaded }
}

function outcomeOf({ control, reloaded }: Pairs, course: Course): Outcome {
  const isMet = median(reloaded.map(ratioOf)) <= RATIO_BAR && reloaded.every((each) => lostIn(each) === 0)
  return {
    columns: COLUMNS,
    rows: [rowOf('nothing changes', control), { ...rowOf('reload', reloaded), bar: { text: `≤ ${RATIO_BAR}; none lost`, isMet } }],
    notes: notesOf({ control, reloaded }, course),
  }
}

async function measure(gateway: ReloadedGateway, course: Course, { run, isReload }: { run: number; isReload: boolean }): Promise<Run> {
  const { rate, warmUpMs, beforeMs, afterMs } = course
  const startAt = Date.now() + LEAD_MS
  const countsFrom = startAt + warmUpMs
  const durationMs = beforeMs + afterMs
  const common = { startAt, durationMs: warmUpMs + durationMs, warmUpMs, run }
  const load = (transport: LoadTransport): Promise<LoadFigures> =>
    inChild<LoadPlan, LoadFigures>(SCRIPT, { ...common, transport, port: PORTS[transport], rate: rate * SHARES[transport] })
  const change = async (): Promise<number> => {
    await sleep(countsFrom + beforeMs - Date.now())
    return isReload ? await gateway.reload() : 0
  }
  const cpu = async (): Promise<Pick<Run, 'gatewayCpu' | 'machineCpu'>> => {
    await sleep(countsFrom - Date.now())
    const [gatewayFrom, machineFrom] = [gateway.cpuSeconds, machineSeconds()]
    await sleep(durationMs)
    const cores = (spent: number): number => (SECOND * spent) / durationMs
    return { gatewayCpu: cores(gateway.cpuSeconds - gatewayFrom), machineCpu: cores(machineSeconds() - machineFrom) }
  }
  const [dot, doh, doq, reloadMs, cpus] = await Promise.all([load('dot'), load('doh'), load('doq'), change(), cpu()])
  const loads = { dot, doh, doq }
  const seconds = windowsOf(loads, { rate, lengthMs: SECOND, durationMs })
  const tenths = windowsOf(loads, { rate, lengthMs: TENTH, durationMs })
  const first = beforeMs / SECOND
  const touched = seconds.slice(first, first + Math.max(1, Math.ceil(reloadMs / SECOND)))
  const before = median(seconds.slice(0, first).map(({ p99 }) => p99))
  return { loads, seconds, tenths, before, during: Math.max(...touched.map(({ p99 }) => p99)), reloadMs, ...cpus }
}

const COLUMNS = [
  { title: '' },
  { title: 'questions' },
  { title: 'lost' },
  { title: 'connections ended' },
  { title: 'p50, ms', digits: 1 },
  { title: 'p99 before, ms', digits: 1 },
  { title: 'p99 in that second, ms', digits: 1 },
  { title: 'ratio', digits: 2 },
  { title: 'worst ratio', digits: 2 },
]

function rowOf(what: string, runs: readonly Run[]): Row {
  const seconds = runs.flatMap((each) => each.seconds)
  const cells = [
    what,
    sum(seconds.map(({ asked }) => asked)),
    sum(runs.map(lostIn)),
    sum(runs.flatMap(({ loads }) => Object.values(loads).map(({ ended }) => ended))),
    median(seconds.map(({ p50 }) => p50)),
    median(runs.map(({ before }) => before)),
    median(runs.map(({ during }) => during)),
    median(runs.map(ratioOf)),
    Math.max(...runs.map(ratioOf)),
  ]
  return { cells }
}

function ratioOf({ before, during }: Run): number {
  return during / before
}

function lostIn({ seconds }: Run): number {
  return sum(seconds.map(({ lost }) => lost))
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}

function notesOf({ control, reloaded }: Pairs, course: Course): readonly string[] {
  const all = [...control, ...reloaded]
  const share = (pick: (run: Run) => number): string => `${(100 * median(all.map(pick))).toFixed(0)} %`
  const reloads = reloaded.map(({ reloadMs }) => reloadMs)
  const lag = Math.max(...all.flatMap(({ loads }) => Object.values(loads).map(({ longestLag }) => longestLag)))
  const byTransport = LOAD_TRANSPORTS.map((transport) => {
    const windows = all.map(({ loads }) => windowOf(loads[transport].latencies))
    return `${transport} ${median(windows.map(({ p99 }) => p99)).toFixed(1)} (${sum(windows.map(({ lost }) => lost))} lost)`
  })
  return [
    `${course.pairs} pairs of ${(course.beforeMs + course.afterMs) / SECOND} s at ${course.rate.toLocaleString('en')} questions a second. SIGHUP until done: ${median(reloads).toFixed(0)} ms, at most ${Math.max(...reloads).toFixed(0)} ms.`,
    `Of one core the load took ${share(({ loads }) => sum(Object.values(loads).map(({ cpu }) => cpu)))}, the program ${share(({ gatewayCpu }) => gatewayCpu)}, everything on the machine ${share(({ machineCpu }) => machineCpu)}. The schedule was missed by ${lag.toFixed(0)} ms at most.`,
    `p99 by transport, ms: ${byTransport.join(', ')}.`,
    `p99 of each 0.1 s from 1 s before to 2 s after that moment, ms, control: ${picture(control, course)}.`,
    `The same, reload: ${picture(reloaded, course)}.`,
  ]
}

/** Medians of the runs. */
function picture(runs: readonly Run[], { beforeMs }: Course): string {
  const middle = beforeMs / TENTH
  const shown = runs.map(({ tenths }) => tenths.slice(middle - SECOND / TENTH, middle + (2 * SECOND) / TENTH).map(({ p99 }) => p99))
  return (shown[0] ?? []).map((_, i) => median(shown.map((each) => each[i] ?? Number.NaN)).toFixed(0)).join(' ')
}
