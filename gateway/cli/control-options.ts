import type { Command } from 'commander'

/** Of the commands that talk to the running gateway. */
export interface ControlOptions {
  readonly config?: string
  readonly json?: boolean
}

export function addControlOptions(command: Command): void {
  addConfigOption(command)
  command.option('--json', 'print the JSON of the admin interface (docs/api.md)')
}

export function addConfigOption(command: Command): void {
  command.option('--config <file>', 'configuration file of the gateway that is meant, as for `run`: its `state` leads there')
}

/** The lines under "Examples:" in the help. */
export function addExamples(command: Command, ...examples: readonly string[]): void {
  command.addHelpText('after', `\nExamples:\n${examples.map((example) => `  $ atlas-dns ${example}\n`).join('')}`)
}
