import type { UpstreamState, UpstreamStatus, UpstreamWayStatus } from '../admin/control.ts'
import { controlClient } from './control-client.ts'
import type { ControlOptions } from './control-options.ts'
import type { Line, Part, Styled } from './lines.ts'
import type { Output } from './output.ts'
import { count, latency } from './quantities.ts'
import { table } from './table.ts'

export async function showUpstreams(options: ControlOptions, output: Output): Promise<void> {
  const upstreams = await controlClient(options).get<readonly UpstreamStatus[]>('/v1/upstreams')
  if (options.json) return output.json(upstreams)
  output.lines(upstreamLines(upstreams))
}

export async function switchUpstream(
  { name, word }: { readonly name: string; readonly word: 'disable' | 'enable' },
  options: ControlOptions,
  output: Output,
): Promise<void> {
  const upstream = await controlClient(options).post<UpstreamStatus>(`/v1/upstreams/${encodeURIComponent(name)}/${word}`)
  if (options.json) return output.json(upstream)
  output.lines([[`${upstream.name} is `, upstreamState(upstream)]])
}

const STATES: Readonly<Record<UpstreamState, Styled>> = {
  unknown: { text: 'not asked yet', style: 'warning' },
  up: { text: 'up', style: 'good' },
  suspect: { text: 'in doubt', style: 'warning' },
  down: { text: 'down', style: 'bad' },
  loop: { text: 'loop', style: 'bad' },
}

export function upstreamState({ enabled, state, ways }: UpstreamStatus): Styled {
  if (!enabled) return { text: 'disabled', style: 'warning' }
  // its host name leads nowhere yet
  return ways.length === 0 ? { text: 'not found', style: 'bad' } : STATES[state]
}

export function failuresOf({ failures }: UpstreamStatus): number {
  return total(failures)
}

function total(counts: readonly { readonly count: number }[]): number {
  return counts.reduce((sum, { count }) => sum + count, 0)
}

function upstreamLines(upstreams: readonly UpstreamStatus[]): readonly Line[] {
  if (upstreams.length === 0) return ['no upstream is known: every question that the cache does not know fails']
  const right = true
  const columns = [
    { title: 'PROBES', right },
    { title: 'QUERIES', right },
    { title: 'ANSWERS', right },
    { title: 'MEAN', right },
    { title: 'FAILURES', right },
    { title: '' },
  ]
  const rows = upstreams.flatMap((upstream) => [upstreamRow(upstream), ...(upstream.ways.length > 1 ? upstream.ways.map(wayRow) : [])])
  return table([{ title: 'NAME' }, { title: 'URL' }, { title: 'STATE' }, ...columns], rows)
}

function upstreamRow(upstream: UpstreamStatus): readonly Part[] {
  return [
    upstream.name,
    upstream.ways.length > 1 ? '' : (upstream.ways[0]?.url ?? upstream.url),
    upstreamState(upstream),
    count(total(upstream.probes)),
    count(upstream.queries),
    count(upstream.answers),
    latency(upstream.meanSeconds),
    count(failuresOf(upstream)),
    reasonsText(upstream),
  ]
}

/** One of several ways to an upstream, below it. */
function wayRow({ url, state, rttSeconds, reason }: UpstreamWayStatus): readonly Part[] {
  return ['', url, STATES[state], '', '', '', latency(rttSeconds), '', reason ?? '']
}

function reasonsText({ failures }: UpstreamStatus): string {
  return failures
    .filter((failure) => failure.count > 0)
    .map((failure) => `${failure.reason} ${count(failure.count)}`)
    .join(', ')
}
