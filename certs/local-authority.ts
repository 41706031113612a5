import { createPrivateKey, X509Certificate } from 'node:crypto'
import { join } from 'node:path'
import { OperationalError, reasonOf } from '../dns/operational-error.ts'
import { PRIVATE_MODE, PUBLIC_MODE, readSmallFile, writeAtomic } from './disk.ts'
import { type Issued, type Issuer, issueCa } from './local-issue.ts'
import type { LocalNames } from './local-names.ts'
import { nameConstraintsExtension } from './name-constraints.ts'
import { certificateBlocks, hasEncryptedKey, privateKeyBlock } from './pem.ts'

/**
 * The CA on disk. `ca.key` holds the key and its certificate, so that one rename replaces both; `ca.pem` is the copy of the
 * certificate that clients are given, and is made good when it lags behind.
 */
export interface Authority extends Issuer {
  /** The CA that `ca.pem` gave to clients before, null when there was none. */
  readonly previous: X509Certificate | null
}

export interface AuthorityOptions {
  readonly stateDir: string
  readonly names: LocalNames
  /** Milliseconds since 1970. */
  readonly now: number
}

/**
 * The CA for exactly these names: the stored one, or a new one when there is none, when it is for other names, or at its end.
 * A CA that cannot be read is never replaced, since clients trust it: that throws OperationalError.
 */
export async function openAuthority({ stateDir, names, now }: AuthorityOptions): Promise<Authority> {
  const paths = { key: join(stateDir, 'ca.key'), cert: authorityPath(stateDir) }
  const published = readPublished(paths.cert)
  const stored = readStored(paths, published !== null)
  if (stored !== null) refuseFuture(stored.certificate, { path: paths.key, now })
  const previous = published ?? stored?.certificate ?? null
  if (stored !== null && isFor(stored.certificate, { names, now })) {
    await publish(paths.cert, { certificate: stored.certificate, published })
    return { ...stored, previous }
  }
  const issuer = await create(paths.key, await issueCa(names, now))
  await publish(paths.cert, { certificate: issuer.certificate, published })
  return { ...issuer, previous }
}

/** Whether a CA is there and openAuthority() would not keep it. */
export function isAuthorityForOthers({ stateDir, names, now }: AuthorityOptions): boolean {
  const cert = authorityPath(stateDir)
  const published = readPublished(cert)
  const stored = readStored({ key: join(stateDir, 'ca.key'), cert }, published !== null)
  return stored === null ? published !== null : !isFor(stored.certificate, { names, now })
}

export function authorityPath(stateDir: string): string {
  return join(stateDir, 'ca.pem')
}

/** A CA with less life than this is replaced at start: later there might be no start before its end. */
const MIN_LIFE_LEFT_MS = 30 * 86_400_000

/** The constraints have one encoding for one set of names, so the certificate is for them if it contains these octets. */
function isFor(certificate: X509Certificate, { names, now }: Omit<AuthorityOptions, 'stateDir'>): boolean {
  const lifeLeft = certificate.validToDate.getTime() - now
  return lifeLeft >= MIN_LIFE_LEFT_MS && certificate.raw.includes(nameConstraintsExtension(names))
}

async function create(path: string, { certPem, keyPem }: Issued): Promise<Issuer> {
  await writeAtomic(path, { text: keyPem + certPem, mode: PRIVATE_MODE })
  return { certificate: new X509Certificate(certPem), key: createPrivateKey(keyPem) }
}

async function publish(path: string, of: { certificate: X509Certificate; published: X509Certificate | null }): Promise<void> {
  if (of.published?.fingerprint256 === of.certificate.fingerprint256) return
  await writeAtomic(path, { text: of.certificate.toString(), mode: PUBLIC_MODE })
}

function readPublished(path: string): X509Certificate | null {
  const text = read(path)
  return text === null ? null : parseCertificate(text, path)
}

function readStored(paths: { key: string; cert: string }, isPublished: boolean): Issuer | null {
  const text = read(paths.key)
  if (text === null) {
    if (isPublished) throw damaged(`there is no key for ${paths.cert}`, paths.key)
    return null
  }
  const block = privateKeyBlock(text)
  if (block === null) throw damaged(hasEncryptedKey(text) ? 'the key is encrypted' : 'there is no private key in it', paths.key)
  const certificate = parseCertificate(text, paths.key)
  try {
    const key = createPrivateKey(block)
    if (certificate.checkPrivateKey(key)) return { certificate, key }
  } catch (error) {
    throw damaged('the private key in it is damaged', paths.key, error)
  }
  throw damaged('its key and its certificate do not match', paths.key)
}

function parseCertificate(text: string, path: string): X509Certificate {
  const [block] = certificateBlocks(text)
  if (block === undefined) throw damaged('there is no certificate in it', path)
  try {
    return new X509Certificate(block)
  } catch (error) {
    throw damaged('the certificate in it is damaged', path, error)
  }
}

function read(path: string): string | null {
  try {
    return readSmallFile(path)
  } catch (error) {
    throw damaged(reasonOf(error), path, error)
  }
}

/** A machine that starts with its clock in the past must not throw its CA away. */
function refuseFuture({ validFromDate }: X509Certificate, { path, now }: { path: string; now: number }): void {
  if (now >= validFromDate.getTime()) return
  const [from, clock] = [validFromDate.toISOString(), new Date(now).toISOString()]
  throw new OperationalError(
    'ATLAS_CERTIFICATE',
    `Cannot use the local CA: it is not valid before ${from}: the clock says ${clock}: ${path}: set the clock`,
  )
}

function damaged(reason: string, path: string, cause?: unknown): OperationalError {
  const advice = 'restore the file, or move ca.key and ca.pem away to have a new CA made, which clients must then trust anew'
  return new OperationalError('ATLAS_CERTIFICATE', `Cannot use the local CA: ${reason}: ${path}: ${advice}`, cause)
}
