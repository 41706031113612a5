import { Command, CommanderError } from 'commander'
import { OperationalError } from '../../dns/operational-error.ts'
import type { Launcher } from '../workers/protocol.ts'
import { addCacheCommand } from './cache.ts'
import { addCertsCommand } from './certs.ts'
import { addCheckCommand } from './check.ts'
import { addDrainCommand } from './drain.ts'
import { printable } from './lines.ts'
import { addQueryCommand } from './query.ts'
import { addReloadCommand } from './reload.ts'
import { addRunCommand } from './run.ts'
import { addSchemaCommand } from './schema.ts'
import { addStatusCommand } from './status.ts'
import { addTokenCommand } from './token.ts'
import { addTopCommand } from './top.ts'
import { addUpstreamsCommand } from './upstreams.ts'
import { VERSION } from './version.ts'

const DONE = 0
const FAILED = 1
const WRONG_USAGE = 2

/** Runs one command; returns the exit code: 0 done, 1 failed, 2 wrong usage. */
export async function main(args: readonly string[], launcher: Launcher): Promise<number> {
  const program = new Command('atlas-dns')
    .description('Encrypted-DNS gateway: DoH, DoT and plain DNS in front of any resolver')
    .version(VERSION)
    .exitOverride()
    .configureHelp({ sortSubcommands: true })
  addRunCommand(program, launcher)
  addCheckCommand(program)
  addQueryCommand(program)
  addSchemaCommand(program)
  addStatusCommand(program)
  addReloadCommand(program)
  addDrainCommand(program)
  addCacheCommand(program)
  addUpstreamsCommand(program)
  addCertsCommand(program)
  addTokenCommand(program)
  addTopCommand(program)
  try {
    await program.parseAsync(args, { from: 'user' })
    return DONE
  } catch (error) {
    return exitCodeOf(error)
  }
}

function exitCodeOf(error: unknown): number {
  // commander has printed its message already; help and version are no errors
  if (error instanceof CommanderError) return error.exitCode === 0 ? DONE : WRONG_USAGE
  if (error instanceof OperationalError) {
    // some of it was written by the other side, and goes to a terminal; a line end is our own
    process.stderr.write(`${error.message.split('\n').map(printable).join('\n')}\n`)
    return error.code === 'ATLAS_USAGE' ? WRONG_USAGE : FAILED
  }
  // not ours: a defect, so its origin is shown
  process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`)
  return FAILED
}
