import type { Command } from 'commander'
import type { Launcher } from '../workers/protocol.ts'

export function addRunCommand(program: Command, launcher: Launcher): void {
  program
    .command('run')
    .description('run the gateway; SIGHUP reloads its configuration, SIGTERM drains')
    .option('--config <file>', 'configuration file (YAML); without it, the defaults and the environment')
    .action(async ({ config: file }: { config?: string }) => {
      const { runGateway } = await import('./run-gateway.ts')
      await runGateway(file ?? null, launcher)
    })
}
