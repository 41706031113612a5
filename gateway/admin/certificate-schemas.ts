import { z } from '@hono/zod-openapi'
import type * as control from './control.ts'
import { count, describing, list, time } from './schema-tools.ts'

const fingerprint = z.string().describe('SHA-256 of the certificate, hex pairs with colons.')

const PresentCertificate = z
  .object({
    key: z.string().describe('"ECDSA P-256", "RSA 2048", "Ed25519".'),
    names: list(z.string()),
    addresses: list(z.string()),
    notBefore: time('RFC 5280 §4.1.2.5.'),
    notAfter: time('RFC 5280 §4.1.2.5.'),
    daysLeft: z.number(),
    endsSoon: z.boolean().describe('Less than a sixth of its time is left.'),
    fingerprint,
  })
  .openapi('PresentCertificate')

const CertificateProblem = z
  .object({
    message: z.string(),
    since: time('Since when it is so.'),
    retriesAt: time('Null: when something changes.').nullable(),
    attempts: count('How often it was tried since then.'),
  })
  .openapi('CertificateProblem')

const CertificateRenewal = z
  .object({
    askedAt: time('When the first asked for it.'),
    outcome: z.enum(['running', 'renewed', 'failed']),
    message: z.string().nullable().describe('Null where it did not fail.'),
  })
  .openapi('CertificateRenewal')

const LocalAuthority = z.object({ file: z.string().describe('Absolute path of its certificate.'), fingerprint }).openapi('LocalAuthority')

export const CertificateStatus = describing<control.CertificateStatus>()(
  z
    .object({
      name: z.string().describe('The first of names.'),
      source: z.string().describe('"local CA", the file, or "ACME" and the host of the CA.'),
      names: list(z.string()).describe('What it is for: host names, wildcards, addresses.'),
      present: list(PresentCertificate).describe('What clients are shown, one for each kind of key; empty: there is none yet.'),
      renewsAt: time('Null: whoever writes the files renews it.').nullable(),
      // nullable() would lose the null beside the reference
      problem: z.union([CertificateProblem, z.null()]).describe('Why there is no new one; null: the last attempt succeeded.'),
      renewal: z.union([CertificateRenewal, z.null()]).describe('The last one that was asked for since the gateway started.'),
      authority: z.union([LocalAuthority, z.null()]).describe('What clients have to trust besides the usual roots; of the local CA only.'),
    })
    .openapi('CertificateStatus'),
)
