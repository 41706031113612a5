import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, describe } from 'node:test'
import { stringify } from 'yaml'
import type { Config } from '../../gateway/config/config.ts'
import { diffForms } from '../../gateway/config/diff.ts'
import { type Form, formOf } from '../../gateway/config/form.ts'
import { loadConfig } from '../../gateway/config/load.ts'

const cwd = mkdtempSync(join(tmpdir(), 'atlas-form-'))
after(() => rmSync(cwd, { recursive: true }))

function load(source: string): Config {
  writeFileSync(join(cwd, 'atlas.yaml'), source)
  return loadConfig({ file: 'atlas.yaml', env: {}, cwd }).config
}

const FULL = `
listen:
  doh: [{ address: "0.0.0.0:443", access: [private, 198.51.100.0/24] }, "[::]:443"]
  dot: [{ address: "127.0.0.1:0", clientCa: clients.pem }]
  dns: []
  admin: { address: "127.0.0.1:9353", hosts: [atlas.example], tokenFile: token.txt }
public: { name: dns.example.net, addresses: [203.0.113.7], ports: { doh: 443 } }
access: { dns: [loopback, "2001:db8::/32"], encrypted: [], tokens: { file: /etc/atlas/tokens.txt } }
doh: { paths: [/dns-query, /other], http3: false, json: false, landing: false, proxy: "https://origin.example:8443", trustedProxies: [loopback, 192.0.2.0/24] }
tls:
  certificates: [{ cert: chain.pem, key: key.pem }, { pfx: own.p12 }, { pfx: own.p12, passwordFile: word.txt }]
  acme:
    - { names: [dns.example.net, 192.0.2.1], email: ops@example.net, profile: shortlived, keys: [ecdsa, rsa], preferredChain: Root X }
    - { names: ["*.example.net"], challenge: dns-01, dns: { hook: [./hook.sh, now], timeout: 1m, servers: [192.0.2.53] } }
    - names: [a.example]
      directory: https://ca.example/dir
      ca: root.pem
      eab: { keyId: me, keyFile: eab.key }
      challenge: dns-01
      dns: { update: "192.0.2.53:5353", zone: example, tsig: { name: key.example, secretFile: tsig.key } }
    - { names: [b.example], challenge: dns-01, dns: { responder: ["192.0.2.1:53"], zone: acme.example } }
    - { names: [c.example], challenge: http-01, http: ["192.0.2.1:80"] }
  minVersion: "1.2"
  ticketKeys: { file: tickets.txt }
upstreams:
  - { name: local, url: "udp://127.0.0.1:5300" }
  - { name: corp, url: "tls://192.0.2.54", serverName: dns.corp.example, ca: corp.pem, pins: [AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=] }
  - "tcp://[2001:db8::53]"
routes: [{ suffix: corp.example, upstreams: [corp, local] }, { suffix: ., upstreams: [local] }]
timeouts: { query: 1500ms, drain: 0s }
cache: { memory: 0, serveStale: 0, prefetch: false, persist: true }
edns: { padding: false }
workers: 3
limits: { connectionsPerClient: 7, idle: { quic: 20s } }
log: { level: warn, queries: sample:0.000000001 }
`

describe('formOf()', () => {
  for (const [name, source] of [
    ['the defaults', ''],
    ['every key', FULL],
    ['errors in the query log', 'log: { queries: errors }'],
  ] as const) {
    test(`is read again as the same configuration: ${name}`, () => {
      const form = formOf(load(source))
      assert.deepEqual(diffForms(form, formOf(load(stringify(form)))), [])
    })
  }

  test('uses the words of the operator', () => {
    const { access, listen } = formOf(load(FULL)) as { access: Form; listen: { doh: readonly unknown[] } }
    assert.deepEqual(access, { dns: ['loopback', '2001:db8::/32'], encrypted: [], tokens: { file: '/etc/atlas/tokens.txt' } })
    assert.deepEqual(listen.doh, [{ address: '0.0.0.0:443', access: ['private', '198.51.100.0/24'] }, '[::]:443'])
  })
})

describe('diffForms()', () => {
  test('names what comes, goes and changes', () => {
    const from = { a: 1, same: { x: [1] }, list: ['x', 'y', 'y'], section: { gone: true }, odd: ['x'] }
    const to = { a: 2, same: { x: [1] }, list: ['z', 'y', 'x'], section: {}, fresh: 'here', odd: 'x' }
    assert.deepEqual(diffForms(from, to), [
      { path: 'a', from: 1, to: 2 },
      { path: 'list', from: 'y', to: null },
      { path: 'list', from: null, to: 'z' },
      { path: 'section.gone', from: true, to: null },
      { path: 'odd', from: ['x'], to: 'x' },
      { path: 'fresh', from: null, to: 'here' },
    ])
  })

  test('has the whole list where only its order differs', () => {
    assert.deepEqual(diffForms({ list: [1, 2] }, { list: [2, 1] }), [{ path: 'list', from: [1, 2], to: [2, 1] }])
  })
})
