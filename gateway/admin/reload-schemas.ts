import { z } from '@hono/zod-openapi'
import type { ReloadOutcome } from './control.ts'
import { describing, list } from './schema-tools.ts'

const Change = z
  .object({
    path: z.string().describe('The setting: "timeouts.query", "listen.dot[1]".'),
    from: z.unknown().describe('Null: it was not set.'),
    to: z.unknown().describe('Null: it is no longer set.'),
  })
  .openapi('Change', { required: ['path', 'from', 'to'] })

const Problem = z
  .object({
    where: z.string().describe('"file:line:column", the file alone, or the name of a variable.'),
    path: z.string().describe('The setting; empty for the configuration as a whole.'),
    message: z.string(),
  })
  .openapi('Problem')

export const outcomes = {
  done: ['applied', 'unchanged', 'planned'],
  wrong: ['refused', 'rolled-back'],
  busy: ['busy'],
} as const

const ReloadDone = z
  .object({
    outcome: z.enum(outcomes.done).describe('unchanged: there was nothing to do; planned: a dry run.'),
    changes: list(Change),
    restartOnly: list(Change).describe('Take effect after a restart only; until then the values in use stay.'),
    warnings: list(z.string()),
  })
  .openapi('ReloadDone')

const ReloadWrong = z
  .object({
    outcome: z
      .enum(outcomes.wrong)
      .describe('refused: nothing was touched; rolled-back: it could not be applied, and what had been was undone.'),
    code: z.string().describe('As in docs/errors.md.'),
    message: z.string(),
    problems: list(Problem),
  })
  .openapi('ReloadWrong')

const ReloadBusy = z
  .object({
    outcome: z.enum(outcomes.busy).describe('Another reload is under way, or the gateway is starting or ending.'),
    message: z.string(),
  })
  .openapi('ReloadBusy')

type Outcome<Name> = Extract<ReloadOutcome, { readonly outcome: Name }>
export const reloadOutcomes = {
  done: describing<Outcome<(typeof outcomes.done)[number]>>()(ReloadDone),
  wrong: describing<Outcome<(typeof outcomes.wrong)[number]>>()(ReloadWrong),
  busy: describing<Outcome<'busy'>>()(ReloadBusy),
}
/** Every outcome is one of the three. */
describing<ReloadOutcome>()(z.union([ReloadDone, ReloadWrong, ReloadBusy]))
