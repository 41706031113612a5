import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, describe } from 'node:test'
import type { AcmeConfig } from '../../gateway/config/config.ts'
import { ConfigError, loadConfig } from '../../gateway/config/load.ts'

const cwd = mkdtempSync(join(tmpdir(), 'atlas-acme-'))
after(() => rmSync(cwd, { recursive: true }))

function load(acme: string): readonly AcmeConfig[] {
  writeFileSync(join(cwd, 'atlas.yaml'), `tls:\n  acme: ${acme}\n`)
  return loadConfig({ file: 'atlas.yaml', env: {}, cwd }).config.tls.acme
}

/** All problems, a line each, without the name of the file. */
function problems(acme: string): readonly string[] {
  try {
    load(acme)
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error))
    return error.message.split('\n').map((line) => line.replace(/^atlas\.yaml:2:/, ''))
  }
  throw new Error('The configuration was accepted')
}

describe('tls.acme', () => {
  test('needs no more than names', () => {
    assert.deepEqual(load('{ names: [DNS.Example.net] }'), [
      {
        directory: 'https://acme-v02.api.letsencrypt.org/directory',
        email: null,
        names: ['dns.example.net'],
        challenge: 'tls-alpn-01',
        http: [
          { host: '0.0.0.0', port: 80 },
          { host: '::', port: 80 },
        ],
        dns: null,
        ca: null,
        eab: null,
        profile: null,
        preferredChain: null,
        keys: ['ecdsa'],
        origin: 'atlas.yaml:2:9',
      },
    ])
  })

  test('is a map or a list of maps, with files relative to the configuration', () => {
    const [first, second] = load('[{ names: [a.example] }, { names: [b.example], eab: { keyId: me, keyFile: eab.key }, ca: root.pem }]')
    assert.deepEqual([first?.origin, second?.origin], ['atlas.yaml:2:10', 'atlas.yaml:2:34'])
    assert.deepEqual(second?.eab, { keyId: 'me', keyFile: join(cwd, 'eab.key'), origin: 'atlas.yaml:2:61' })
    assert.deepEqual(second?.ca, { file: join(cwd, 'root.pem'), origin: 'atlas.yaml:2:98' })
  })

  test('takes words for the directories of Let’s Encrypt, and addresses in any notation', () => {
    const [entry] = load('{ directory: letsencrypt-staging, names: ["2001:DB8:0::7", 192.0.2.1] }')
    assert.equal(entry?.directory, 'https://acme-staging-v02.api.letsencrypt.org/directory')
    assert.deepEqual(entry?.names, ['2001:db8::7', '192.0.2.1'])
  })

  test('makes the record of dns-01 in one of three ways', () => {
    const dns = (form: string) => load(`{ names: ["*.example.net"], challenge: dns-01, dns: ${form} }`)[0]?.dns
    const servers = [{ host: '192.0.2.53', port: 53 }]
    assert.deepEqual(dns('{ hook: [./hook.sh, --zone, example.net], timeout: 1m, servers: [192.0.2.53] }'), {
      kind: 'hook',
      command: [join(cwd, 'hook.sh'), '--zone', 'example.net'],
      timeoutMs: 60_000,
      servers,
    })
    assert.deepEqual(dns('{ hook: [lego-hook] }'), { kind: 'hook', command: ['lego-hook'], timeoutMs: 120_000, servers: [] })
    assert.deepEqual(dns('{ update: 192.0.2.53, tsig: { name: Key.example, secretFile: tsig.key } }'), {
      kind: 'update',
      server: servers[0],
      zone: null,
      tsig: { name: 'key.example', algorithm: 'hmac-sha256', secretFile: join(cwd, 'tsig.key'), origin: 'atlas.yaml:2:89' },
      timeoutMs: 120_000,
      servers: [],
    })
    assert.deepEqual(dns('{ responder: ["192.0.2.1:53"], zone: acme.example.net }'), {
      kind: 'responder',
      listen: [{ host: '192.0.2.1', port: 53 }],
      zone: 'acme.example.net',
    })
  })

  const CASES: readonly (readonly [source: string, expected: string])[] = [
    ['{}', '9: tls.acme.names: expected a list of host names and IP addresses: received nothing'],
    ['{ names: [] }', '18: tls.acme.names: expected at least one name: received an empty list'],
    ['{ names: [a_b] }', '19: tls.acme.names[0]: expected a host name, "*." and a host name, or an IP address: received "a_b"'],
    ['{ names: ["*.*.a"] }', '19: tls.acme.names[0]: expected a host name, "*." and a host name, or an IP address: received "*.*.a"'],
    ['{ names: [a.b, A.B] }', '24: tls.acme.names[1]: expected each name only once: received "a.b", which names[0] has'],
    ['{ names: ["*.a.b"] }', '19: tls.acme.names[0]: expected no wildcard without challenge: dns-01: received "*.a.b"'],
    [
      '[{ names: [192.0.2.1], challenge: dns-01, dns: { hook: [a] } }]',
      '20: tls.acme[0].names[0]: expected a host name: addresses cannot be shown by dns-01: received "192.0.2.1"',
    ],
    [
      '{ names: [a.b], challenge: dns-01 }',
      '9: tls.acme.dns: expected with challenge: dns-01: hook, update or responder: received nothing',
    ],
    ['{ names: [a.b], dns: { hook: [a] } }', '30: tls.acme.dns: expected only beside challenge: dns-01: received a map'],
    [
      '{ names: [a.b], challenge: dns-01, dns: { hook: [a], update: 192.0.2.1 } }',
      '70: tls.acme.dns.update: expected one of hook, update and responder: received "192.0.2.1"',
    ],
    [
      '{ names: [a.b], challenge: dns-01, dns: { responder: ["192.0.2.1:53"] } }',
      '49: tls.acme.dns.zone: expected the zone that is delegated to the gateway: received nothing',
    ],
    [
      '{ names: [a.b], directory: "http://ca.example/dir" }',
      '36: tls.acme.directory: expected an https:// URL, "letsencrypt" or "letsencrypt-staging": received "http://ca.example/dir"',
    ],
    ['{ names: [a.b], challange: http-01 }', '25: tls.acme.challange: unknown key "challange": did you mean "challenge"?'],
    ['{ names: [a.b], keys: [dsa] }', '32: tls.acme.keys[0]: expected one of "ecdsa", "rsa": received "dsa"'],
    [
      'dns.example.net',
      '9: tls.acme: expected a map, or a list of maps, of names, directory, email, challenge …: received "dns.example.net"',
    ],
  ]
  for (const [source, expected] of CASES) test(`refuses ${source}`, () => assert.deepEqual(problems(source), [expected]))
})
