import type { Command } from 'commander'
import { addControlOptions, addExamples, type ControlOptions } from './control-options.ts'
import { type Output, STANDARD_OUTPUT } from './output.ts'

export function addCertsCommand(program: Command, output: Output = STANDARD_OUTPUT): void {
  const command = program
    .command('certs')
    .description('show the certificates that the running gateway has, and how long they are valid')
    .action(async (options: ControlOptions) => {
      const { runCerts } = await import('./certs-run.ts')
      await runCerts(options, output)
    })
  addControlOptions(command)
  addExamples(command, 'certs --config atlas.yaml', 'certs --config atlas.yaml --json')
}
