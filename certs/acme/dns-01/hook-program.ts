import { accessSync, constants, statSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { OperationalError } from '../../../dns/operational-error.ts'

/** execvp(3), where the environment has none. */
const DEFAULT_PATH = ['/bin', '/usr/bin'].join(delimiter)

export const MISSING = 'there is no such program'
export const NOT_EXECUTABLE = 'it may not be executed'

/** Throws OperationalError where a hook could not be started: looked for as execvp(3) does, without starting it. */
export function refuseUnusableProgram(program: string, origin: string): void {
  const { PATH = DEFAULT_PATH } = process.env
  const places = program.includes('/') ? [program] : PATH.split(delimiter).map((directory) => join(directory, program))
  const flaws = new Set(places.map(flawOf))
  if (flaws.has(null)) return
  const reason = flaws.has(NOT_EXECUTABLE) ? NOT_EXECUTABLE : MISSING
  throw new OperationalError('ATLAS_CERTIFICATE', `Cannot use the hook of dns-01: ${reason}: ${program} (${origin})`)
}

/** Null: it can be executed. */
function flawOf(path: string): string | null {
  try {
    if (!statSync(path).isFile()) return NOT_EXECUTABLE
    accessSync(path, constants.X_OK)
    return null
  } catch (error) {
    const isForbidden = error instanceof Error && 'code' in error && error.code === 'EACCES'
    return isForbidden ? NOT_EXECUTABLE : MISSING
  }
}
