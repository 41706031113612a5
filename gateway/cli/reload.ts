import type { Command } from 'commander'
import { addControlOptions, addExamples, type ControlOptions } from './control-options.ts'
import { type Output, STANDARD_OUTPUT } from './output.ts'

export interface ReloadOptions extends ControlOptions {
  readonly dryRun?: boolean
}

export function addReloadCommand(program: Command, output: Output = STANDARD_OUTPUT): void {
  const command = program
    .command('reload')
    .description('have the running gateway read its configuration again and apply it')
    .option('--dry-run', 'only show what would change')
    .action(async (options: ReloadOptions) => {
      const { runReload } = await import('./reload-run.ts')
      await runReload(options, output)
    })
  addControlOptions(command)
  addExamples(command, 'reload --config atlas.yaml --dry-run', 'reload --config atlas.yaml')
}
