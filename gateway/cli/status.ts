import type { Command } from 'commander'
import { addControlOptions, addExamples, type ControlOptions } from './control-options.ts'
import { type Output, STANDARD_OUTPUT } from './output.ts'

export function addStatusCommand(program: Command, output: Output = STANDARD_OUTPUT): void {
  const command = program
    .command('status')
    .description('show how the running gateway is and what it has done')
    .action(async (options: ControlOptions) => {
      const { runStatus } = await import('./status-run.ts')
      await runStatus(options, output)
    })
  addControlOptions(command)
  addExamples(command, 'status --config atlas.yaml', 'status --config atlas.yaml --json')
}
