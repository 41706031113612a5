import 'reflect-metadata'
import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { Name } from '@peculiar/x509'
import { Failure } from '../../dns/failure.ts'
import { refusalOf } from '../../transports/access.ts'
import { holderOfCertificate } from '../../transports/client-certificate.ts'
import { DAY_MS, issue, type TestCertificateParts } from '../certs/issue.ts'

const CA = { id: 'a', roots: [] }

async function holderOf(parts: TestCertificateParts, now = Date.now()) {
  return holderOfCertificate((await issue(parts)).certificate, CA, now)
}

describe('the holder of a certificate', () => {
  const named = async (parts: TestCertificateParts) => (await holderOf(parts))?.name

  test('is called by the first name, mail address or URI, or by the common name', async () => {
    const subject = 'CN=Alice, O=Example'
    assert.equal(await named({ subject, names: ['alice.example', 'b.example'], emails: ['a@example'] }), 'alice.example')
    assert.equal(await named({ subject, addresses: ['192.0.2.1'], emails: ['a@example'], uris: ['https://a.example/'] }), 'a@example')
    assert.equal(await named({ subject, uris: ['spiffe://example/alice'] }), 'spiffe://example/alice')
    assert.equal(await named({ subject, addresses: ['192.0.2.1'] }), 'Alice')
    assert.equal(await named({ subject: 'CN=Alice, CN=Bob' }), 'Alice')
  })

  test('is called by the fingerprint where nothing else can be shown', async () => {
    for (const subject of ['O=Example', 'CN=\u0007\u202e']) assert.match((await named({ subject })) ?? '', /^[0-9A-F]{64}$/)
  })

  test('has a name that cannot break a line, turn what is shown, forge another name, or be long', async () => {
    const commonName = (utf8String: string) => new Name([{ CN: [{ utf8String }] }])
    assert.equal(await named({ subject: commonName('a\u0000\r\n\u2028\u202eb') }), 'a b')
    assert.equal(await named({ subject: commonName('\u{1f600}'.repeat(70)) }), '\u{1f600}'.repeat(64))
    assert.equal(await named({ uris: [`https://${'a'.repeat(100)}/`] }), `https://${'a'.repeat(56)}`)
    assert.equal(await named({ subject: 'CN=Alice', uris: ['x, DNS:bob'] }), '"x\\u002c DNS:bob"')
  })

  test('is counted by the key, whatever it is called', async () => {
    const alice = await issue({ subject: 'CN=Alice' })
    const accounts = [alice, alice, await issue({ subject: 'CN=Alice' })].map(
      ({ certificate }) => holderOfCertificate(certificate, CA, Date.now())?.account ?? assert.fail(),
    )
    assert.deepEqual(accounts[0], accounts[1])
    assert.notDeepEqual(accounts[0], accounts[2])
    assert.deepEqual([accounts[0]?.length, accounts[0]?.[0]], [16, 0xff])
  })

  test('is nobody without one, and when it has expired, also where a session is resumed', async () => {
    assert.equal(holderOfCertificate(undefined, CA, 0), null)
    const { certificate } = await issue({ until: 1 })
    assert.ok(holderOfCertificate(certificate, CA, Date.now()))
    assert.equal(holderOfCertificate(certificate, CA, Date.now() + 2 * DAY_MS), null)
  })

  test('may ask where certificates are asked for, and only below the same roots', async () => {
    const alice = await holderOf({ subject: 'CN=Alice' })
    const wanting = (clientCa: typeof CA) => ({ has: () => true, tokens: { holderOf: () => null, has: () => false }, clientCa })
    const octets = new Uint8Array(16)
    assert.equal(refusalOf(octets, alice, wanting(CA)), null)
    assert.equal(refusalOf(octets, alice, wanting({ id: 'b', roots: [] })), Failure.access_denied)
    assert.equal(refusalOf(octets, null, wanting(CA)), Failure.access_denied)
    assert.equal(refusalOf(octets, alice, { ...wanting(CA), has: () => false }), Failure.access_denied)
    // and is no token
    assert.equal(refusalOf(octets, alice, { ...wanting(CA), clientCa: null }), Failure.token_required)
  })
})
