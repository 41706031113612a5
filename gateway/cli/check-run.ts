import { checkGateway } from '../assembly/check.ts'
import { loadConfig } from '../config/load.ts'

/** Says that all is well, or fails with what is wrong. `file`: the configuration, null: the defaults and the environment. */
export async function runCheck(file: string | null): Promise<void> {
  const { config, warnings } = loadConfig({ file, env: process.env, cwd: process.cwd() })
  for (const warning of [...warnings, ...(await checkGateway(config))]) process.stderr.write(`warning: ${warning}\n`)
  process.stdout.write(`${file ?? 'configuration'}: ok\n`)
}
