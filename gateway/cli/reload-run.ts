import { OperationalError } from '../../dns/operational-error.ts'
import { AdminError } from '../admin/client.ts'
import type { Change, ReloadOutcome } from '../admin/control.ts'
import { ConfigError } from '../config/problem.ts'
import { controlClient } from './control-client.ts'
import type { Line } from './lines.ts'
import type { Output } from './output.ts'
import type { ReloadOptions } from './reload.ts'

/** Certificates are read and addresses bound; a worker may take 10 s for each of its commands (gateway/workers/seat.ts). */
const TIMEOUT_MS = 120_000

type Done = Extract<ReloadOutcome, { readonly changes: unknown }>
type Wrong = Exclude<ReloadOutcome, Done>

/** Has the configuration read again, and shows what became of it. Fails with ATLAS_ADMIN when the one before stays. */
export async function runReload(options: ReloadOptions, output: Output): Promise<void> {
  const outcome = await reload(options)
  if (options.json) output.json(outcome)
  if (!('changes' in outcome)) throw new OperationalError('ATLAS_ADMIN', wrongText(outcome))
  if (options.json) return
  output.lines(doneLines(outcome))
  for (const warning of outcome.warnings) output.warn(warning)
}

async function reload({ dryRun = false, ...options }: ReloadOptions): Promise<ReloadOutcome> {
  try {
    return await controlClient(options).post<ReloadOutcome>(`/v1/reload?dryRun=${dryRun}`, { timeoutMs: TIMEOUT_MS })
  } catch (error) {
    // the outcome is the body; other errors have another
    if (error instanceof AdminError && (error.status === 409 || error.status === 422)) return error.body as Wrong
    throw error
  }
}

function doneLines({ outcome, changes, restartOnly }: Done): readonly Line[] {
  const later = 'after a restart only; until then the values in use stay:'
  return [
    [{ text: summaryOf(outcome, changes.length, restartOnly.length), style: 'strong' }],
    ...changes.map(changeText),
    ...(restartOnly.length === 0 ? [] : [later, ...restartOnly.map(changeText)]),
  ]
}

function summaryOf(outcome: Done['outcome'], now: number, later: number): string {
  if (now === 0) return later === 0 ? 'nothing to change: the configuration in use is this one' : 'nothing to change now'
  return outcome === 'planned' ? 'would change:' : 'applied:'
}

/** "timeouts.query: 4s → 5s"; an entry that comes or goes has its sign. */
function changeText({ path, from, to }: Change): string {
  if (from === null) return `+ ${path}: ${valueText(to)}`
  if (to === null) return `- ${path}: ${valueText(from)}`
  return `  ${path}: ${valueText(from)} → ${valueText(to)}`
}

function valueText(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

function wrongText(outcome: Wrong): string {
  if (outcome.outcome === 'busy') return `Cannot reload: ${outcome.message}`
  const why = outcome.problems.length === 0 ? outcome.message : new ConfigError(outcome.problems).message
  const undone = outcome.outcome === 'rolled-back' ? 'What had been applied was undone: the' : 'Nothing was changed: the'
  return `${why}\n${undone} configuration in use stays.`
}
