import 'reflect-metadata'
import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import test, { before, describe } from 'node:test'
import * as x509 from '@peculiar/x509'
import { followChain, usualRoots } from '../../certs/chain.ts'
import { keyKindOf } from '../../certs/key-kind.ts'
import { issue, type TestCertificate } from './issue.ts'

let root: TestCertificate
let intermediate: TestCertificate
let leaf: TestCertificate

before(async () => {
  root = await issue({ subject: 'CN=Root, O=test', isCa: true })
  intermediate = await issue({ subject: 'CN=Between', isCa: true, issuer: root })
  leaf = await issue({ names: ['dns.example.net'], issuer: intermediate })
})

const end = (chain: readonly TestCertificate[], known: readonly TestCertificate[], now = Date.now()) =>
  followChain(chain.map(({ certPem }) => certPem).join(''), { roots: known.map(({ certificate }) => certificate), now })

describe('a chain', () => {
  test('leads to a root that is known, whether it is in the chain or not', () => {
    assert.deepEqual(end([leaf, intermediate], [root]), { kind: 'known', root: 'Root' })
    assert.deepEqual(end([leaf, intermediate, root], [root]), { kind: 'known', root: 'Root' })
    assert.deepEqual(end([root], [root]), { kind: 'known', root: 'Root' })
  })

  test('breaks where an intermediate certificate is missing', () => {
    assert.deepEqual(end([leaf], [root]), { kind: 'broken', issuer: 'Between' })
    assert.deepEqual(end([leaf, intermediate], []), { kind: 'broken', issuer: 'Root' })
  })

  test('may lead to a root that nobody knows by itself', async () => {
    assert.deepEqual(end([leaf, intermediate, root], []), { kind: 'private', root: 'Root' })
    const alone = await issue({ names: ['dns.example.net'] })
    assert.deepEqual(end([alone], [root]), { kind: 'private', root: 'O=test' })
  })

  test('is not held together by a name alone', async () => {
    const other = await issue({ subject: 'CN=Root, O=test', isCa: true })
    assert.deepEqual(end([leaf, intermediate], [other]), { kind: 'broken', issuer: 'Root' })
  })

  test('ends where a certificate has ended, but for what is behind a known root', async () => {
    const old = await issue({ subject: 'CN=Old', isCa: true, issuer: root, from: -9, until: -1 })
    const below = await issue({ names: ['dns.example.net'], issuer: old })
    assert.equal(end([below, old], [root]).kind, 'expired')
    const cross = await issue({ subject: 'CN=Old', isCa: true, from: -9, until: -1 })
    assert.deepEqual(end([leaf, intermediate, cross], [root]), { kind: 'known', root: 'Root' })
  })

  test('of public CAs is judged by the roots that Node has', () => {
    assert.ok(usualRoots().length > 50)
  })
})

test('a kind of key is named as people do', async () => {
  assert.equal(keyKindOf({ chainPem: leaf.certPem }), 'ECDSA P-256')
  assert.equal(keyKindOf({ chainPem: await certificateFor(generateKeyPairSync('rsa', { modulusLength: 2048 })) }), 'RSA 2048')
  assert.equal(keyKindOf({ chainPem: await certificateFor(generateKeyPairSync('ec', { namedCurve: 'secp384r1' })) }), 'ECDSA P-384')
  assert.equal(keyKindOf({ chainPem: await certificateFor(generateKeyPairSync('ed25519')) }), 'Ed25519')
})

/** PEM of a certificate for another kind of key than those of issue(). */
async function certificateFor({ publicKey }: { readonly publicKey: KeyObject }): Promise<string> {
  const made = await x509.X509CertificateGenerator.create({
    subject: 'CN=Other',
    issuer: 'CN=Root',
    publicKey: new x509.PublicKey(publicKey.export({ type: 'spki', format: 'der' })),
    signingKey: root.key.toCryptoKey({ name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign']),
  })
  return made.toString('pem')
}
