import assert from 'node:assert/strict'
import { createHash, createHmac, createPublicKey, type KeyObject, verify, type webcrypto } from 'node:crypto'

export type JsonWebKey = webcrypto.JsonWebKey

/** A JWS in the flattened form that ACME has (RFC 8555 §6.2). */
export interface Jws {
  readonly protected: string
  readonly payload: string
  readonly signature: string
}

export interface JwsHeader {
  readonly alg: string
  readonly url: string
  readonly nonce?: string
  readonly kid?: string
  readonly jwk?: JsonWebKey
}

export function headerOf(jws: Jws): JwsHeader {
  return JSON.parse(decode(jws.protected).toString()) as JwsHeader
}

/** Undefined for POST-as-GET. */
export function payloadOf(jws: Jws): unknown {
  return jws.payload === '' ? undefined : JSON.parse(decode(jws.payload).toString())
}

export function isSignedBy(jws: Jws, key: KeyObject): boolean {
  assert.equal(headerOf(jws).alg, 'ES256')
  return verify('sha256', signed(jws), { key, dsaEncoding: 'ieee-p1363' }, decode(jws.signature))
}

/** RFC 8555 §7.3.4. */
export function isBoundBy(jws: Jws, hmacKey: string): boolean {
  assert.equal(headerOf(jws).alg, 'HS256')
  return createHmac('sha256', decode(hmacKey)).update(signed(jws)).digest('base64url') === jws.signature
}

export function publicKeyOf(jwk: JsonWebKey): KeyObject {
  return createPublicKey({ key: jwk, format: 'jwk' })
}

/** RFC 7638, of an EC key. */
export function thumbprint({ crv, kty, x, y }: JsonWebKey): string {
  return createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url')
}

function signed(jws: Jws): Buffer {
  return Buffer.from(`${jws.protected}.${jws.payload}`)
}

function decode(text: string): Buffer {
  assert.match(text, /^[\w-]*$/, 'base64url without padding')
  return Buffer.from(text, 'base64url')
}
