import { createHash } from 'node:crypto'
import { OperationalError } from '../../../dns/operational-error.ts'
import { nameText, parseNameText } from '../../../dns/text-name.ts'
import type { AcmeIdentifier, Challenge } from '../challenge.ts'

const LABEL = '_acme-challenge'
/** RFC 1035 §2.3.4, without the root, as text. */
const MAX_NAME_TEXT = 253
/** Of a digest in hexadecimal: 128 bits. */
const DIGEST_LENGTH = 32

/** Seconds: whoever asks again wants to know what is there now. */
export const TTL_SECONDS = 1

/** A TXT record that shows the CA that a name is ours. */
export interface ChallengeRecord {
  readonly identifier: AcmeIdentifier
  /** Wire form; where the aliases of the name that the CA asks for lead. */
  readonly owner: Uint8Array
  readonly value: string
}

/** RFC 8555 §8.4: the name that the CA asks for, without its last dot. */
export function challengeName({ value }: AcmeIdentifier): string {
  return `${LABEL}.${value}`
}

/** In wire form. Throws OperationalError. */
export function challengeOwner(identifier: AcmeIdentifier): Uint8Array {
  const name = identifier.type === 'dns' ? parseNameText(challengeName(identifier)) : null
  // RFC 8738 §7: there is no such name for addresses
  if (name === null) throw unshown(identifier, 'it is no name that can be asked for with a label before it')
  return name
}

/** RFC 8555 §8.4. */
export function challengeValue({ keyAuthorization }: Challenge): string {
  return createHash('sha256').update(keyAuthorization).digest('base64url')
}

/**
 * What `_acme-challenge.<name>` has to be an alias (CNAME) of for the responder of `zone`: the name itself below the zone; where that
 * is too long for a name, a digest of it.
 */
export function aliasTarget(name: string, zone: string): string {
  const target = `${name}.${zone}`
  if (target.length <= MAX_NAME_TEXT) return target
  return `${createHash('sha256').update(name).digest('hex').slice(0, DIGEST_LENGTH)}.${zone}`
}

export function ownerText({ owner }: Pick<ChallengeRecord, 'owner'>): string {
  return nameText(owner, 0) ?? ''
}

export function unshown({ value }: AcmeIdentifier, reason: string, cause?: unknown): OperationalError {
  return new OperationalError('ATLAS_CERTIFICATE', `Cannot show the CA that ${value} is ours by dns-01: ${reason}`, cause)
}
