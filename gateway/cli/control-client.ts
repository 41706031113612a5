import { join } from 'node:path'
import { OperationalError } from '../../dns/operational-error.ts'
import { AdminClient } from '../admin/client.ts'
import { ConfigError } from '../config/problem.ts'
import { stateDirectoryOf } from '../config/state-of.ts'
import type { ControlOptions } from './control-options.ts'

const NOT_ASKED = 'The running gateway was not asked, and nothing was changed: where it is found stands in `state`.'

/** The client of the gateway that runs with this configuration. */
export function controlClient({ config: file }: ControlOptions): AdminClient {
  return new AdminClient(join(stateOf(file ?? null), 'admin.sock'))
}

function stateOf(file: string | null): string {
  try {
    return stateDirectoryOf({ file, env: process.env, cwd: process.cwd() })
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    throw new OperationalError('ATLAS_CONFIG', `${error.message}\n${NOT_ASKED}`, error)
  }
}
