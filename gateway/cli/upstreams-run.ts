import type { UpstreamStatus } from '../admin/control.ts'
import { controlClient } from './control-client.ts'
import type { ControlOptions } from './control-options.ts'
import type { Line, Styled } from './lines.ts'
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

export function upstreamState({ enabled }: UpstreamStatus): Styled {
  return enabled ? { text: 'enabled', style: 'good' } : { text: 'disabled', style: 'warning' }
}

export function failuresOf({ failures }: UpstreamStatus): number {
  return failures.reduce((sum, failure) => sum + failure.count, 0)
}

function upstreamLines(upstreams: readonly UpstreamStatus[]): readonly Line[] {
  if (upstreams.length === 0) return ['no upstream is known: every question that the cache does not know fails']
  const right = true
  const columns = [
    { title: 'QUERIES', right },
    { title: 'ANSWERS', right },
    { title: 'MEAN', right },
    { title: 'FAILURES', right },
    { title: '' },
  ]
  const rows = upstreams.map((upstream) => [
    upstream.name,
    upstream.url,
    upstreamState(upstream),
    count(upstream.queries),
    count(upstream.answers),
    latency(upstream.meanSeconds),
    count(failuresOf(upstream)),
    reasonsText(upstream),
  ])
  return table([{ title: 'NAME' }, { title: 'URL' }, { title: 'STATE' }, ...columns], rows)
}

function reasonsText({ failures }: UpstreamStatus): string {
  return failures
    .filter((failure) => failure.count > 0)
    .map((failure) => `${failure.reason} ${count(failure.count)}`)
    .join(', ')
}
