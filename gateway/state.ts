import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { OperationalError, reasonOf } from '../dns/operational-error.ts'

/** The state directory of one running gateway. */
export interface State {
  readonly directory: string
  release(): void
}

/**
 * Makes the directory (0700) and locks it against a second gateway, which would take part of the traffic and write the same
 * files. Node has no file locks of its own; SQLite's exclusive transaction is one, and the kernel ends it with the process,
 * however that dies (docs/adr/0004).
 */
export function openState(directory: string): State {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw new OperationalError('ATLAS_STATE', `Cannot use the state directory ${directory}: ${reasonOf(error)}`, error)
  }
  const lock = openLock(join(directory, 'lock'))
  try {
    lock.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE')
  } catch (error) {
    lock.close()
    const reason = isBusy(error) ? 'another atlas-dns is running with it' : reasonOf(error)
    throw new OperationalError('ATLAS_STATE', `Cannot lock the state directory ${directory}: ${reason}`, error)
  }
  return { directory, release: () => void (lock.isOpen && lock.close()) }
}

function openLock(path: string): DatabaseSync {
  try {
    return new DatabaseSync(path, { timeout: 0 })
  } catch (error) {
    throw new OperationalError('ATLAS_STATE', `Cannot open ${path}: ${reasonOf(error)}`, error)
  }
}

/** SQLITE_BUSY, https://sqlite.org/rescode.html#busy */
function isBusy(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && error.errcode === 5
}
