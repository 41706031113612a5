import type { Command } from 'commander'
import { addExamples } from './control-options.ts'
import { type Output, STANDARD_OUTPUT } from './output.ts'

export interface TokenOptions {
  readonly config?: string
  readonly file?: string
}

export function addTokenCommand(program: Command, output: Output = STANDARD_OUTPUT): void {
  const command = program
    .command('token')
    .description('make a token for somebody who may use encrypted DNS, and show it once')
    .argument('<name>', 'whose it is: letters, digits, ".", "_", "@" and "-"; it stands in logs')
    .option('--config <file>', 'configuration file of the gateway: its access.tokens names the file that the SHA-256 is added to')
    .option('--file <file>', 'that file itself')
    .action(async (name: string, options: TokenOptions) => {
      const { runToken } = await import('./token-run.ts')
      runToken(name, options, output)
    })
  addExamples(command, 'token alice-phone --config atlas.yaml', 'token bob@example.com --file tokens.txt')
}
