import type { Command } from 'commander'
import { checkGateway } from '../assembly/check.ts'
import { loadConfig } from '../config/load.ts'

export function addCheckCommand(program: Command): void {
  program
    .command('check')
    .description('check the configuration and the files it names, without starting anything')
    .option('--config <file>', 'configuration file (YAML); without it, the defaults and the environment')
    .action(async ({ config: file }: { config?: string }) => {
      const { config, warnings } = loadConfig({ file: file ?? null, env: process.env, cwd: process.cwd() })
      for (const warning of [...warnings, ...(await checkGateway(config))]) process.stderr.write(`warning: ${warning}\n`)
      process.stdout.write(`${file ?? 'configuration'}: ok\n`)
    })
}
