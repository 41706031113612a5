import { lower } from '../../../dns/name.ts'
import { OperationalError, reasonOf } from '../../../dns/operational-error.ts'
import { parseNameText } from '../../../dns/text-name.ts'
import { readSmallFile } from '../../disk.ts'

export type TsigAlgorithm = 'hmac-sha256' | 'hmac-sha384' | 'hmac-sha512'

export interface TsigConfig {
  readonly name: string
  readonly algorithm: TsigAlgorithm
  /** Absolute path. */
  readonly secretFile: string
  /** "file:line:column". */
  readonly origin: string
}

export interface TsigKey {
  /** Wire form, lower case (RFC 8945 §4.3.3: canonical). */
  readonly name: Uint8Array
  readonly algorithm: TsigAlgorithm
  readonly secret: Uint8Array
}

/** Octets. RFC 8945 §8 wants a secret as long as the digest; one below this can be guessed, one above is another file. */
const MIN_SECRET = 16
const MAX_SECRET = 512

/** Throws OperationalError that names the file and its origin. */
export function readTsigKey(config: TsigConfig): TsigKey {
  const secret = Buffer.from(secretText(config), 'base64')
  if (secret.length < MIN_SECRET || secret.length > MAX_SECRET)
    throw unusable(config, `expected ${MIN_SECRET} to ${MAX_SECRET} octets: found ${secret.length}`)
  const name = parseNameText(config.name)
  if (name === null) throw unusable(config, `its name is no domain name: ${config.name}`)
  return { name: name.map(lower), algorithm: config.algorithm, secret }
}

function secretText(config: TsigConfig): string {
  const text = fileText(config).replaceAll(/\s/g, '')
  // RFC 4648 §4; its padding may be missing
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text)) throw unusable(config, 'expected the secret alone, in base64')
  return text
}

function fileText(config: TsigConfig): string {
  try {
    const text = readSmallFile(config.secretFile)
    if (text !== null) return text
  } catch (error) {
    throw unusable(config, reasonOf(error), error)
  }
  throw unusable(config, 'there is no such file')
}

function unusable({ secretFile, origin }: TsigConfig, reason: string, cause?: unknown): OperationalError {
  return new OperationalError('ATLAS_CERTIFICATE', `Cannot use the TSIG secret of ${secretFile} (${origin}): ${reason}`, cause)
}
