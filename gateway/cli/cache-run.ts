import { OperationalError } from '../../dns/operational-error.ts'
import type { CachedNameView, CachedQuestionView, CacheStatus, PurgeOutcome } from '../admin/control.ts'
import type { PurgeOptions } from './cache.ts'
import { cacheUse } from './cache-text.ts'
import { controlClient } from './control-client.ts'
import type { ControlOptions } from './control-options.ts'
import type { Line, Part } from './lines.ts'
import type { Output } from './output.ts'
import { count, counted, duration, NONE, octets } from './quantities.ts'
import { table } from './table.ts'

export async function showCache(options: ControlOptions, output: Output): Promise<void> {
  const cache = await controlClient(options).get<CacheStatus>('/v1/cache')
  if (options.json) return output.json(cache)
  const { evictions, prefetches, coalesced } = cache
  const rows = [
    ['use', cacheUse(cache)],
    ['evicted', count(evictions)],
    ['prefetched', count(prefetches)],
    ['coalesced', count(coalesced)],
  ]
  output.lines(rows.map(([label = '', text = '']) => `${label.padEnd(12)}${text}`))
}

export async function showEntries(name: string, options: ControlOptions, output: Output): Promise<void> {
  const known = await controlClient(options).get<CachedNameView>(`/v1/cache/entries?${new URLSearchParams({ name })}`)
  if (options.json) return output.json(known)
  output.lines(entryLines(known))
}

function entryLines({ name, answers, failures }: CachedNameView): readonly Line[] {
  if (answers.length + failures.length === 0) return [`${name}: nothing is known of it`]
  const right = true
  const columns = [
    { title: 'TYPE' },
    { title: 'CLASS' },
    { title: 'FLAGS' },
    { title: 'NETWORK' },
    { title: 'KNOWN' },
    { title: 'LEFT', right },
  ]
  const rows = [
    ...answers.map(({ rcode, secondsLeft, bytes, popularity, ...question }): readonly Part[] => [
      ...questionCells(question),
      rcode,
      leftPart(secondsLeft),
      octets(bytes),
      count(popularity),
    ]),
    ...failures.map(({ extendedError, secondsLeft, ...question }): readonly Part[] => [
      ...questionCells(question),
      { text: `failure (EDE ${extendedError})`, style: 'warning' },
      duration(secondsLeft),
      NONE,
      NONE,
    ]),
  ]
  return [[{ text: name, style: 'strong' }], ...table([...columns, { title: 'SIZE', right }, { title: 'POPULARITY', right }], rows)]
}

function questionCells({ type, class: qclass, dnssecOk, checkingDisabled, network }: CachedQuestionView): readonly Part[] {
  const flags = [...(dnssecOk ? ['DO'] : []), ...(checkingDisabled ? ['CD'] : [])].join(' ')
  return [type ?? 'any', qclass, flags === '' ? NONE : flags, network ?? NONE]
}

function leftPart(seconds: number): Part {
  return seconds > 0 ? duration(seconds) : { text: `stale for ${duration(seconds)}`, style: 'warning' }
}

/** Fails with ATLAS_ADMIN when some of the cache could not be looked through. */
export async function purgeCache(name: string | undefined, options: PurgeOptions, output: Output): Promise<void> {
  const { query, what } = targetOf(name, options)
  const outcome = await controlClient(options).delete<PurgeOutcome>(`/v1/cache/entries?${new URLSearchParams(query)}`)
  if (options.json) output.json(outcome)
  else output.lines([`${what}: ${counted(outcome.entries, 'entry', 'entries')} thrown out`])
  if (outcome.busyPages === 0) return
  const reason = `${counted(outcome.busyPages, 'page was', 'pages were')} being written to all the time; ask once more`
  throw new OperationalError('ATLAS_ADMIN', `Cannot purge all of it: ${reason}`)
}

function targetOf(name: string | undefined, { suffix, all }: PurgeOptions): { query: Record<string, string>; what: string } {
  const targets = [
    ...(name === undefined ? [] : [{ query: { name }, what: name }]),
    ...(suffix === undefined ? [] : [{ query: { suffix }, what: `${suffix} and below` }]),
    ...(all === true ? [{ query: { all: 'true' }, what: 'everything' }] : []),
  ]
  const [target] = targets
  if (target !== undefined && targets.length === 1) return target
  throw new OperationalError('ATLAS_USAGE', `expected exactly one of <name>, --suffix <name> and --all: received ${targets.length}`)
}
