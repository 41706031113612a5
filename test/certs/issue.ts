import 'reflect-metadata'
import { KeyObject, webcrypto, X509Certificate } from 'node:crypto'
import * as x509 from '@peculiar/x509'

/** A certificate of a test with its key; `certificate` and `key` are there to issue others with. */
export interface TestCertificate {
  readonly certPem: string
  readonly keyPem: string
  readonly certificate: X509Certificate
  readonly key: KeyObject
}

export interface TestCertificateParts {
  readonly names?: readonly string[]
  readonly addresses?: readonly string[]
  readonly subject?: string
  readonly isCa?: boolean
  /** Absent: self-signed. */
  readonly issuer?: { readonly certificate: X509Certificate; readonly key: KeyObject } | undefined
  /** Days from now. */
  readonly from?: number
  readonly until?: number
  readonly extensions?: readonly x509.Extension[]
}

export const DAY_MS = 86_400_000
const P256 = { name: 'ECDSA', namedCurve: 'P-256' }

export async function issue(parts: TestCertificateParts): Promise<TestCertificate> {
  const { names = [], addresses = [], subject = 'O=test', isCa = false, issuer, from = -1, until = 30, extensions = [] } = parts
  const keys = await webcrypto.subtle.generateKey(P256, true, ['sign', 'verify'])
  const alternatives = [
    ...names.map((value) => ({ type: 'dns' as const, value })),
    ...addresses.map((value) => ({ type: 'ip' as const, value })),
  ]
  const made = await x509.X509CertificateGenerator.create({
    subject,
    issuer: issuer === undefined ? subject : new x509.X509Certificate(issuer.certificate.raw).subjectName,
    notBefore: new Date(Date.now() + from * DAY_MS),
    notAfter: new Date(Date.now() + until * DAY_MS),
    publicKey: keys.publicKey,
    signingKey: issuer === undefined ? keys.privateKey : issuer.key.toCryptoKey(P256, false, ['sign']),
    extensions: [
      ...extensions,
      new x509.BasicConstraintsExtension(isCa, undefined, true),
      ...(alternatives.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(alternatives)]),
    ],
  })
  const certificate = new X509Certificate(Buffer.from(made.rawData))
  const key = KeyObject.from(keys.privateKey)
  return { certificate, key, certPem: certificate.toString(), keyPem: key.export({ type: 'pkcs8', format: 'pem' }) }
}
