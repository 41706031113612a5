import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { Extension } from '@peculiar/asn1-x509'
import { type Identity, parseIdentity } from '../../certs/identity.ts'
import { askResponder } from '../../certs/ocsp/ask.ts'
import { ocspRequest, readOcspResponse } from '../../certs/ocsp/message.ts'
import { type OcspSubject, stapleWish } from '../../certs/ocsp/subject.ts'
import {
  askAt,
  MUST_STAPLE,
  OCSP_SIGNING,
  type OcspResponder,
  ocspResponder,
  ocspResponse,
  type ResponseParts,
} from '../harness/ocsp-responder.ts'
import { issue, type TestCertificate, type TestCertificateParts } from './issue.ts'

const HOUR_MS = 3_600_000
const root = await issue({ subject: 'CN=test root', isCa: true })
const stranger = await issue({ subject: 'CN=stranger', isCa: true })

/** With the root in its chain, unless it is to be alone. */
function identityOf({ certPem, keyPem }: TestCertificate, isAlone = false): Identity {
  return parseIdentity({ chainPem: isAlone ? certPem : certPem + root.certPem, keyPem, source: { cert: 'c', key: 'k', origin: 'test' } })
}

function leaf(url: string, parts: TestCertificateParts = {}): Promise<TestCertificate> {
  return issue({ issuer: root, names: ['leaf.test'], extensions: [askAt(url)], ...parts })
}

describe('stapleWish()', () => {
  const url = 'http://ocsp.example/a'
  test('finds the responder, the issuer, and whether clients insist', async () => {
    const made = await leaf(url)
    const { subject, responder, mustStaple } = stapleWish(identityOf(made))
    assert.deepEqual([subject?.issuer.fingerprint256, responder?.href, mustStaple], [root.certificate.fingerprint256, url, false])
    assert.equal(stapleWish(identityOf(made, true)).subject, null)
    const insisting = await leaf(url, { extensions: [MUST_STAPLE] })
    assert.deepEqual([stapleWish(identityOf(insisting)).responder, stapleWish(identityOf(insisting)).mustStaple], [null, true])
  })

  for (const odd of ['https://ocsp.example/', 'ldap://ocsp.example/', 'http://a b/', 'x\nOCSP - URI:http://forged.example/', 'http://']) {
    test(`asks nobody at ${JSON.stringify(odd)}`, async () => {
      assert.equal(stapleWish(identityOf(await leaf(odd))).responder, null)
    })
  }
})

describe('readOcspResponse()', async () => {
  const made = await leaf('http://127.0.0.1:1/')
  const subject: OcspSubject = { leaf: made.certificate, issuer: root.certificate }
  const request = await ocspRequest(subject)
  const read = (response: Uint8Array) => readOcspResponse(response, { subject, now: Date.now() })
  const respond = (parts: Partial<ResponseParts> = {}) => ocspResponse(request, { signer: root, ...parts })
  const delegate = await issue({ subject: 'CN=delegate', issuer: root, extensions: [OCSP_SIGNING] })

  test('takes what the issuer says, or whom it has allowed to', async () => {
    for (const parts of [
      {},
      { byKey: true },
      { signer: delegate, certificates: [delegate.certificate] },
      { signer: delegate, byKey: true, certificates: [stranger.certificate, delegate.certificate] },
    ]) {
      const status = await read(respond(parts))
      assert.ok(status.kind === 'good')
      assert.equal(status.nextUpdate - status.thisUpdate, 61 * 60_000)
    }
    const status = await read(respond({ status: 'revoked' }))
    assert.ok(status.kind === 'revoked')
    assert.ok(Math.abs(Date.now() - 60_000 - status.revokedAt) < 5000)
  })

  const [unauthorized, expired, ofStranger, other] = await Promise.all([
    issue({ subject: 'CN=no ocsp', issuer: root }),
    issue({ subject: 'CN=expired', issuer: root, from: -9, until: -1, extensions: [OCSP_SIGNING] }),
    issue({ subject: 'CN=of a stranger', issuer: stranger, extensions: [OCSP_SIGNING] }),
    leaf('http://127.0.0.1:1/'),
  ])
  const aboutOther = await ocspRequest({ leaf: other.certificate, issuer: root.certificate })
  const ofOtherIssuer = await ocspRequest({ leaf: made.certificate, issuer: stranger.certificate })
  const by = (signer: TestCertificate) => ({ signer, certificates: [signer.certificate] })
  const critical = new Extension({ extnID: '1.2.3', critical: true })
  for (const [what, response, reason] of [
    ['no ASN.1', Buffer.from('<html>'), 'the response is no OCSP response'],
    ['nothing', Buffer.alloc(0), 'the response is no OCSP response'],
    ['a tower of sequences', Buffer.alloc(60_000, '3080', 'hex'), 'the response is no OCSP response'],
    ['an error', Buffer.from('30030a0106', 'hex'), 'the responder says unauthorized'],
    ['an error that nobody knows', Buffer.from('30030a0109', 'hex'), 'the responder says 9'],
    ['a success without a response', Buffer.from('30030a0100', 'hex'), 'the response is of another kind than id-pkix-ocsp-basic'],
    ['another certificate', ocspResponse(aboutOther, { signer: root }), 'the response is about other certificates'],
    ['another issuer’s certificate', ocspResponse(ofOtherIssuer, { signer: root }), 'the response is about other certificates'],
    ['a stranger’s word', respond({ signer: stranger }), 'the response has no certificate of who has signed it'],
    ['a delegate’s word alone', respond({ signer: delegate }), 'the response has no certificate of who has signed it'],
    ['a stranger’s delegate', respond(by(ofStranger)), 'who has signed the response has no certificate of the issuer'],
    ['a stranger that comes along', respond(by(stranger)), 'who has signed the response has no certificate of the issuer'],
    ['another certificate of the issuer', respond(by(unauthorized)), 'who has signed the response may not sign OCSP responses'],
    ['an old delegate', respond(by(expired)), 'the certificate of who has signed the response is out of date'],
    ['a forged signature', respond({ signer: { ...root, key: stranger.key } }), 'the signature is wrong'],
    [
      'another algorithm',
      respond({ algorithm: '1.2.840.113549.1.1.11' }),
      'the response is signed by another algorithm than those in use: 1.2.840.113549.1.1.11',
    ],
    [
      'SHA-1',
      respond({ algorithm: '1.2.840.10045.4.1' }),
      'the response is signed by another algorithm than those in use: 1.2.840.10045.4.1',
    ],
    ['no end', respond({ until: null }), 'the response does not say until when it is good'],
    ['an unknown certificate', respond({ status: 'unknown' }), 'the responder does not know the certificate'],
    ['what it may not leave out', respond({ extensions: [critical] }), 'the response has a critical extension that is unknown: 1.2.3'],
  ] as const) {
    test(`refuses ${what}`, async () => {
      await assert.rejects(read(response), { message: reason })
    })
  }

  test('refuses what is out of date, or from the future', async () => {
    await assert.rejects(read(respond({ from: -HOUR_MS, until: -1000 })), /^Error: the response is out of date: 20/)
    await assert.rejects(read(respond({ from: HOUR_MS, until: 2 * HOUR_MS })), /^Error: the response is from the future: 20/)
    assert.equal((await read(respond({ from: 240_000 }))).kind, 'good')
  })

  test('throws nothing but reasons, whatever octet of a response is another one', async () => {
    const response = respond(by(delegate))
    for (let at = 0; at < response.length; at += 3) {
      const damaged = Buffer.from(response)
      damaged.writeUInt8((damaged.readUInt8(at) + 1) % 256, at)
      await read(damaged).then(
        // what is not signed may differ
        ({ kind }) => assert.equal(kind, 'good'),
        (error: Error) => assert.match(error.message, /^(the |who )/),
      )
    }
  })
})

describe('askResponder()', () => {
  const ask = (responder: OcspResponder, signal = new AbortController().signal) =>
    askResponder(new URL(responder.url), { request: Buffer.from('request'), signal })

  test('takes at most 64 KiB, of who stands in the certificate', async () => {
    await using responder = await ocspResponder()
    responder.answer = () => Buffer.alloc(65_536)
    assert.equal((await ask(responder)).length, 65_536)
    assert.equal(String(responder.requests[0]), 'request')
    responder.answer = () => Buffer.alloc(65_537)
    await assert.rejects(ask(responder), /expected at most 65536 octets: received more/)
    for (const status of [302, 500]) {
      responder.answer = () => status
      await assert.rejects(ask(responder), { message: `expected status 200: received ${status}` })
    }
    assert.equal(responder.requests.length, 4)
  })

  test('ends when it is told to, and when nobody is there', async () => {
    await using responder = await ocspResponder()
    const stop = new AbortController()
    const asked = assert.rejects(ask(responder, stop.signal))
    await responder.asked(1)
    stop.abort()
    await asked
    await assert.rejects(askResponder(new URL('http://127.0.0.1:1/'), { request: Buffer.alloc(1), signal: AbortSignal.abort() }))
  })
})
