import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, describe } from 'node:test'
import { CACHE_MEMORY } from '../../gateway/config/knobs.ts'
import { ConfigError, loadConfig } from '../../gateway/config/load.ts'
import { formatSize } from '../../gateway/config/units.ts'

const cwd = mkdtempSync(join(tmpdir(), 'atlas-config-'))
after(() => rmSync(cwd, { recursive: true }))

const ENDPOINT = 'expected "host:port" with an IP address'

function accept(source: string): void {
  writeFileSync(join(cwd, 'atlas.yaml'), source)
  loadConfig({ file: 'atlas.yaml', env: {}, cwd })
}

/** The only problem of `source`, as it is printed. */
function problem(source: string): string {
  try {
    accept(source)
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error))
    return error.message
  }
  throw new Error('The configuration was accepted')
}

describe('loadConfig() and values', () => {
  const DURATION = 'expected a number with its unit (ms, s, m, h, d), such as'
  const PATH = 'expected a path of letters, digits, "-", "_", ".", "~" that begins with "/", without "//" and ".."'
  const ACCESS = 'expected "loopback", "private", "any", an IP address or a CIDR without host bits'
  const URLS = 'expected udp://, tcp://, tls:// or quic:// and host[:port], https:// or h3:// and host[:port][/path]'
  const TLS_ONLY = 'expected only beside a tls://, https://, h3:// or quic:// url: received'
  const STRATEGIES = 'expected one of "ordered", "round-robin", "weighted", "fastest", "race", "hash"'
  const PIN = 'expected the base64 of a SHA-256: 44 characters: received'
  const PORT = 'expected a whole number from 1 to 65535'
  const most = formatSize(CACHE_MEMORY.max)
  const MEMORY = `expected 0, or a size with its unit (KiB, MiB, GiB) from 1MiB to ${most}, the memory of this machine, such as "64MiB"`
  const ADMIN = `${ENDPOINT}, a map of address, hosts and tokenFile, or false`
  const cases: readonly (readonly [source: string, at: string])[] = [
    ['listen: 5', `9: listen: expected a map of settings: received 5`],
    ['listen: { doh: [localhost:8443] }', `17: listen.doh[0]: ${ENDPOINT}: received "localhost:8443"`],
    ['listen: { doh: ["::1:8443"] }', `17: listen.doh[0]: ${ENDPOINT}: received "::1:8443"`],
    [
      'listen: { doh: [8443] }',
      `17: listen.doh[0]: ${ENDPOINT}, or a map of address, access, proxyProtocol, clientCa and cleartext: received 8443`,
    ],
    ['listen: { doh: [{ address: "127.0.0.1:65536" }] }', `28: listen.doh[0].address: ${ENDPOINT}: received "127.0.0.1:65536"`],
    ['listen: { doh: [{ address: "127.0.0.1:1", access: [x] }] }', `52: listen.doh[0].access[0]: ${ACCESS}: received "x"`],
    [
      'listen: { dot: [{ address: "127.0.0.1:1", clientCa: "" }] }',
      '53: listen.dot[0].clientCa: expected the path of a PEM file: received ""',
    ],
    [
      'listen: { doq: [{ address: "127.0.0.1:1", clientCa: ca.pem }] }',
      '53: listen.doq[0].clientCa: expected it on doh or dot only: over QUIC clients cannot be asked for a certificate: received "ca.pem"',
    ],
    [
      'listen: { doh: [{ address: "127.0.0.1:1", clientCa: ca.pem, cleartext: true }] }',
      '53: listen.doh[0].clientCa: expected no cleartext beside it: without TLS clients cannot be asked for a certificate: received "ca.pem"',
    ],
    [
      'listen: { doq: [{ address: "127.0.0.1:1", clientCA: ca.pem }] }',
      '43: listen.doq[0].clientCA: unknown key "clientCA": expected one of address, access',
    ],
    ['listen: { dns: 127.0.0.1:53 }', '16: listen.dns: expected a list of "host:port": received "127.0.0.1:53"'],
    ['listen: { dns: }', '16: listen.dns: expected a list of "host:port": received nothing'],
    ['listen: { admin: { hosts: [] } }', '18: listen.admin.address: expected "host:port" with an IP address: received nothing'],
    ['listen: { admin: { address: "127.0.0.1:1", hosts: ["a b"] } }', '52: listen.admin.hosts[0]: expected a host name: received "a b"'],
    [
      'listen: { admin: { address: "127.0.0.1:1", tokenFile: "" } }',
      '55: listen.admin.tokenFile: expected the path of a file: received ""',
    ],
    ['listen: { admin: true }', `18: listen.admin: ${ADMIN}: received true`],
    ['listen: { admin: off }', `18: listen.admin: ${ADMIN}: received "off"`],
    [
      'listen: { doh: [], dot: [], doq: [], dns: [] }',
      '9: listen: expected at least one address in doh, dot, doq or dns: received empty lists',
    ],
    [
      'routes: [{ suffix: a.example, upstreams: [x] }]',
      '9: routes: expected "upstreams" beside it, whose names the routes use: received routes without upstreams',
    ],
    [
      'upstreams: [{ name: corp, url: "udp://192.0.2.1" }]\nroutes: [{ suffix: a, upstreams: [crop] }]',
      '@2:35: routes[0].upstreams[0]: expected the name of an upstream, did you mean "corp"?: received "crop"',
    ],
    [
      'upstreams: [{ name: corp, url: "udp://192.0.2.1" }]\nroutes: [{ suffix: a, upstreams: [corp, corp] }]',
      '@2:41: routes[0].upstreams[1]: expected each upstream only once: received "corp"',
    ],
    [
      'upstreams: [{ name: corp, url: "udp://192.0.2.1" }]\nroutes: [{ suffix: a, upstreams: [] }]',
      '@2:34: routes[0].upstreams: expected at least one upstream: received an empty list',
    ],
    [
      'upstreams: [{ name: corp, url: "udp://192.0.2.1" }]\nroutes: [{ suffix: A.b, upstreams: [corp] }, { suffix: a.B., upstreams: [corp] }]',
      '@2:46: routes[1]: expected each suffix only once: received "a.b.", which routes[0] has',
    ],
    ['routes: [{ suffix: "a..b", upstreams: [x] }]', '20: routes[0].suffix: expected a domain name, or "." for all: received "a..b"'],
    ['public: { name: 192.0.2.1 }', '17: public.name: expected a host name: received "192.0.2.1"'],
    ['public: { name: -a.example }', '17: public.name: expected a host name: received "-a.example"'],
    ['public: { addresses: [0.0.0.0] }', '23: public.addresses[0]: expected an IP address: received "0.0.0.0"'],
    ['public: { addresses: [fe80::1%eth0] }', '23: public.addresses[0]: expected an IP address: received "fe80::1%eth0"'],
    ['public: { ports: { doh: 0 } }', `25: public.ports.doh: ${PORT}: received 0`],
    ['public: { ports: { dot: 65536 } }', `25: public.ports.dot: ${PORT}: received 65536`],
    ['public: { ports: { dot: "853" } }', `25: public.ports.dot: ${PORT}: received "853"`],
    ['access: { dns: [10.0.0.1/8] }', `17: access.dns[0]: ${ACCESS}: received "10.0.0.1/8"`],
    [
      'access: { encrypted: any }',
      '22: access.encrypted: expected a list of "loopback", "private", "any", IP addresses and CIDRs: received "any"',
    ],
    ['doh: { paths: [] }', '15: doh.paths: expected at least one path: received an empty list'],
    ['doh: { paths: [dns-query] }', `16: doh.paths[0]: ${PATH}: received "dns-query"`],
    ['doh: { paths: [/a/../b] }', `16: doh.paths[0]: ${PATH}: received "/a/../b"`],
    ['doh: { paths: [/a/./b] }', `16: doh.paths[0]: ${PATH}: received "/a/./b"`],
    ['doh: { paths: [/a//b] }', `16: doh.paths[0]: ${PATH}: received "/a//b"`],
    ['doh: { paths: ["/dns-query{?dns}"] }', `16: doh.paths[0]: ${PATH}: received "/dns-query{?dns}"`],
    ['doh: { paths: [/%41] }', `16: doh.paths[0]: ${PATH}: received "/%41"`],
    ['doh: { paths: [/a, /b, /a] }', '24: doh.paths[2]: expected each path only once: received "/a", which doh.paths[0] has'],
    ['tls: { minVersion: 1.3 }', '20: tls.minVersion: expected one of "1.2", "1.3", in quotes: received 1.3'],
    ['tls: { minVersion: "1.1" }', '20: tls.minVersion: expected one of "1.2", "1.3", in quotes: received "1.1"'],
    [
      'tls: { certificates: { cert: a, key: b } }',
      '22: tls.certificates: expected a list of { cert, key } or { pfx, passwordFile }: received a map',
    ],
    [`tls: { certificates: [${'{ pfx: a },'.repeat(201)}] }`, '22: tls.certificates: expected at most 200 certificates: received a list'],
    ['tls: { certificates: [{ key: a }] }', '23: tls.certificates[0].cert: expected the path of a PEM file: received nothing'],
    ['tls: { certificates: [{ cert: a }] }', '23: tls.certificates[0].key: expected the path of a PEM file: received nothing'],
    [
      'tls: { certificates: [{ cert: a, key: b, pfx: c }] }',
      '47: tls.certificates[0].pfx: expected either cert and key, or pfx: received "c"',
    ],
    [
      'tls: { certificates: [{ cert: a, key: b, passwordFile: c }] }',
      '56: tls.certificates[0].passwordFile: expected only beside pfx: received "c"',
    ],
    ['tls: { certificates: [{ pfx: "" }] }', '30: tls.certificates[0].pfx: expected the path of a PKCS #12 file: received ""'],
    ['tls: { certificates: [a.pem] }', '23: tls.certificates[0]: expected a map of settings: received "a.pem"'],
    ['state: ""', '8: state: expected the path of a directory: received ""'],
    ['state: "a\\0b"', '8: state: expected the path of a directory: received "a\\u0000b"'],
    [
      'upstreams: []',
      '12: upstreams: expected at least one upstream; leave "upstreams" out to ask the resolvers of /etc/resolv.conf: received an empty list',
    ],
    ['upstreams: udp://192.0.2.1', '12: upstreams: expected a list of upstreams: received "udp://192.0.2.1"'],
    ['upstreams: [5]', `13: upstreams[0]: ${URLS}, or a map of name and url: received 5`],
    ['upstreams: [http://192.0.2.1]', `13: upstreams[0]: ${URLS}: received "http://192.0.2.1"`],
    ['upstreams: [tls://-a.example]', `13: upstreams[0]: ${URLS}: received "tls://-a.example"`],
    ['upstreams: [tls://192.0.2.1:0]', `13: upstreams[0]: ${URLS}: received "tls://192.0.2.1:0"`],
    ['upstreams: [{ url: udp://192.0.2.1, serverName: a.example }]', `49: upstreams[0].serverName: ${TLS_ONLY} "a.example"`],
    ['upstreams: [{ url: tcp://192.0.2.1, ca: ca.pem }]', `41: upstreams[0].ca: ${TLS_ONLY} "ca.pem"`],
    [`upstreams: [{ url: tcp://192.0.2.1, pins: [${'A'.repeat(43)}=] }]`, `43: upstreams[0].pins: ${TLS_ONLY} a list`],
    [
      'upstreams: [{ url: tls://192.0.2.1, serverName: 192.0.2.1 }]',
      '49: upstreams[0].serverName: expected a host name: received "192.0.2.1"',
    ],
    ['upstreams: [{ url: tls://192.0.2.1, ca: "" }]', '41: upstreams[0].ca: expected the path of a PEM file: received ""'],
    ['upstreams: [{ url: tls://192.0.2.1, pins: [] }]', '43: upstreams[0].pins: expected at least one pin: received an empty list'],
    ['upstreams: [{ url: tls://192.0.2.1, pins: abc }]', '43: upstreams[0].pins: expected a list of base64 SHA-256 hashes: received "abc"'],
    ['upstreams: [{ url: tls://192.0.2.1, pins: [abc] }]', `44: upstreams[0].pins[0]: ${PIN} "abc"`],
    // a spare bit is set
    [`upstreams: [{ url: tls://192.0.2.1, pins: [${'A'.repeat(42)}B=] }]`, `44: upstreams[0].pins[0]: ${PIN} "${'A'.repeat(42)}B="`],
    ['upstreams: [udp://dns..example]', `13: upstreams[0]: ${URLS}: received "udp://dns..example"`],
    ['upstreams: ["udp://[192.0.2.1]"]', `13: upstreams[0]: ${URLS}: received "udp://[192.0.2.1]"`],
    ['upstreams: [udp://192.0.2.1:0]', `13: upstreams[0]: ${URLS}: received "udp://192.0.2.1:0"`],
    ['upstreams: [udp://192.0.2.1/x]', `13: upstreams[0]: ${URLS}: received "udp://192.0.2.1/x"`],
    ['upstreams: [udp://0.0.0.0]', `13: upstreams[0]: ${URLS}: received "udp://0.0.0.0"`],
    ['upstreams: [{ name: a, url: udp:a }]', `29: upstreams[0].url: ${URLS}: received "udp:a"`],
    [
      'upstreams: [{ name: "a b", url: udp://192.0.2.1 }]',
      '21: upstreams[0].name: expected a name of 1 to 259 letters, digits and ".", "-", "_", ":", "[", "]", "%": received "a b"',
    ],
    [
      'upstreams: [udp://192.0.2.1, tcp://192.0.2.1]',
      '30: upstreams[1]: expected a name of its own: received "192.0.2.1:53", which upstreams[0] has',
    ],
    ['strategy: random', `11: strategy: ${STRATEGIES}: received "random"`],
    ['timeouts: { query: 30 }', `20: timeouts.query: ${DURATION} "4s": received 30`],
    ['timeouts: { drain: "30" }', `20: timeouts.drain: ${DURATION} "10s": received "30"`],
    ['timeouts: { handshake: 1.5s }', '24: timeouts.handshake: expected a duration from 500ms to 1m, such as "5s": received "1.5s"'],
    ['timeouts: { query: 99ms }', '20: timeouts.query: expected a duration from 100ms to 1m, such as "4s": received "99ms"'],
    ['timeouts: { query: 2m }', '20: timeouts.query: expected a duration from 100ms to 1m, such as "4s": received "2m"'],
    ['cache: { memory: 5 }', `18: cache.memory: ${MEMORY}: received 5`],
    ['cache: { memory: 64MB }', `18: cache.memory: ${MEMORY}: received "64MB"`],
    ['cache: { memory: 1023KiB }', `18: cache.memory: ${MEMORY}: received "1023KiB"`],
    ['cache: { memory: 100000GiB }', `18: cache.memory: ${MEMORY}: received "100000GiB"`],
    ['cache: { serveStale: 8d }', '22: cache.serveStale: expected a duration from 0s to 7d, such as "1d": received "8d"'],
    ['cache: { serveStale: 5 }', `22: cache.serveStale: ${DURATION} "1d": received 5`],
    ['cache: { prefetch: 1 }', '20: cache.prefetch: expected true or false: received 1'],
    ['workers: 0', '10: workers: expected a whole number from 1 to 64: received 0'],
    ['workers: 65', '10: workers: expected a whole number from 1 to 64: received 65'],
    ['workers: many', '10: workers: expected "auto" or a whole number from 1 to 64: received "many"'],
    ['workers: "4"', '10: workers: expected "auto" or a whole number from 1 to 64: received "4"'],
    ['edns: { padding: yes }', '18: edns.padding: expected true or false: received "yes"'],
    ['edns: { clientSubnet: on }', '23: edns.clientSubnet: expected one of "off", "forward", "add": received "on"'],
    ['limits: { connectionsPerClient: 0 }', '33: limits.connectionsPerClient: expected a whole number from 1 to 1000000: received 0'],
    [
      'limits: { connectionsPerClient: .inf }',
      '33: limits.connectionsPerClient: expected a whole number from 1 to 1000000: received Infinity',
    ],
    ['limits: { inFlightPerConnection: 1.5 }', '34: limits.inFlightPerConnection: expected a whole number from 1 to 10000: received 1.5'],
    [
      'limits: { inFlightPerConnection: 10001 }',
      '34: limits.inFlightPerConnection: expected a whole number from 1 to 10000: received 10001',
    ],
    ['limits: { idle: { stream: 1d } }', '27: limits.idle.stream: expected a duration from 1s to 1h, such as "30s": received "1d"'],
    ['log: { level: loud }', '15: log.level: expected one of "fatal", "error", "warn", "info", "debug", "trace": received "loud"'],
    [
      'log: { queries: sample:2 }',
      '17: log.queries: expected "none", "errors", "all" or "sample:" and a share from 0 to 1: received "sample:2"',
    ],
  ]
  for (const [source, expected] of cases) {
    test(`refuses ${source}`, () =>
      assert.equal(problem(source), `atlas.yaml:${expected.startsWith('@') ? expected.slice(1) : `1:${expected}`}`))
  }

  test('accepts both ends of a range', () => {
    const name = `${'a.'.repeat(126)}a`
    accept(`public: { name: ${name}, ports: { doh: 1, dot: 65535 } }`)
    assert.match(problem(`public: { name: b${name} }`), /expected a host name/)
    accept('timeouts: { query: 100ms, handshake: 60s, drain: 0s }\nlimits: { connectionsPerClient: 1, inFlightPerConnection: 10000 }')
    accept(`cache: { memory: ${most}, serveStale: 7d }\nworkers: 64`)
    accept('cache: { memory: 0, serveStale: 0 }\nworkers: 1')
    accept('cache: { memory: 0MiB, serveStale: 0s }')
    accept('upstreams: [udp://192.0.2.1:1, tcp://192.0.2.1:65535]\nlog: { queries: sample:1.0 }')
  })

  test('cuts what it repeats', () => {
    assert.ok(problem(`edns: { clientSubnet: ${'x'.repeat(80)} }`).endsWith('x"'))
    assert.ok(problem(`edns: { clientSubnet: ${'x'.repeat(5000)} }`).length < 200)
  })

  test('refuses two listeners on one address, naming both', () => {
    const own = 'expected an address and port of its own: received'
    const listen =
      'listen: { doh: ["127.0.0.1:1", "127.0.0.1:1"], dot: ["[::ffff:127.0.0.1]:1"], dns: ["127.0.0.1:1"], admin: "127.0.0.1:1" }'
    assert.deepEqual(problem(listen).split('\n'), [
      `atlas.yaml:1:32: listen.doh[1]: ${own} "127.0.0.1:1", which listen.doh[0] has`,
      `atlas.yaml:1:54: listen.dot[0]: ${own} "127.0.0.1:1", which listen.doh[0] has`,
      `atlas.yaml:1:85: listen.dns[0]: ${own} "127.0.0.1:1", which listen.doh[0] has`,
      `atlas.yaml:1:108: listen.admin: ${own} "127.0.0.1:1", which listen.doh[0] has`,
    ])
    assert.equal(
      problem('listen: { doh: ["[::1]:8853"] }'),
      ['dot', 'doq']
        .map((kind) => `atlas.yaml:1:17: listen.doh[0]: ${own} "[::1]:8853", which listen.${kind}[1] has by default`)
        .join('\n'),
    )
  })

  test('lets DoT and DoQ share an address, and DoQ no other listener on UDP', () => {
    const own = 'expected an address and port of its own: received'
    accept('listen: { dot: ["127.0.0.1:853"], doq: ["127.0.0.1:853"], admin: "127.0.0.1:8853" }')
    assert.equal(
      problem('listen: { dns: ["127.0.0.1:8853"], dot: [] }'),
      `atlas.yaml:1:17: listen.dns[0]: ${own} "127.0.0.1:8853", which listen.doq[0] has by default`,
    )
    assert.equal(
      problem('listen: { doh: ["127.0.0.1:4"], doq: ["127.0.0.1:4"] }'),
      `atlas.yaml:1:39: listen.doq[0]: ${own} "127.0.0.1:4", which listen.doh[0] has`,
    )
  })

  // RFC 9250 §4.1.1
  test('refuses port 53 for DNS over QUIC', () => {
    assert.equal(
      problem('listen: { doq: ["127.0.0.1:53"] }'),
      'atlas.yaml:1:17: listen.doq[0]: expected another port than 53 for DNS over QUIC: received "127.0.0.1:53"',
    )
  })
})
