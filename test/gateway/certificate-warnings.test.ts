import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { acmeNeeds } from '../../gateway/assembly/acme-needs.ts'
import { certificateWarnings } from '../../gateway/assembly/certificate-warnings.ts'
import type { AcmeConfig, Config } from '../../gateway/config/config.ts'
import { TLS, testConfig } from '../harness/gateway.ts'
import { ANYWHERE, listen } from '../harness/reload.ts'

const ENTRY: AcmeConfig = {
  directory: 'https://ca.example/directory',
  email: null,
  names: ['dns.example'],
  challenge: 'tls-alpn-01',
  http: [],
  dns: null,
  ca: null,
  eab: null,
  profile: null,
  preferredChain: null,
  keys: ['ecdsa'],
  origin: 'test:1:1',
}
const WANTING = { ...ANYWHERE, clientCa: { file: 'clients.pem', origin: 'test:1:1' } }
const CLEARTEXT = { ...ANYWHERE, cleartext: true }

/** Of a configuration with certificates of CAs alone. */
function warnings(acme: readonly AcmeConfig[], { doh = [ANYWHERE], dot = [ANYWHERE], doq = [] }: Partial<Config['listen']>, rest = {}) {
  return certificateWarnings(testConfig([], { ...listen({ doh, dot, doq }), tls: { ...TLS, acme }, ...rest }), [])
}

describe('certificateWarnings() of tls-alpn-01', () => {
  for (const [what, places, expected] of [
    [
      'for which nothing has TLS',
      { doh: [CLEARTEXT], dot: [], doq: [ANYWHERE] },
      /^tls\.acme: tls-alpn-01 needs an address .* there is none: /,
    ],
    [
      'where every address wants client certificates',
      { doh: [CLEARTEXT, WANTING], dot: [WANTING] },
      /^tls\.acme: all addresses .* have clientCa/,
    ],
  ] as const) {
    test(`says so ${what}`, () => {
      const [warning = '', ...none] = warnings([ENTRY], places)
      assert.match(warning, expected)
      assert.match(warning, /add one without clientCa, or choose challenge http-01 or dns-01$/)
      assert.deepEqual(none, [])
      assert.deepEqual(warnings([{ ...ENTRY, challenge: 'http-01' }], places), [])
    })
  }

  test('has nothing to say where a CA finds one address, also behind a load balancer', () => {
    const proxied = { ...ANYWHERE, endpoint: { host: '127.0.0.1', port: 443 }, proxyProtocol: [] }
    assert.deepEqual(warnings([ENTRY], { doh: [WANTING], dot: [proxied] }), [])
    const [, need = ''] = acmeNeeds(ENTRY, testConfig([], listen({ doh: [WANTING], dot: [proxied] })))
    assert.match(need, /leading to 127\.0\.0\.1:443$/)
    assert.deepEqual(warnings([ENTRY], { doh: [WANTING, ANYWHERE], dot: [] }), [])
  })
})

test('certificateWarnings() knows the names of certificates that have still to come', () => {
  const named = { public: { ...testConfig([]).public, name: 'dns.example' } }
  assert.deepEqual(warnings([ENTRY], {}, named), [])
  const other = { ...ENTRY, names: ['other.example'] }
  assert.match(warnings([other], {}, named).join(), /^public\.name: no certificate is for dns\.example/)
  assert.match(warnings([ENTRY, other], { doq: [ANYWHERE] }, named).join(), /^tls: .* it is not for other\.example$/)
})
