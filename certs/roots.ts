import { X509Certificate } from 'node:crypto'
import { OperationalError, reasonOf } from '../dns/operational-error.ts'
import { readSmallFile } from './disk.ts'
import { certificateBlocks, isPem } from './pem.ts'

/** Where roots come from: the file, and who named it ("atlas.yaml:12:7"). */
export interface RootsSource {
  readonly file: string
  readonly origin: string
}

/** PEM of the certificates in a file, to be trusted as roots. Throws OperationalError that names the file and its origin. */
export function loadRoots(source: RootsSource): readonly string[] {
  const text = readPem(source)
  const blocks = certificateBlocks(text)
  // TLS would take it for an empty list, and blame the server for an unknown issuer
  if (blocks.length === 0) throw unusable(isPem(text) ? 'there is no certificate in it' : 'it is not PEM', source)
  return blocks.map((block, i) => {
    try {
      return new X509Certificate(block).toString()
    } catch (error) {
      throw unusable(`certificate ${i + 1} in it is damaged`, source, error)
    }
  })
}

function readPem(source: RootsSource): string {
  let text: string | null
  try {
    text = readSmallFile(source.file)
  } catch (error) {
    throw unusable(reasonOf(error), source, error)
  }
  if (text === null) throw unusable('there is no such file', source)
  return text
}

function unusable(reason: string, { file, origin }: RootsSource, cause?: unknown): OperationalError {
  return new OperationalError('ATLAS_CERTIFICATE', `Cannot use CA file: ${reason}: ${file} (${origin})`, cause)
}
