import { reasonOf } from '../dns/operational-error.ts'
import { readSmallFile } from './disk.ts'
import { type CertificateFiles, type Identity, parseIdentity, unusable } from './identity.ts'

/** Reads an identity from two PEM files (one file may hold both). Throws OperationalError that names the file and its origin. */
export function loadIdentityFiles({ cert, key, origin }: CertificateFiles): Identity {
  const source = { cert, key, origin }
  return parseIdentity({ chainPem: readPem('cert', source), keyPem: readPem('key', source), source })
}

function readPem(file: 'cert' | 'key', source: CertificateFiles): string {
  const text = readOrExplain(file, source)
  if (text === null) throw unusable('there is no such file', source, file)
  return text
}

function readOrExplain(file: 'cert' | 'key', source: CertificateFiles): string | null {
  try {
    return readSmallFile(source[file])
  } catch (error) {
    throw unusable(reasonOf(error), source, file, error)
  }
}
