import { statSync } from 'node:fs'
import { OperationalError } from '../../dns/operational-error.ts'
import { readTextFile } from '../config/text-file.ts'

/** 16 characters of hex are 64 bits, too many to guess at the rate that the guard allows. */
const MIN_LENGTH = 16
const MAX_LENGTH = 1_024
/** Above that it is a wrong path. */
const MAX_FILE_LENGTH = 4_096
const OTHERS_MAY_READ = 0o044

export interface AdminToken {
  readonly token: string
  /** Null when only the owner of the file can read it. */
  readonly warning: string | null
}

/** Throws OperationalError ATLAS_CONFIG, which does not repeat what the file holds. */
export function readAdminToken(file: string): AdminToken {
  const content = readTextFile(file)
  if (content.text === null) throw tokenError(file, content.reason)
  if (content.text.length > MAX_FILE_LENGTH)
    throw tokenError(file, `expected a file of at most ${MAX_FILE_LENGTH} characters: received more`)
  const token = content.text.replace(/\r?\n$/, '')
  if (token.length < MIN_LENGTH || token.length > MAX_LENGTH) {
    throw tokenError(file, `expected ${MIN_LENGTH} to ${MAX_LENGTH} characters: received ${token.length}`)
  }
  if (!/^[\x21-\x7e]+$/.test(token)) throw tokenError(file, 'expected one line of visible ASCII characters: received others too')
  const mode = statSync(file).mode & 0o777
  const warning = `${file}: expected a file that only its owner can read: received mode ${mode.toString(8).padStart(4, '0')}`
  return { token, warning: (mode & OTHERS_MAY_READ) === 0 ? null : warning }
}

function tokenError(file: string, reason: string): OperationalError {
  return new OperationalError('ATLAS_CONFIG', `Cannot use the admin token in ${file}: ${reason}`)
}
