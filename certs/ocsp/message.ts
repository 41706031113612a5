import { createHash, verify, X509Certificate } from 'node:crypto'
import type { BasicOCSPResponse, CertID, ResponderID, SingleResponse } from '@peculiar/asn1-ocsp'
import type { Extension } from '@peculiar/asn1-x509'
import { isIssuedBy } from '../identity.ts'
import type { OcspSubject } from './subject.ts'

/** Times in milliseconds since 1970. */
export type OcspStatus =
  | { readonly kind: 'good'; readonly thisUpdate: number; readonly nextUpdate: number }
  | { readonly kind: 'revoked'; readonly revokedAt: number }

/** A request for one certificate without a nonce (RFC 5019 §2.1: such responses can be made ahead). */
export async function ocspRequest(subject: OcspSubject): Promise<Buffer> {
  const asn1 = await loadAsn1()
  const { schema, ocsp } = asn1
  const reqCert = certId(subject, asn1)
  const tbsRequest = new ocsp.TBSRequest({ requestList: [new ocsp.Request({ reqCert })] })
  return Buffer.from(schema.AsnConvert.serialize(new ocsp.OCSPRequest({ tbsRequest })))
}

/**
 * What a response says of the certificate, once all of RFC 6960 §3.2 holds; `now`: milliseconds since 1970. Throws an Error whose message
 * is the bare reason: only the caller knows who was asked.
 */
export async function readOcspResponse(octets: Uint8Array, { subject, now }: { subject: OcspSubject; now: number }): Promise<OcspStatus> {
  const asn1 = await loadAsn1()
  const { schema, ocsp } = asn1
  const response = parsed(() => schema.AsnConvert.parse(octets, ocsp.OCSPResponse))
  const { responseStatus, responseBytes } = response
  if (responseStatus !== ocsp.OCSPResponseStatus.successful) {
    throw new Error(`the responder says ${ocsp.OCSPResponseStatus[responseStatus] ?? responseStatus}`)
  }
  if (responseBytes?.responseType !== ID_PKIX_OCSP_BASIC) throw new Error('the response is of another kind than id-pkix-ocsp-basic')
  const basic = parsed(() => schema.AsnConvert.parse(responseBytes.response, ocsp.BasicOCSPResponse))
  checkSignature(basic, { issuer: subject.issuer, now, asn1 })
  const { responses, responseExtensions } = basic.tbsResponseData
  const wanted = certId(subject, asn1)
  const single = responses.find(({ certID }) => isSame(certID, wanted))
  if (single === undefined) throw new Error('the response is about other certificates')
  refuseCritical(responseExtensions)
  refuseCritical(single.singleExtensions)
  return statusOf(single, now)
}

const ID_PKIX_OCSP_BASIC = '1.3.6.1.5.5.7.48.1.1'
/** RFC 6960 §4.2.2.2: what a certificate needs to answer in its issuer's place. */
const ID_KP_OCSP_SIGNING = '1.3.6.1.5.5.7.3.9'
const ID_SHA1 = '1.3.14.3.2.26'
/** For responders whose clock is ahead. */
const TOLERANCE_MS = 300_000

/** By OID of the signature: kind of key, and hash. SHA-1 has been forged. */
const SIGNATURES: ReadonlyMap<string, { readonly key: string; readonly hash: string | null }> = new Map([
  ['1.2.840.113549.1.1.11', { key: 'rsa', hash: 'sha256' }],
  ['1.2.840.113549.1.1.12', { key: 'rsa', hash: 'sha384' }],
  ['1.2.840.113549.1.1.13', { key: 'rsa', hash: 'sha512' }],
  ['1.2.840.10045.4.3.2', { key: 'ec', hash: 'sha256' }],
  ['1.2.840.10045.4.3.3', { key: 'ec', hash: 'sha384' }],
  ['1.2.840.10045.4.3.4', { key: 'ec', hash: 'sha512' }],
  ['1.3.101.112', { key: 'ed25519', hash: null }],
])

/** Some 20 ms, so only when there is a responder to ask. */
async function loadAsn1() {
  const [schema, x509, ocsp] = await Promise.all([
    import('@peculiar/asn1-schema'),
    import('@peculiar/asn1-x509'),
    import('@peculiar/asn1-ocsp'),
  ])
  return { schema, x509, ocsp }
}

type Asn1 = Awaited<ReturnType<typeof loadAsn1>>

function parsed<T>(parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    throw new Error('the response is no OCSP response', { cause: error })
  }
}

/** RFC 6960 §4.1.1. SHA-1 (RFC 5019 §2.1.1), which every responder knows: it only names the issuer. */
function certId({ leaf, issuer }: OcspSubject, asn1: Asn1): CertID {
  const { schema, x509, ocsp } = asn1
  const { serialNumber, issuer: name } = schema.AsnConvert.parse(leaf.raw, x509.Certificate).tbsCertificate
  return new ocsp.CertID({
    hashAlgorithm: new x509.AlgorithmIdentifier({ algorithm: ID_SHA1, parameters: null }),
    issuerNameHash: new schema.OctetString(sha1(schema.AsnConvert.serialize(name))),
    issuerKeyHash: new schema.OctetString(keyHash(issuer, asn1)),
    serialNumber,
  })
}

/** Parameters of the hash may be absent or NULL. */
function isSame(one: CertID, other: CertID): boolean {
  return (
    one.hashAlgorithm.algorithm === other.hashAlgorithm.algorithm &&
    isEqual(one.issuerNameHash.buffer, other.issuerNameHash.buffer) &&
    isEqual(one.issuerKeyHash.buffer, other.issuerKeyHash.buffer) &&
    isEqual(one.serialNumber, other.serialNumber)
  )
}

/** RFC 6960 §4.2.2.2: by the issuer itself, or by whom it has given a certificate for that. */
function checkSignature(basic: BasicOCSPResponse, { issuer, now, asn1 }: { issuer: X509Certificate; now: number; asn1: Asn1 }): void {
  const { tbsResponseData, tbsResponseDataRaw, signature, signatureAlgorithm, certs = [] } = basic
  const enclosed = parsed(() => certs.map((each) => new X509Certificate(Buffer.from(asn1.schema.AsnConvert.serialize(each)))))
  const signer = signerOf([issuer, ...enclosed], tbsResponseData.responderID, asn1)
  if (signer === null) throw new Error('the response has no certificate of who has signed it')
  if (signer !== issuer) checkDelegate(signer, { issuer, now })
  const kind = SIGNATURES.get(signatureAlgorithm.algorithm)
  if (kind === undefined || kind.key !== signer.publicKey.asymmetricKeyType) {
    throw new Error(`the response is signed by another algorithm than those in use: ${signatureAlgorithm.algorithm}`)
  }
  const signed = tbsResponseDataRaw ?? new ArrayBuffer(0)
  if (!verify(kind.hash, Buffer.from(signed), signer.publicKey, Buffer.from(signature))) throw new Error('the signature is wrong')
}

/** RFC 6960 §4.2.1: by name, or by the hash of the key. */
function signerOf(candidates: readonly X509Certificate[], { byName, byKey }: ResponderID, asn1: Asn1): X509Certificate | null {
  const { schema, x509 } = asn1
  if (byKey !== undefined) return candidates.find((each) => isEqual(byKey.buffer, keyHash(each, asn1))) ?? null
  const name = schema.AsnConvert.serialize(byName)
  const nameOf = ({ raw }: X509Certificate) =>
    schema.AsnConvert.serialize(schema.AsnConvert.parse(raw, x509.Certificate).tbsCertificate.subject)
  return candidates.find((each) => isEqual(name, nameOf(each))) ?? null
}

/** Whether its own certificate is revoked is not asked: such certificates are short-lived, or say id-pkix-ocsp-nocheck (RFC 6960 §4.2.2.2.1). */
function checkDelegate(signer: X509Certificate, { issuer, now }: { issuer: X509Certificate; now: number }): void {
  if (!isIssuedBy(signer, issuer)) throw new Error('who has signed the response has no certificate of the issuer')
  if (signer.keyUsage?.includes(ID_KP_OCSP_SIGNING) !== true) throw new Error('who has signed the response may not sign OCSP responses')
  if (now < signer.validFromDate.getTime() || now > signer.validToDate.getTime()) {
    throw new Error('the certificate of who has signed the response is out of date')
  }
}

/** RFC 6960 §4.4: what is critical and unknown must be rejected, and we know none. */
function refuseCritical(extensions: readonly Extension[] | undefined): void {
  const critical = extensions?.find((extension) => extension.critical)
  if (critical !== undefined) throw new Error(`the response has a critical extension that is unknown: ${critical.extnID}`)
}

function statusOf({ certStatus, thisUpdate, nextUpdate }: SingleResponse, now: number): OcspStatus {
  if (thisUpdate.getTime() > now + TOLERANCE_MS) throw new Error(`the response is from the future: ${thisUpdate.toISOString()}`)
  // RFC 5019 §2.2.4: without it nobody could say how long the response may be kept
  if (nextUpdate === undefined) throw new Error('the response does not say until when it is good')
  if (nextUpdate.getTime() <= now) throw new Error(`the response is out of date: ${nextUpdate.toISOString()}`)
  if (certStatus.revoked !== undefined) return { kind: 'revoked', revokedAt: certStatus.revoked.revocationTime.getTime() }
  if (certStatus.good === undefined) throw new Error('the responder does not know the certificate')
  return { kind: 'good', thisUpdate: thisUpdate.getTime(), nextUpdate: nextUpdate.getTime() }
}

/** RFC 6960 §4.1.1: of the key without tag, length and unused bits. */
function keyHash({ raw }: X509Certificate, { schema, x509 }: Asn1): Buffer {
  return sha1(schema.AsnConvert.parse(raw, x509.Certificate).tbsCertificate.subjectPublicKeyInfo.subjectPublicKey)
}

function sha1(octets: ArrayBuffer): Buffer {
  return createHash('sha1').update(Buffer.from(octets)).digest()
}

function isEqual(one: ArrayBuffer | Uint8Array, other: ArrayBuffer | Uint8Array): boolean {
  return Buffer.compare(octetsOf(one), octetsOf(other)) === 0
}

function octetsOf(value: ArrayBuffer | Uint8Array): Uint8Array {
  return value instanceof Uint8Array ? value : new Uint8Array(value)
}
