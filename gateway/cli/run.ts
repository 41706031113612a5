import { once } from 'node:events'
import type { Command } from 'commander'
import { type Logger, pino } from 'pino'
import type { Config } from '../config/config.ts'
import { loadConfig } from '../config/load.ts'
import { type Gateway, startGateway } from '../gateway.ts'
import { startText } from './start-text.ts'

const STDERR = 2

export function addRunCommand(program: Command): void {
  program
    .command('run')
    .description('run the gateway; SIGTERM drains')
    .option('--config <file>', 'configuration file (YAML); without it, the defaults and the environment')
    .action(async ({ config: file }: { config?: string }) => {
      const { config, warnings } = loadConfig({ file: file ?? null, env: process.env, cwd: process.cwd() })
      // written at once: a line that is still in a buffer when the process dies is the one that would have told why
      const log = pino({ name: 'atlas-dns', level: config.log.level, base: null }, pino.destination({ dest: STDERR, sync: true }))
      for (const warning of warnings) log.warn(warning)
      await run(config, log)
    })
}

async function run(config: Config, log: Logger): Promise<void> {
  const gateway = await startGateway(config, log)
  process.stdout.write(startText(config, gateway.facts))
  log.info(gateway.facts.endpoints, 'serving')
  process.on('SIGHUP', () => log.warn('SIGHUP ignored: this version cannot reload its configuration; restart it'))
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
    process.on(event, (error: unknown) => {
      log.fatal({ err: error }, 'defect: the gateway stops')
      process.exit(1)
    })
  }
  const signal = await Promise.race([once(process, 'SIGTERM').then(() => 'SIGTERM'), once(process, 'SIGINT').then(() => 'SIGINT')])
  log.info({ signal }, 'stopping')
  await drain(gateway, log)
}

async function drain(gateway: Gateway, log: Logger): Promise<void> {
  // whoever asks twice does not want to wait
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => process.exit(1))
  await gateway.drain()
  log.info('stopped')
  process.exit(0)
}
