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
  readonly emails?: readonly string[]
  readonly uris?: readonly string[]
  /** Extended key usage, as object identifiers; absent: for any. */
  readonly usage?: readonly string[]
  readonly subject?: string | x509.Name
  readonly isCa?: boolean
  /** Absent: self-signed. */
  readonly issuer?: { readonly certificate: X509Certificate; readonly key: KeyObject } | undefined
  /** Days from now. */
  readonly from?: number
  readonly until?: number
  /** Of its own key; P-256 without it. */
  readonly algorithm?: webcrypto.EcKeyGenParams | webcrypto.RsaHashedKeyGenParams | webcrypto.Algorithm
  /** Of its signature. */
  readonly hash?: string
  readonly extensions?: readonly x509.Extension[]
}

export const DAY_MS = 86_400_000
const P256 = { name: 'ECDSA', namedCurve: 'P-256' }
const RSA = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }

export function rsa(modulusLength: number): webcrypto.RsaHashedKeyGenParams {
  return { ...RSA, modulusLength, publicExponent: Uint8Array.of(1, 0, 1) }
}

export async function issue(parts: TestCertificateParts): Promise<TestCertificate> {
  const {
    names = [],
    addresses = [],
    emails = [],
    uris = [],
    usage,
    subject = 'O=test',
    isCa = false,
    issuer,
    from = -1,
    until = 30,
    algorithm = P256,
    hash = 'SHA-256',
    extensions = [],
  } = parts
  const keys = (await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair
  const alternatives = [
    ...names.map((value) => ({ type: 'dns' as const, value })),
    ...addresses.map((value) => ({ type: 'ip' as const, value })),
    ...emails.map((value) => ({ type: 'email' as const, value })),
    ...uris.map((value) => ({ type: 'url' as const, value })),
  ]
  const signingKey = issuer === undefined ? keys.privateKey : signingKeyOf(issuer.key, hash)
  const made = await x509.X509CertificateGenerator.create({
    subject,
    issuer: issuer === undefined ? subject : new x509.X509Certificate(issuer.certificate.raw).subjectName,
    notBefore: new Date(Date.now() + from * DAY_MS),
    notAfter: new Date(Date.now() + until * DAY_MS),
    publicKey: keys.publicKey,
    signingKey,
    signingAlgorithm: { name: signingKey.algorithm.name, hash },
    extensions: [
      ...extensions,
      new x509.BasicConstraintsExtension(isCa, undefined, true),
      ...(usage === undefined ? [] : [new x509.ExtendedKeyUsageExtension([...usage])]),
      ...(alternatives.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(alternatives)]),
    ],
  })
  const certificate = new X509Certificate(Buffer.from(made.rawData))
  const key = KeyObject.from(keys.privateKey)
  return { certificate, key, certPem: certificate.toString(), keyPem: key.export({ type: 'pkcs8', format: 'pem' }) }
}

function signingKeyOf(key: KeyObject, hash: string): webcrypto.CryptoKey {
  return key.toCryptoKey(key.asymmetricKeyType === 'rsa' ? { ...RSA, hash } : P256, false, ['sign'])
}
