import { once } from 'node:events'
import { resolve } from 'node:path'
import type { Logger } from 'pino'
import type { Config } from '../config/config.ts'
import { loadConfig } from '../config/load.ts'
import { type Gateway, type GatewayOptions, startGateway } from '../gateway.ts'
import { createLog } from '../log.ts'
import type { Launcher } from '../workers/protocol.ts'
import { startText } from './start-text.ts'

const SIGNALS = ['SIGTERM', 'SIGINT'] as const

/** Runs the gateway until it is told to end. `file`: the configuration, null: the defaults and the environment. */
export async function runGateway(file: string | null, launcher: Launcher): Promise<void> {
  const cwd = process.cwd()
  const load = () => loadConfig({ file, env: process.env, cwd })
  const { config, warnings } = load()
  const log = createLog(config.log.level)
  for (const warning of warnings) log.warn(warning)
  await run(config, log, { launcher, source: { file: file === null ? null : resolve(cwd, file), load } })
}

async function run(config: Config, log: Logger, options: GatewayOptions): Promise<void> {
  // from the first moment on: a signal that comes while the gateway starts is heeded as soon as it has
  const signal = Promise.race(SIGNALS.map((name) => once(process, name).then(() => name)))
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
    process.on(event, (error: unknown) => {
      log.fatal({ err: error }, 'defect: the gateway stops')
      process.exit(1)
    })
  }
  // one that comes while the gateway starts changes nothing: it reads the file anyway, only earlier
  process.on('SIGHUP', () => {})
  const gateway = await startGateway(config, log, options)
  reloadOnHangup(gateway)
  process.stdout.write(startText(config, gateway.facts))
  log.info(gateway.facts.endpoints, 'serving')
  log.info({ cause: await Promise.race([signal, gateway.drainAsked.then(() => 'admin')]) }, 'stopping')
  // whoever asks twice does not want to wait
  for (const name of SIGNALS) process.once(name, () => process.exit(1))
  await gateway.drain()
  log.info('stopped')
  process.exit(0)
}

/** A signal that comes during a reload may tell of a newer file: it is heeded after that, several as one. */
function reloadOnHangup(gateway: Gateway): void {
  let isWanted = false
  let isRunning = false
  process.on('SIGHUP', async () => {
    isWanted = true
    if (isRunning) return
    isRunning = true
    while (isWanted) {
      isWanted = false
      await gateway.reload({ dryRun: false })
    }
    isRunning = false
  })
}
