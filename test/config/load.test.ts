import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, describe } from 'node:test'
import { parseAccess } from '../../gateway/config/addresses.ts'
import type { Config } from '../../gateway/config/config.ts'
import { PROCESS_MEMORY } from '../../gateway/config/knobs.ts'
import { loadConfig } from '../../gateway/config/load.ts'
import { formatAddress } from '../../net/address.ts'
import { upstreamConfig } from '../harness/gateway.ts'
import { wireName } from '../harness/messages.ts'

const cwd = mkdtempSync(join(tmpdir(), 'atlas-config-'))
after(() => rmSync(cwd, { recursive: true }))

const FULL = `# every key there is
listen:
  doh: ["0.0.0.0:443", "[::]:443"]
  dot:
    - { address: "192.0.2.1:853", access: [192.0.2.0/24, "2001:db8::1"] }
    - 127.0.0.1:0
  dns: ["127.0.0.1:53"]
  admin: false
public: { name: DNS.Example.net, addresses: [203.0.113.7, "2001:DB8:0::7"], ports: { doh: 443, dot: 853, doq: 8853 } }
access:
  dns: [loopback]
  encrypted: [private, 198.51.100.7]
doh: { paths: [/dns-query, /team_a/~x.y/], http3: false, json: false, landing: false, proxy: "http://localhost:8080", trustedProxies: [192.0.2.1] }
tls:
  certificates:
    - { cert: fullchain.pem, key: /etc/atlas/key.pem }
  minVersion: "1.2"
state: ./data
upstreams:
  - { name: local, url: "udp://127.0.0.1:5300" }
  - "tcp://[2001:db8::53]"
  - { url: "udp://192.0.2.53" }
  - { name: corp, url: "tls://192.0.2.54", serverName: DNS.Corp.example, ca: corp.pem, pins: [AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=] }
  - tls://[2001:db8::54]
  - name: far
    url: [quic://dns.example, https://DNS.example/q, "udp://192.0.2.55:5353"]
    serverName: dns.far.example
    weight: 3
    connections: 4
    pipelining: 50
    maxAge: 10m
    idle: 5s
    source: 192.0.2.2
    randomizeCase: true
  - { url: tls://dns.example, clientCertificate: { cert: own.pem, key: /etc/atlas/own.key }, socks: "[2001:DB8::1]:1080" }
routes: [{ suffix: Corp.Example., upstreams: [corp, local] }, { suffix: ., upstreams: [local] }]
strategy: weighted
bootstrap: [9.9.9.9, "[2620:fe::fe]:5353"]
timeouts: { query: 250ms, handshake: 3s, drain: 5m }
cache: { memory: 256MiB, serveStale: 3d, prefetch: false, persist: true }
edns: { clientSubnet: off, padding: false, cookies: false }
workers: 3
limits: { connections: 500, connectionsPerClient: 7, handshakesPerSecond: 9, inFlightPerClient: 70, memory: 128MiB, inFlightPerConnection: 50, queriesPerSecond: 20, exempt: [192.0.2.2], udp: { perSecond: 5, slip: 3, exempt: [192.0.2.1] }, idle: { stream: 10s, http: 1h, quic: 20s } }
log: { level: debug, queries: sample:0.25 }
`

function load(source: string): Config {
  writeFileSync(join(cwd, 'atlas.yaml'), source)
  return loadConfig({ file: 'atlas.yaml', env: {}, cwd }).config
}

function accessOf(prefixes: Config['access']['dns']): readonly string[] {
  return prefixes.map(({ address, length }) => `${formatAddress(address)} ${length}`)
}

function both(port: number): Config['listen']['doh'] {
  return ['127.0.0.1', '::1'].map((host) => ({
    endpoint: { host, port },
    access: null,
    proxyProtocol: null,
    cleartext: false,
    byDefault: true,
  }))
}

function queries(text: string): Config['log']['queries'] {
  return load(`log: { queries: ${text} }`).log.queries
}

function adminAt(port: number): Config['listen']['admin'] {
  return { endpoint: { host: '127.0.0.1', port }, tokenFile: null, hosts: [] }
}

describe('loadConfig()', () => {
  const defaults = loadConfig({ file: null, env: {}, cwd }).config

  test('gives the documented defaults without a file', () => {
    const { access, ...rest } = defaults
    assert.deepEqual(rest, {
      listen: { doh: both(8443), dot: both(8853), doq: both(8853), dns: both(8053), admin: adminAt(9353) },
      public: { name: null, addresses: [], ports: { doh: null, dot: null, doq: null } },
      doh: { paths: ['/dns-query'], http3: true, json: true, landing: true, proxy: null, trustedProxies: [] },
      tls: { certificates: [], acme: [], minVersion: 'TLSv1.3' },
      state: join(cwd, 'state'),
      upstreams: null,
      routes: [],
      strategy: 'ordered',
      bootstrap: null,
      timeouts: { queryMs: 4000, handshakeMs: 5000, drainMs: 10_000 },
      cache: { memory: 67_108_864, serveStaleMs: 86_400_000, prefetch: true, persist: false },
      workers: Math.min(availableParallelism(), 8),
      edns: { padding: true, cookies: true, clientSubnet: 'off' },
      limits: {
        connections: 20_000,
        connectionsPerClient: 100,
        handshakesPerSecond: 50,
        inFlightPerClient: 4_000,
        inFlightPerConnection: 100,
        queriesPerSecond: 500,
        exempt: ['loopback', 'private'].flatMap((word) => parseAccess(word) ?? []),
        udp: { perSecond: 100, slip: 2, exempt: ['loopback', 'private'].flatMap((word) => parseAccess(word) ?? []) },
        memory: PROCESS_MEMORY.default,
        idle: { streamMs: 30_000, httpMs: 60_000, quicMs: 30_000 },
      },
      log: { level: 'info', queries: { kind: 'share', share: 0 } },
    })
    assert.deepEqual(accessOf(access.dns), [
      '127.0.0.0 104',
      '::1 128',
      '10.0.0.0 104',
      '172.16.0.0 108',
      '192.168.0.0 112',
      '169.254.0.0 112',
      'fc00:: 7',
      'fe80:: 10',
    ])
    assert.deepEqual(accessOf(access.encrypted), ['0.0.0.0 96', ':: 0'])
  })

  test('gives the defaults for a file or section with nothing in it', () => {
    const sections = ['listen', 'public', 'access', 'doh', 'tls', 'timeouts', 'cache', 'edns', 'limits', 'log']
    const empty = [
      '',
      '# nothing yet\n',
      '---\n...\n',
      '{}',
      '\ufeff',
      `${sections.join(':\n')}:\n`,
      'public: {ports:}\nlimits: {idle: }\n',
    ]
    for (const source of empty) assert.deepEqual(load(source), defaults, JSON.stringify(source))
  })

  test('takes an admin listener with a token and names', () => {
    const { listen } = load('listen: { admin: { address: "127.0.0.1:1", hosts: [Atlas.Example], tokenFile: token.txt } }')
    assert.deepEqual(listen.admin, {
      endpoint: { host: '127.0.0.1', port: 1 },
      tokenFile: join(cwd, 'token.txt'),
      hosts: ['atlas.example'],
    })
    assert.deepEqual(load('listen: { admin: "127.0.0.1:2" }').listen.admin, adminAt(2))
  })

  test('turns every key of the form into the complete configuration', () => {
    const { access, listen, ...rest } = load(FULL)
    const [first, second] = listen.dot
    assert.deepEqual(
      [listen.doh, listen.dns, listen.admin],
      [
        ['0.0.0.0', '::'].map((host) => ({
          endpoint: { host, port: 443 },
          access: null,
          proxyProtocol: null,
          cleartext: false,
          byDefault: false,
        })),
        [{ endpoint: { host: '127.0.0.1', port: 53 }, access: null, proxyProtocol: null, cleartext: false, byDefault: false }],
        null,
      ],
    )
    assert.deepEqual(
      [first?.endpoint, second],
      [
        { host: '192.0.2.1', port: 853 },
        { endpoint: { host: '127.0.0.1', port: 0 }, access: null, proxyProtocol: null, cleartext: false, byDefault: false },
      ],
    )
    assert.deepEqual(accessOf(first?.access ?? []), ['192.0.2.0 120', '2001:db8::1 128'])
    assert.deepEqual(accessOf(access.dns), ['127.0.0.0 104', '::1 128'])
    assert.equal(accessOf(access.encrypted).at(-1), '198.51.100.7 128')
    assert.deepEqual(rest, {
      public: { name: 'dns.example.net', addresses: ['203.0.113.7', '2001:db8::7'], ports: { doh: 443, dot: 853, doq: 8853 } },
      doh: {
        paths: ['/dns-query', '/team_a/~x.y/'],
        http3: false,
        json: false,
        landing: false,
        proxy: 'http://localhost:8080',
        trustedProxies: parseAccess('192.0.2.1') ?? [],
      },
      tls: {
        certificates: [{ cert: join(cwd, 'fullchain.pem'), key: '/etc/atlas/key.pem', origin: 'atlas.yaml:16:7' }],
        acme: [],
        minVersion: 'TLSv1.2',
      },
      state: join(cwd, 'data'),
      upstreams: [
        upstreamConfig({ host: '127.0.0.1', port: 5300 }, { name: 'local', origin: 'atlas.yaml:20:5' }),
        upstreamConfig({ host: '2001:db8::53', port: 53 }, { name: '[2001:db8::53]:53', protocol: 'tcp', origin: 'atlas.yaml:21:5' }),
        upstreamConfig({ host: '192.0.2.53', port: 53 }, { name: '192.0.2.53:53', origin: 'atlas.yaml:22:5' }),
        upstreamConfig(
          { host: '192.0.2.54', port: 853 },
          {
            name: 'corp',
            protocol: 'tls',
            origin: 'atlas.yaml:23:5',
            serverName: 'dns.corp.example',
            ca: { file: join(cwd, 'corp.pem'), origin: 'atlas.yaml:23:78' },
            pins: [`${'A'.repeat(43)}=`],
          },
        ),
        upstreamConfig({ host: '2001:db8::54', port: 853 }, { name: '[2001:db8::54]:853', protocol: 'tls', origin: 'atlas.yaml:24:5' }),
        {
          name: 'far',
          urls: [
            { protocol: 'quic', host: 'dns.example', port: 853, path: '' },
            { protocol: 'https', host: 'dns.example', port: 443, path: '/q' },
            { protocol: 'udp', host: '192.0.2.55', port: 5353, path: '' },
          ],
          serverName: 'dns.far.example',
          ca: null,
          pins: [],
          clientCertificate: null,
          weight: 3,
          connections: 4,
          pipelining: 50,
          maxAgeMs: 600_000,
          idleMs: 5000,
          source: '192.0.2.2',
          socks: null,
          randomizeCase: true,
          origin: 'atlas.yaml:25:5',
        },
        upstreamConfig(
          { host: 'dns.example', port: 853 },
          {
            name: 'dns.example:853',
            protocol: 'tls',
            clientCertificate: { cert: join(cwd, 'own.pem'), key: '/etc/atlas/own.key', origin: 'atlas.yaml:35:50' },
            socks: { host: '2001:db8::1', port: 1080 },
            origin: 'atlas.yaml:35:5',
          },
        ),
      ],
      routes: [
        { suffix: new Uint8Array(wireName('corp.example')), upstreams: ['corp', 'local'] },
        { suffix: Uint8Array.of(0), upstreams: ['local'] },
      ],
      strategy: 'weighted',
      bootstrap: [
        { host: '9.9.9.9', port: 53 },
        { host: '2620:fe::fe', port: 5353 },
      ],
      timeouts: { queryMs: 250, handshakeMs: 3000, drainMs: 300_000 },
      cache: { memory: 268_435_456, serveStaleMs: 259_200_000, prefetch: false, persist: true },
      workers: 3,
      edns: { padding: false, cookies: false, clientSubnet: 'off' },
      limits: {
        connections: 500,
        connectionsPerClient: 7,
        handshakesPerSecond: 9,
        inFlightPerClient: 70,
        inFlightPerConnection: 50,
        queriesPerSecond: 20,
        exempt: parseAccess('192.0.2.2') ?? [],
        udp: { perSecond: 5, slip: 3, exempt: parseAccess('192.0.2.1') ?? [] },
        memory: 134_217_728,
        idle: { streamMs: 10_000, httpMs: 3_600_000, quicMs: 20_000 },
      },
      log: { level: 'debug', queries: { kind: 'share', share: 0.25 } },
    })
  })

  test('reads the choices of the query log', () => {
    assert.deepEqual(queries('none'), { kind: 'share', share: 0 })
    assert.deepEqual(queries('all'), { kind: 'share', share: 1 })
    assert.deepEqual(queries('sample:0.01'), { kind: 'share', share: 0.01 })
    assert.deepEqual(queries('errors'), { kind: 'errors' })
  })

  test('takes PKCS #12 in place of PEM', () => {
    writeFileSync(
      join(cwd, 'atlas.yaml'),
      'tls:\n  certificates:\n    - { pfx: a.p12, passwordFile: secrets/word }\n    - { pfx: /b.p12 }\n',
    )
    const { config } = loadConfig({ file: 'atlas.yaml', env: {}, cwd })
    assert.deepEqual(config.tls.certificates, [
      { pfx: join(cwd, 'a.p12'), passwordFile: join(cwd, 'secrets/word'), origin: 'atlas.yaml:3:7' },
      { pfx: '/b.p12', passwordFile: null, origin: 'atlas.yaml:4:7' },
    ])
  })

  test('takes relative paths of the file from its directory, also when it stands elsewhere', () => {
    mkdirSync(join(cwd, 'etc'), { recursive: true })
    writeFileSync(join(cwd, 'etc/atlas.yaml'), 'tls: { certificates: [{ cert: a.pem, key: ../b.pem }] }\nstate: state\n')
    for (const file of ['etc/atlas.yaml', join(cwd, 'etc/atlas.yaml')]) {
      const { config } = loadConfig({ file, env: {}, cwd })
      const [certificate] = config.tls.certificates
      assert.deepEqual(certificate, { cert: join(cwd, 'etc/a.pem'), key: join(cwd, 'b.pem'), origin: `${file}:1:23` })
      assert.equal(config.state, join(cwd, 'etc/state'))
    }
  })

  test('takes the default of a path from the working directory, wherever the file is', () => {
    mkdirSync(join(cwd, 'etc'), { recursive: true })
    for (const source of ['', 'strategy: ordered\n']) {
      writeFileSync(join(cwd, 'etc/other.yaml'), source)
      assert.equal(loadConfig({ file: 'etc/other.yaml', env: {}, cwd }).config.state, join(cwd, 'state'))
    }
  })

  test('allows a transport to be off, port 0 twice, and one link-local address on two interfaces', () => {
    const { listen } = load('listen: { doh: ["[fe80::1%a]:1", "[fe80::1%b]:1"], dot: [], dns: ["127.0.0.1:0", "127.0.0.1:0"] }')
    assert.deepEqual([listen.doh.length, listen.dot.length, listen.dns.length], [2, 0, 2])
  })

  test('writes aliases out', () => {
    const config = load(
      'access: { dns: &lan [10.0.0.0/8], encrypted: *lan }\nupstreams: [&one udp://192.0.2.1, { name: two, url: *one }]\n',
    )
    assert.deepEqual(accessOf(config.access.encrypted), ['10.0.0.0 104'])
    assert.equal(config.upstreams?.[1]?.urls[0]?.host, '192.0.2.1')
  })

  test('binds an alias to the last anchor before it', () => {
    const config = load('timeouts: { query: &t 1s, handshake: *t, drain: &t 2s }\nlimits: { idle: { stream: *t } }\n')
    assert.deepEqual([config.timeouts.handshakeMs, config.limits.idle.streamMs], [1000, 2000])
  })

  test('keeps YAML 1.2 whatever the file says, so that off is no boolean', () => {
    assert.equal(load('%YAML 1.1\n---\nedns: { clientSubnet: off }\n').edns.clientSubnet, 'off')
  })

  test('freezes the result to the last object', () => {
    const assertFrozen = (value: unknown, path: string): void => {
      if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return
      assert.ok(Object.isFrozen(value), path)
      for (const [key, inner] of Object.entries(value)) assertFrozen(inner, `${path}.${key}`)
    }
    assertFrozen(load(FULL), 'config')
    assertFrozen(defaults, 'defaults')
  })
})
