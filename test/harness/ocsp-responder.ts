import 'reflect-metadata'
import { createHash, type KeyObject, sign, type X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  BasicOCSPResponse,
  CertStatus,
  OCSPRequest,
  OCSPResponse,
  ResponderID,
  ResponseBytes,
  ResponseData,
  RevokedInfo,
  SingleResponse,
} from '@peculiar/asn1-ocsp'
import { AsnConvert, OctetString } from '@peculiar/asn1-schema'
import { AlgorithmIdentifier, Certificate, type Extension } from '@peculiar/asn1-x509'
import { AuthorityInfoAccessExtension, Extension as CertificateExtension, ExtendedKeyUsageExtension } from '@peculiar/x509'

const OCSP_BASIC = '1.3.6.1.5.5.7.48.1.1'
const ECDSA_WITH_SHA256 = '1.2.840.10045.4.3.2'
const MINUTE_MS = 60_000

export const OCSP_SIGNING = new ExtendedKeyUsageExtension(['1.3.6.1.5.5.7.3.9'])
/** RFC 7633: status_request. */
export const MUST_STAPLE = new CertificateExtension('1.3.6.1.5.5.7.1.24', false, Buffer.from('3003020105', 'hex'))

export function askAt(url: string): CertificateExtension {
  return new AuthorityInfoAccessExtension({ ocsp: [url] })
}

export interface ResponseParts {
  /** Who signs: the issuer, or whom it has allowed to. */
  readonly signer: { readonly certificate: X509Certificate; readonly key: KeyObject }
  readonly status?: 'good' | 'revoked' | 'unknown'
  /** Milliseconds from now; null: not said. */
  readonly from?: number
  readonly until?: number | null
  /** Go along. */
  readonly certificates?: readonly X509Certificate[]
  readonly byKey?: boolean
  readonly algorithm?: string
  readonly extensions?: Extension[]
  /** Changes what is answered before it is signed. */
  readonly alter?: (single: SingleResponse) => void
}

/** The response to a request, signed with ECDSA and SHA-256. */
export function ocspResponse(request: Uint8Array, parts: ResponseParts): Buffer {
  const { signer, status = 'good', from = -MINUTE_MS, until = 60 * MINUTE_MS, certificates = [], byKey = false } = parts
  const [asked] = AsnConvert.parse(request, OCSPRequest).tbsRequest.requestList
  const { subject, subjectPublicKeyInfo } = AsnConvert.parse(signer.certificate.raw, Certificate).tbsCertificate
  const at = (ms: number) => new Date(Math.floor((Date.now() + ms) / 1000) * 1000)
  const single = new SingleResponse({
    ...(asked !== undefined && { certID: asked.reqCert }),
    certStatus: new CertStatus(
      status === 'revoked' ? { revoked: new RevokedInfo({ revocationTime: at(-MINUTE_MS) }) } : { [status]: null },
    ),
    thisUpdate: at(from),
    ...(until !== null && { nextUpdate: at(until) }),
    ...(parts.extensions !== undefined && { singleExtensions: parts.extensions }),
  })
  parts.alter?.(single)
  const keyHash = createHash('sha1').update(Buffer.from(subjectPublicKeyInfo.subjectPublicKey)).digest()
  const tbsResponseData = new ResponseData({
    responderID: new ResponderID(byKey ? { byKey: new OctetString(keyHash) } : { byName: subject }),
    producedAt: at(0),
    responses: [single],
  })
  const signature = sign('sha256', Buffer.from(AsnConvert.serialize(tbsResponseData)), signer.key)
  const basic = new BasicOCSPResponse({
    tbsResponseData,
    signatureAlgorithm: new AlgorithmIdentifier({ algorithm: parts.algorithm ?? ECDSA_WITH_SHA256 }),
    signature: new Uint8Array(signature).buffer,
    ...(certificates.length > 0 && { certs: certificates.map(({ raw }) => AsnConvert.parse(raw, Certificate)) }),
  })
  const responseBytes = new ResponseBytes({ responseType: OCSP_BASIC, response: new OctetString(AsnConvert.serialize(basic)) })
  return Buffer.from(AsnConvert.serialize(new OCSPResponse({ responseStatus: 0, responseBytes })))
}

/** What comes back: a response, or an HTTP status; null: nothing. */
export type Reply = Buffer | number | null

export interface OcspResponder extends AsyncDisposable {
  readonly url: string
  /** Those that were asked. */
  readonly requests: readonly Buffer[]
  /** How it answers from now on. */
  answer: (request: Buffer) => Reply
  /** Resolves when so many have been asked in all. */
  asked(count: number): Promise<void>
}

/** A responder on the loopback interface (RFC 6960 appendix A), which does not answer yet. */
export async function ocspResponder(): Promise<OcspResponder> {
  const requests: Buffer[] = []
  const waiting = new Set<() => void>()
  const server = createServer(async (incoming, outgoing) => {
    const request = Buffer.concat(await incoming.toArray())
    requests.push(request)
    for (const look of waiting) look()
    const reply = responder.answer(request)
    if (reply === null) return
    if (typeof reply === 'number') outgoing.writeHead(reply, { location: responder.url }).end()
    else outgoing.writeHead(200, { 'content-type': 'application/ocsp-response' }).end(reply)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const responder: OcspResponder = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/ocsp`,
    requests,
    answer: () => null,
    asked: (count) =>
      new Promise((resolve) => {
        const look = (): void => {
          if (requests.length < count) return
          waiting.delete(look)
          resolve()
        }
        waiting.add(look)
        look()
      }),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
    },
  }
  return responder
}
