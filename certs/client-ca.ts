import { createHash } from 'node:crypto'
import type { ClientCa } from '../net/tls.ts'
import { loadRoots, type RootsSource } from './roots.ts'

/** OpenSSL's limit on the context of sessions, which the id is. */
const ID_LENGTH = 32

/** The roots that the certificates of clients have to lead to. Throws OperationalError that names the file and its origin. */
export function loadClientCa(source: RootsSource): ClientCa {
  const roots = loadRoots(source)
  return { roots, id: createHash('sha256').update(roots.join('')).digest('hex').slice(0, ID_LENGTH) }
}
