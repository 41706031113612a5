import { once } from 'node:events'
import type { Command } from 'commander'
import type { Logger } from 'pino'
import type { Config } from '../config/config.ts'
import { loadConfig } from '../config/load.ts'
import { startGateway } from '../gateway.ts'
import { createLog } from '../log.ts'
import type { Launcher } from '../workers/protocol.ts'
import { startText } from './start-text.ts'

const SIGNALS = ['SIGTERM', 'SIGINT'] as const

export function addRunCommand(program: Command, launcher: Launcher): void {
  program
    .command('run')
    .description('run the gateway; SIGTERM drains')
    .option('--config <file>', 'configuration file (YAML); without it, the defaults and the environment')
    .action(async ({ config: file }: { config?: string }) => {
      const { config, warnings } = loadConfig({ file: file ?? null, env: process.env, cwd: process.cwd() })
      const log = createLog(config.log.level)
      for (const warning of warnings) log.warn(warning)
      await run(config, { log, launcher })
    })
}

async function run(config: Config, { log, launcher }: { log: Logger; launcher: Launcher }): Promise<void> {
  // from the first moment on: a signal that comes while the gateway starts is heeded as soon as it has
  const signal = Promise.race(SIGNALS.map((name) => once(process, name).then(() => name)))
  process.on('SIGHUP', () => log.warn('SIGHUP ignored: this version cannot reload its configuration; restart it'))
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
    process.on(event, (error: unknown) => {
      log.fatal({ err: error }, 'defect: the gateway stops')
      process.exit(1)
    })
  }
  const gateway = await startGateway(config, log, { launcher })
  process.stdout.write(startText(config, gateway.facts))
  log.info(gateway.facts.endpoints, 'serving')
  log.info({ signal: await signal }, 'stopping')
  // whoever asks twice does not want to wait
  for (const name of SIGNALS) process.once(name, () => process.exit(1))
  await gateway.drain()
  log.info('stopped')
  process.exit(0)
}
