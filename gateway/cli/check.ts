import type { Command } from 'commander'

export function addCheckCommand(program: Command): void {
  program
    .command('check')
    .description('check the configuration and the files it names, without starting anything')
    .option('--config <file>', 'configuration file (YAML); without it, the defaults and the environment')
    .action(async ({ config: file }: { config?: string }) => {
      const { runCheck } = await import('./check-run.ts')
      await runCheck(file ?? null)
    })
}
