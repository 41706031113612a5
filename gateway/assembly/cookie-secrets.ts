import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { PRIVATE_MODE, readSmallFile, writeAtomic } from '../../certs/disk.ts'
import { OperationalError, reasonOf } from '../../dns/operational-error.ts'
import { COOKIE_SECRET_LENGTH } from '../../dns/server-cookies.ts'

/** One that makes cookies, the one before it, and the next, which other servers may have begun to use. */
const MAX_SECRETS = 3
const SECRET = /^[0-9a-f]{32}$/i

/** The secrets that cookies are made and checked with (RFC 9018 §5), hexadecimal; none while there is no file. Throws OperationalError, which does not repeat them. */
export function readCookieSecrets(stateDir: string): readonly string[] {
  const path = pathIn(stateDir)
  const text = readText(path)
  const lines = (text ?? '').split(/\r?\n/).map((line) => line.trim())
  const wrong = lines.findIndex((line) => line !== '' && !SECRET.test(line))
  if (wrong >= 0) throw unusable(`${path}:${wrong + 1}:1`, `expected 32 hexadecimal digits: received ${lines[wrong]?.length} characters`)
  const secrets = lines.filter((line) => line !== '')
  if (text !== null && secrets.length === 0) throw unusable(`${path}:1:1`, 'expected 32 hexadecimal digits: received nothing')
  if (secrets.length > MAX_SECRETS) throw unusable(path, `expected at most ${MAX_SECRETS} secrets: received ${secrets.length}`)
  return secrets
}

/** Makes the first secret, which only the owner can read. Throws OperationalError. */
export async function createCookieSecret(stateDir: string): Promise<readonly string[]> {
  const secret = randomBytes(COOKIE_SECRET_LENGTH).toString('hex')
  await writeAtomic(pathIn(stateDir), { text: `${secret}\n`, mode: PRIVATE_MODE })
  return [secret]
}

function pathIn(stateDir: string): string {
  return join(stateDir, 'secrets', 'cookies')
}

function readText(path: string): string | null {
  try {
    return readSmallFile(path)
  } catch (error) {
    throw unusable(path, reasonOf(error))
  }
}

function unusable(where: string, reason: string): OperationalError {
  return new OperationalError('ATLAS_STATE', `Cannot use the cookie secrets in ${where}: ${reason}`)
}
