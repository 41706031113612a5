import { readFileSync, statSync } from 'node:fs'
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { OperationalError, reasonOf } from '../dns/operational-error.ts'

export const PRIVATE_MODE = 0o600
export const PUBLIC_MODE = 0o644

/** No chain and no key comes near it: a larger file is a wrong path. */
const MAX_FILE_BYTES = 1_048_576

/** Text of a small regular file, as readSmallOctets(). */
export function readSmallFile(path: string): string | null {
  return readSmallOctets(path)?.toString('utf8') ?? null
}

/**
 * Content of a small regular file, null when there is none. Throws an Error whose message is the bare reason: only the caller
 * knows what the file is for.
 */
export function readSmallOctets(path: string): Buffer | null {
  try {
    const stat = statSync(path)
    if (stat.isDirectory()) throw new Error('it is a directory')
    if (!stat.isFile()) throw new Error('it is not a regular file')
    if (stat.size > MAX_FILE_BYTES) throw new Error(`it is larger than ${MAX_FILE_BYTES} bytes`)
    return readFileSync(path)
  } catch (error) {
    const code = codeOf(error)
    if (code === 'ENOENT') return null
    throw code === 'EACCES' ? new Error('permission denied', { cause: error }) : error
  }
}

/**
 * Replaces a file as a whole or leaves it as it was, also when the machine loses power. `mode` holds whatever the umask is,
 * from the moment the file exists. Throws OperationalError.
 */
export async function writeAtomic(path: string, { text, mode }: { text: string; mode: number }): Promise<void> {
  const directory = dirname(path)
  // a fixed name, so that what a crash left behind does not pile up: the state directory has one writer (its lock)
  const temporary = join(directory, `.${basename(path)}.new`)
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 })
    await rm(temporary, { force: true })
    await writeNew(temporary, { text, mode })
    await rename(temporary, path)
    await synchronize(directory)
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {})
    throw new OperationalError('ATLAS_STATE', `Cannot write ${path}: ${reasonOf(error)}`, error)
  }
}

async function writeNew(path: string, { text, mode }: { text: string; mode: number }): Promise<void> {
  const file = await open(path, 'wx', mode)
  await closing(file, async () => {
    await file.chmod(mode) // the umask may have taken bits away
    await file.writeFile(text)
    await file.sync()
  })
}

/** Without it the rename itself may be lost. */
async function synchronize(directory: string): Promise<void> {
  const handle = await open(directory, 'r')
  await closing(handle, () => handle.sync())
}

async function closing(handle: FileHandle, work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } finally {
    await handle.close()
  }
}

function codeOf(error: unknown): string | null {
  return error instanceof Error && 'code' in error ? String(error.code) : null
}
