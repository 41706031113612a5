import type { Command } from 'commander'
import { addControlOptions, addExamples, type ControlOptions } from './control-options.ts'
import { type Output, STANDARD_OUTPUT } from './output.ts'

export interface DrainOptions extends ControlOptions {
  readonly wait?: boolean
  readonly timeout: string
}

export function addDrainCommand(program: Command, output: Output = STANDARD_OUTPUT): void {
  const command = program
    .command('drain')
    .description('have the running gateway take nothing new, answer what is open, and end')
    .option('--wait', 'return when it has stopped: nothing is open, and another can start')
    .option('--timeout <duration>', 'with --wait: how long at most, such as 30s or 5m', '60s')
    .action(async (options: DrainOptions) => {
      const { runDrain } = await import('./drain-run.ts')
      await runDrain(options, output)
    })
  addControlOptions(command)
  addExamples(command, 'drain --config atlas.yaml', 'drain --config atlas.yaml --wait --timeout 30s')
}
