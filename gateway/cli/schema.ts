import type { Command } from 'commander'
import { configJsonSchema } from '../config/load.ts'

export function addSchemaCommand(program: Command): void {
  program
    .command('schema')
    .description('print the JSON Schema of the configuration, for editors')
    .action(() => {
      process.stdout.write(`${JSON.stringify(configJsonSchema(), null, 2)}\n`)
    })
}
