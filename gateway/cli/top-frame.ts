import type { ControlEvent, UpstreamStatus, WorkerStatus } from '../admin/control.ts'
import { cacheUse } from './cache-text.ts'
import { type Line, type Part, printable, shortened } from './lines.ts'
import { count, duration, latency, NONE, percent, rate } from './quantities.ts'
import { readiness } from './status-text.ts'
import { table } from './table.ts'
import type { Difference, Look } from './top-look.ts'
import { byRcode, dropsOf, sumsOf } from './traffic.ts'
import { failuresOf, upstreamState } from './upstreams-run.ts'

export interface TopState {
  readonly look: Look
  /** Null after the first look at a process. */
  readonly difference: Difference | null
  /** Newest first; null: nobody follows them. */
  readonly events: readonly ControlEvent[] | null
  /** Why no events come. */
  readonly trouble: string | null
}

export interface Size {
  readonly columns: number
  readonly rows: number
}

interface Section {
  readonly head: readonly Line[]
  readonly rows: readonly Line[]
  /** So many rows stay however small the terminal is. */
  readonly least: number
  /** Nobody misses the others. */
  readonly quiet?: true
}

const RCODES = 6
/** Columns this wide at least stay where they are while figures change. */
const FIGURE_WIDTH = 7
const NAME_WIDTH = 24
const WORKER_WIDTH = 20

/** What `top` shows, at most `rows` lines; who prints them cuts them off at the last column. */
export function topFrame(state: TopState, { columns, rows }: Size): readonly Line[] {
  const sections = [summary(state), transports(state), rcodes(state), upstreams(state), machine(state, columns), ...events(state)]
  return fitted(sections, rows)
    .flatMap((section) => ['', ...section.head, ...section.rows])
    .slice(1, rows + 1)
}

function summary({ look: { status }, difference }: TopState): Section {
  const { version, pid, uptimeSeconds, traffic } = status
  const queries = difference?.traffic.transports.reduce((sum, each) => sum + each.queries, 0)
  const answers = difference === null ? null : sumsOf(difference.traffic.answers)
  const figures = [
    `${perSecond(difference, queries)} queries/s`,
    `${perSecond(difference, answers?.answers)} answers/s`,
    `${perSecond(difference, difference === null ? undefined : dropsOf(difference.traffic))} drops/s`,
    `${percent(answers?.hitRate ?? Number.NaN)} hit rate`,
    `${count(traffic.openQueries)} open`,
  ]
  const head: readonly Part[] = [
    { text: `Atlas DNS ${version}`, style: 'strong' },
    `, process ${pid}, up ${duration(uptimeSeconds)}: `,
    readiness(status),
    ...(status.reasons.length === 0 ? [] : [`, ${status.reasons.join(', ')}`]),
  ]
  const rows = status.warnings.map((text): readonly Part[] => [{ text, style: 'warning' }])
  return { head: [head, figures.join('  ')], rows, least: Math.min(1, rows.length) }
}

function transports({ look, difference }: TopState): Section {
  const all = look.status.traffic.transports
  const between = difference?.traffic
  const cells = all.map(({ transport, connections }) => [
    perSecond(difference, between?.transports.find((each) => each.transport === transport)?.queries),
    transport === 'udp' ? NONE : count(connections),
  ])
  const rows = ['queries/s', 'connections'].map((label, i) => [label, ...cells.map((cell) => cell[i] ?? '')])
  return { head: table([{ title: 'TRANSPORT' }, ...all.map(({ transport }) => figures(transport))], rows), rows: [], least: 0 }
}

/** Those that were the most since the gateway started, so that columns stay where they are. */
function rcodes({ look, difference }: TopState): Section {
  const known = byRcode(look.status.traffic.answers).slice(0, RCODES)
  const between = new Map(byRcode(difference?.traffic.answers ?? []).map((each) => [each.rcode, each]))
  const rows = [
    ['answers/s', ...known.map(({ rcode }) => perSecond(difference, between.get(rcode)?.answers))],
    ['hit rate', ...known.map(({ rcode }) => percent(between.get(rcode)?.hitRate ?? Number.NaN))],
  ]
  return { head: table([{ title: 'RCODE' }, ...known.map(({ rcode }) => figures(rcode))], rows), rows: [], least: 0 }
}

function upstreams({ look, difference }: TopState): Section {
  const columns = [figures('QUERIES/S'), figures('ANSWERS/S'), figures('FAILURES/S'), figures('MEAN')]
  const rows = look.upstreams.map((upstream, i) => upstreamRow(upstream, difference, difference?.upstreams[i]))
  const [head = '', ...lines] = table([{ title: 'UPSTREAM' }, { title: 'STATE' }, ...columns], rows)
  return { head: [head], rows: lines, least: 3 }
}

function upstreamRow(upstream: UpstreamStatus, difference: Difference | null, between: UpstreamStatus | undefined): readonly Part[] {
  return [
    shortened(printable(upstream.name), NAME_WIDTH).padEnd(NAME_WIDTH),
    upstreamState(upstream),
    perSecond(difference, between?.queries),
    perSecond(difference, between?.answers),
    perSecond(difference, between && failuresOf(between)),
    latency(between?.meanSeconds ?? null),
  ]
}

/** The threads, as many in a row as there is room for, and the cache they share. */
function machine({ look: { status }, difference }: TopState, columns: number): Section {
  const perRow = Math.max(1, Math.floor(columns / WORKER_WIDTH))
  const cells = status.workers.map(workerCell)
  const rows = Array.from({ length: Math.ceil(cells.length / perRow) }, (_, i) => cells.slice(i * perRow, (i + 1) * perRow))
  const evictions = perSecond(difference, difference?.evictions)
  return {
    head: [
      [strong('CACHE'), `    ${cacheUse(status.cache)}, ${evictions} evicted/s`],
      [strong('WORKERS'), '  busy, delay of the event loop, restarts'],
    ],
    rows,
    least: 2,
  }
}

function workerCell({ index, serving, restarts, eventLoop: { utilization, delaySeconds } }: WorkerStatus): Part {
  const text = serving ? `${index}: ${Math.round(utilization * 100)} %, ${latency(delaySeconds)}` : `${index}: down`
  const padded = shortened(`${text}${restarts === 0 ? '' : `, ${restarts}`}`, WORKER_WIDTH - 1).padEnd(WORKER_WIDTH)
  return serving ? padded : { text: padded, style: 'bad' }
}

function events({ events: newest, trouble }: TopState): readonly Section[] {
  if (newest === null) return []
  const lines = newest.map(({ at, type, message }) => `${at.slice(11, 19)}  ${type.padEnd(11)}  ${message}`)
  const rows = [...(trouble === null ? [] : [[{ text: trouble, style: 'warning' as const }]]), ...lines]
  return [{ head: [[strong('EVENTS')]], rows: rows.length === 0 ? ['none since this view was opened'] : rows, least: 2, quiet: true }]
}

/** Takes rows from the longest section until all have room. */
function fitted(sections: readonly Section[], rows: number): readonly Section[] {
  const kept = sections.map((section) => section.rows.length)
  let height = sections.reduce((sum, { head, rows: own }) => sum + 1 + head.length + own.length, -1)
  while (height > rows) {
    const spare = sections.map(({ least }, i) => (kept[i] ?? 0) - least)
    const longest = spare.indexOf(Math.max(...spare))
    if ((spare[longest] ?? 0) <= 0) break
    kept[longest] = (kept[longest] ?? 0) - 1
    height--
  }
  return sections.map((section, i) => ({ ...section, rows: firstRows(section, kept[i] ?? 0) }))
}

function firstRows({ rows, quiet }: Section, kept: number): readonly Line[] {
  if (rows.length <= kept || quiet) return rows.slice(0, kept)
  return [...rows.slice(0, kept - 1), `… ${rows.length - kept + 1} more lines`]
}

function perSecond(difference: Difference | null, value: number | undefined): string {
  return difference === null ? NONE : rate((value ?? 0) / difference.seconds)
}

function strong(text: string): Part {
  return { text, style: 'strong' }
}

function figures(title: string): { readonly title: string; readonly right: true } {
  return { title: title.padStart(FIGURE_WIDTH), right: true }
}
