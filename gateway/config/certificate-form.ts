import * as z from 'zod'
import { filePath, settings } from './fields.ts'
import { MAX_CERTIFICATE_ENTRIES } from './knobs.ts'

const PEM_FILE = 'a PEM file'

/** One entry of `tls.certificates`. */
export type CertificateForm =
  | { readonly cert: string; readonly key: string }
  | { readonly pfx: string; readonly passwordFile?: string | undefined }

const entry = settings({
  cert: filePath(PEM_FILE).optional().describe('PEM file: the certificate, then its intermediates'),
  key: filePath(PEM_FILE).optional().describe('PEM file: the private key'),
  pfx: filePath('a PKCS #12 file').optional().describe('in place of cert and key: PKCS #12 file (.p12, .pfx) with all of them'),
  passwordFile: filePath('a file').optional().describe('with pfx: file with its password, on one line'),
}).transform(parseEntry)

export const certificates = z
  .array(entry, { error: 'expected a list of { cert, key } or { pfx, passwordFile }' })
  .max(MAX_CERTIFICATE_ENTRIES, { error: `expected at most ${MAX_CERTIFICATE_ENTRIES} certificates` })

interface Written {
  readonly cert?: string | undefined
  readonly key?: string | undefined
  readonly pfx?: string | undefined
  readonly passwordFile?: string | undefined
}

/** What goes together, and what does not. */
function parseEntry({ cert, key, pfx, passwordFile }: Written, context: z.core.$RefinementCtx): CertificateForm {
  const issue = (path: readonly string[], message: string): void => context.addIssue({ code: 'custom', path: [...path], message })
  if (pfx !== undefined) {
    if (cert === undefined && key === undefined) return { pfx, passwordFile }
    issue(['pfx'], 'expected either cert and key, or pfx')
    return z.NEVER
  }
  if (passwordFile !== undefined) issue(['passwordFile'], 'expected only beside pfx')
  if (cert !== undefined && key !== undefined) return { cert, key }
  if (cert === undefined) issue(['cert'], `expected the path of ${PEM_FILE}`)
  if (key === undefined) issue(['key'], `expected the path of ${PEM_FILE}`)
  return z.NEVER
}
