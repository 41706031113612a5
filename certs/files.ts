import { reasonOf } from '../dns/operational-error.ts'
import { readSmallFile, readSmallOctets } from './disk.ts'
import { type CertificateFiles, type Identity, parseClientIdentity, parseIdentity, unusable } from './identity.ts'
import { isPem } from './pem.ts'

/** A PKCS #12 container with the chain and the key, and who named it ("atlas.yaml:12:7"). */
export interface Pkcs12File {
  readonly pfx: string
  /** File with the password; null: there is none. */
  readonly passwordFile: string | null
  readonly origin: string
}

export type CertificateSource = CertificateFiles | Pkcs12File

/** The files of a certificate, the one that names it first. */
export function filesOf(source: CertificateSource): readonly string[] {
  if (!('pfx' in source)) return [source.cert, source.key]
  return source.passwordFile === null ? [source.pfx] : [source.pfx, source.passwordFile]
}

/** Where messages say that it comes from. */
export function filesNamed(source: CertificateSource): CertificateFiles {
  const { origin } = source
  return 'pfx' in source ? { cert: source.pfx, key: source.pfx, origin } : { cert: source.cert, key: source.key, origin }
}

/**
 * Reads the identity of a server from two PEM files (one file may hold both), or from a PKCS #12 container. `now`: as parseIdentity()
 * has it. Rejects with OperationalError that names the file and its origin.
 */
export async function loadIdentityFiles(source: CertificateSource, { now = Date.now() }: { now?: number | null } = {}): Promise<Identity> {
  const content = 'pfx' in source ? await readPkcs12(source) : readPair(source)
  return parseIdentity({ ...content, source: filesNamed(source), now })
}

/** The identity that a client shows, from two PEM files. Throws OperationalError that names the file and its origin. */
export function loadClientIdentity(source: CertificateFiles): Identity {
  return parseClientIdentity({ ...readPair(source), source: filesNamed(source) })
}

interface Content {
  readonly chainPem: string
  readonly keyPem: string
}

function readPair(source: CertificateFiles): Content {
  return { chainPem: readExisting(readSmallFile, source, 'cert'), keyPem: readExisting(readSmallFile, source, 'key') }
}

async function readPkcs12(source: Pkcs12File): Promise<Content> {
  const { passwordFile, origin } = source
  const named = filesNamed(source)
  const container = readExisting(readSmallOctets, named, 'cert')
  if (isPem(container.toString('latin1'))) throw unusable('it is PEM, which cert and key are for', named)
  const password = passwordFile === null ? '' : readExisting(readSmallFile, { cert: passwordFile, key: passwordFile, origin }, 'cert')
  // editors end the line
  const content = await open(container, { password: password.replace(/\r?\n$/, ''), named })
  if (content !== null) return content
  throw unusable(passwordFile === null ? 'it has a password, and no passwordFile is given' : `wrong password in ${passwordFile}`, named)
}

async function open(container: Buffer, { password, named }: { password: string; named: CertificateFiles }): Promise<Content | null> {
  // lazily: who has no such file is not to pay for the library
  const { openPkcs12 } = await import('./pkcs12/open.ts')
  try {
    return await openPkcs12(container, password)
  } catch (error) {
    throw unusable(reasonOf(error), named, 'cert', error)
  }
}

function readExisting<T>(read: (path: string) => T | null, source: CertificateFiles, file: 'cert' | 'key'): T {
  const content = readOrExplain(read, source, file)
  if (content === null) throw unusable('there is no such file', source, file)
  return content
}

function readOrExplain<T>(read: (path: string) => T, source: CertificateFiles, file: 'cert' | 'key'): T {
  try {
    return read(source[file])
  } catch (error) {
    throw unusable(reasonOf(error), source, file, error)
  }
}
