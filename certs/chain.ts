import { X509Certificate } from 'node:crypto'
import { getCACertificates } from 'node:tls'
import { isIssuedBy } from './identity.ts'
import { certificateBlocks } from './pem.ts'

/** Where a chain leads, for a client that knows some roots. */
export type ChainEnd =
  /** To a root that it knows. */
  | { readonly kind: 'known'; readonly root: string }
  /** To a root that it does not know: a private CA, or a certificate that vouches for itself. */
  | { readonly kind: 'private'; readonly root: string }
  /** Nowhere: the issuer of the last certificate is neither in the chain nor a root that it knows. */
  | { readonly kind: 'broken'; readonly issuer: string }
  /** To a certificate that has ended. Milliseconds since 1970. */
  | { readonly kind: 'expired'; readonly name: string; readonly notAfter: number }

/** Those that Node comes with, and those of NODE_EXTRA_CA_CERTS. */
export function usualRoots(): readonly X509Certificate[] {
  return getCACertificates('default').map((pem) => new X509Certificate(pem))
}

/** Follows a chain from its leaf upwards, as clients do: what stands behind a root that is known matters no more. */
export function followChain(chainPem: string, { roots, now }: { roots: readonly X509Certificate[]; now: number }): ChainEnd {
  const chain = certificateBlocks(chainPem).map((block) => new X509Certificate(block))
  for (const certificate of chain) {
    const notAfter = certificate.validToDate.getTime()
    if (now > notAfter) return { kind: 'expired', name: commonName(certificate.subject), notAfter }
    const root = roots.find((each) => isSame(each, certificate) || (each.subject === certificate.issuer && isIssuedBy(certificate, each)))
    if (root !== undefined) return { kind: 'known', root: commonName(root.subject) }
  }
  const { subject = '', issuer = '' } = chain.at(-1) ?? {}
  return subject === issuer ? { kind: 'private', root: commonName(subject) } : { kind: 'broken', issuer: commonName(issuer) }
}

function isSame(a: X509Certificate, b: X509Certificate): boolean {
  return a.subject === b.subject && a.raw.equals(b.raw)
}

/** Of Node's text of a distinguished name, "C=US\nCN=a": the common name, all of it where there is none. */
function commonName(distinguishedName: string): string {
  return /^CN=(.*)$/m.exec(distinguishedName)?.[1] ?? distinguishedName.replaceAll('\n', ', ')
}
