import type { Command } from 'commander'
import { addConfigOption, addExamples } from './control-options.ts'
import { type Output, STANDARD_OUTPUT } from './output.ts'

export interface TopOptions {
  readonly config?: string
  readonly interval: string
  readonly once?: boolean
}

export function addTopCommand(program: Command, output: Output = STANDARD_OUTPUT): void {
  const command = program
    .command('top')
    .description('watch the running gateway in a terminal; q ends it')
    .option('--interval <duration>', 'time between two looks, from 100ms to 1m', '1s')
    .option('--once', 'look twice, print what was between the two as text, and end; so it is without a terminal, too')
    .action(async (options: TopOptions) => {
      const { runTop } = await import('./top-run.ts')
      await runTop(options, output)
    })
  addConfigOption(command)
  addExamples(command, 'top --config atlas.yaml', 'top --config atlas.yaml --once --interval 10s')
}
