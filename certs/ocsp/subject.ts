import { X509Certificate } from 'node:crypto'
import { type Identity, isIssuedBy } from '../identity.ts'
import { certificateBlocks } from '../pem.ts'

/** A certificate, and the one that has issued it. */
export interface OcspSubject {
  readonly leaf: X509Certificate
  readonly issuer: X509Certificate
}

/** What a certificate wants of OCSP. */
export interface StapleWish {
  /** Null: the chain does not have the issuer. */
  readonly subject: OcspSubject | null
  /** The first responder over HTTP that the leaf names (RFC 6960 §3.1); null: there is none. */
  readonly responder: URL | null
  /** RFC 7633: clients are to accept the leaf with a staple only. */
  readonly mustStaple: boolean
}

export function stapleWish({ chainPem }: Identity): StapleWish {
  const [leafPem = '', issuerPem] = certificateBlocks(chainPem)
  const leaf = new X509Certificate(leafPem)
  const issuer = issuerPem === undefined ? null : new X509Certificate(issuerPem)
  return {
    subject: issuer === null || !isIssuedBy(leaf, issuer) ? null : { leaf, issuer },
    responder: responderOf(leaf),
    mustStaple: leaf.raw.includes(TLS_FEATURE_OID),
  }
}

/** OBJECT IDENTIFIER id-pe-tlsfeature, with tag and length: ten octets that nothing else in a certificate is. */
const TLS_FEATURE_OID = Buffer.from('06082b06010505070118', 'hex')

/** Node's text of the extension, a line for each entry; a value with odd characters is quoted, so it cannot forge another line. */
function responderOf({ infoAccess }: X509Certificate): URL | null {
  const [, url = ''] = /^OCSP - URI:(http:\/\/\S+)$/m.exec(infoAccess ?? '') ?? []
  return URL.parse(url)
}
