import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, describe } from 'node:test'
import { ConfigError, type LoadedConfig, loadConfig } from '../../gateway/config/load.ts'
import { upstreamConfig } from '../harness/gateway.ts'

const cwd = mkdtempSync(join(tmpdir(), 'atlas-config-'))
after(() => rmSync(cwd, { recursive: true }))

function load(env: NodeJS.ProcessEnv): LoadedConfig {
  return loadConfig({ file: null, env, cwd })
}

function problem(env: NodeJS.ProcessEnv, file: string | null = null): string {
  try {
    loadConfig({ file, env, cwd })
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error))
    return error.message
  }
  throw new Error('The configuration was accepted')
}

function write(name: string, content: string): string {
  writeFileSync(join(cwd, name), content)
  return name
}

function ignored(name: string): string {
  return `${name} is ignored: no setting has that name`
}

describe('loadConfig() and the environment', () => {
  test('sets every kind of value', () => {
    const { config, warnings } = load({
      ATLAS_LISTEN_DOH: ' 127.0.0.1:1 ,[::1]:1 ',
      ATLAS_LISTEN_DNS: '',
      ATLAS_LISTEN_ADMIN: 'false',
      ATLAS_PUBLIC_PORTS_DOH: '443',
      ATLAS_TLS_MIN_VERSION: '1.2',
      ATLAS_UPSTREAMS: 'udp://192.0.2.1,tcp://192.0.2.2:5353',
      ATLAS_TIMEOUTS_QUERY: '1s',
      ATLAS_EDNS_PADDING: 'false',
      ATLAS_LIMITS_IDLE_STREAM: '5s',
      ATLAS_LIMITS_IN_FLIGHT_PER_CONNECTION: '7',
    })
    assert.deepEqual(warnings, [])
    assert.deepEqual(
      config.listen.doh.map(({ endpoint }) => endpoint),
      [
        { host: '127.0.0.1', port: 1 },
        { host: '::1', port: 1 },
      ],
    )
    assert.deepEqual([config.listen.dns, config.listen.admin], [[], null])
    assert.deepEqual([config.public.ports.doh, config.tls.minVersion, config.timeouts.queryMs], [443, 'TLSv1.2', 1000])
    assert.deepEqual([config.edns.padding, config.limits.idle.streamMs, config.limits.inFlightPerConnection], [false, 5000, 7])
    assert.deepEqual(config.upstreams, [
      upstreamConfig({ host: '192.0.2.1', port: 53 }, { name: '192.0.2.1:53', origin: 'ATLAS_UPSTREAMS' }),
      upstreamConfig({ host: '192.0.2.2', port: 5353 }, { name: '192.0.2.2:5353', protocol: 'tcp', origin: 'ATLAS_UPSTREAMS' }),
    ])
  })

  test('has upstreams by name, how they are chosen, and who knows where they are', () => {
    const { config, warnings } = load({
      ATLAS_UPSTREAMS: 'https://dns.example/dns-query,quic://dns.example',
      ATLAS_STRATEGY: 'race',
      ATLAS_BOOTSTRAP: '9.9.9.9, 1.1.1.1:5353,[2620:fe::fe]:5353,2620:fe::9',
    })
    assert.deepEqual(warnings, [])
    assert.deepEqual(
      config.upstreams?.map(({ name, urls }) => [name, urls]),
      [
        ['dns.example:443', [{ protocol: 'https', host: 'dns.example', port: 443, path: '/dns-query' }]],
        ['dns.example:853', [{ protocol: 'quic', host: 'dns.example', port: 853, path: '' }]],
      ],
    )
    assert.equal(config.strategy, 'race')
    assert.deepEqual(config.bootstrap, [
      { host: '9.9.9.9', port: 53 },
      { host: '1.1.1.1', port: 5353 },
      { host: '2620:fe::fe', port: 5353 },
      { host: '2620:fe::9', port: 53 },
    ])
    assert.equal(
      problem({ ATLAS_BOOTSTRAP: '9.9.9.9,dns.example', ATLAS_UPSTREAMS: 'quic://192.0.2.1' }),
      [
        'ATLAS_UPSTREAMS: upstreams[0]: expected a host name in it, or a map of url and serverName: with quic:// and h3:// an address cannot be verified: received "quic://192.0.2.1"',
        'ATLAS_BOOTSTRAP: bootstrap[1]: expected an IP address, or "ip:port": received "dns.example"',
      ].join('\n'),
    )
  })

  test('takes underscores where they please', () => {
    assert.equal(load({ ATLAS_EDNS__PADDING: 'true' }).config.edns.padding, true)
    assert.equal(load({ ATLAS_TLS_MINVERSION: '1.2' }).config.tls.minVersion, 'TLSv1.2')
    assert.equal(load({ ATLAS_LIMITS_INFLIGHTPERCONNECTION: '7' }).config.limits.inFlightPerConnection, 7)
  })

  test('reads sizes, words and numbers alike', () => {
    const { cache, workers } = load({
      ATLAS_CACHE_MEMORY: '1MiB',
      ATLAS_CACHE_SERVE_STALE: '0',
      ATLAS_CACHE_PERSIST: 'true',
      ATLAS_WORKERS: '64',
    }).config
    assert.deepEqual([cache, workers], [{ memory: 1_048_576, serveStaleMs: 0, prefetch: true, persist: true }, 64])
    assert.deepEqual(load({ ATLAS_CACHE_MEMORY: '0', ATLAS_WORKERS: 'auto' }).config.cache.memory, 0)
  })

  test('goes over the file, key by key', () => {
    const file = write('over.yaml', 'timeouts: { query: 1s, drain: 1s }\nlisten: { dot: ["127.0.0.1:1"] }\n')
    const { config } = loadConfig({ file, env: { ATLAS_TIMEOUTS_QUERY: '2s', ATLAS_LISTEN_DOT: '' }, cwd })
    assert.deepEqual([config.timeouts.queryMs, config.timeouts.drainMs, config.listen.dot], [2000, 1000, []])
  })

  test('hides a wrong value of the file that it replaces', () => {
    const file = write('hidden.yaml', 'strategy: random\n')
    assert.equal(loadConfig({ file, env: { ATLAS_STRATEGY: 'ordered' }, cwd }).config.strategy, 'ordered')
  })

  test('fills a file or section with nothing in it, and reports one that is no map', () => {
    const env = { ATLAS_TIMEOUTS_QUERY: '2s' }
    for (const source of ['', 'timeouts:\n']) {
      assert.equal(loadConfig({ file: write('empty.yaml', source), env, cwd }).config.timeouts.queryMs, 2000)
    }
    assert.equal(
      problem(env, write('list.yaml', 'timeouts: []\n')),
      'list.yaml:1:11: timeouts: expected a map of settings: received an empty list',
    )
    assert.match(problem(env, write('scalar.yaml', 'timeouts: 5\n')), /^scalar\.yaml:1:11: timeouts: .* received 5$/)
  })

  test('names the variable of a wrong value', () => {
    assert.equal(problem({ ATLAS_EDNS_PADDING: 'yes' }), 'ATLAS_EDNS_PADDING: edns.padding: expected true or false: received "yes"')
    assert.equal(
      problem({ ATLAS_LISTEN_DOT: '127.0.0.1:1,,x' }).split('\n')[1],
      'ATLAS_LISTEN_DOT: listen.dot[2]: expected "host:port" with an IP address: received "x"',
    )
    assert.match(problem({ ATLAS_LIMITS_CONNECTIONS_PER_CLIENT: '1e3' }), /^ATLAS_LIMITS_CONNECTIONS_PER_CLIENT: .* received "1e3"$/)
    assert.match(
      problem({ ATLAS_LISTEN_DOH: '[::1]:8853', ATLAS_LISTEN_DOQ: '' }),
      /^ATLAS_LISTEN_DOH: listen\.doh\[0\]: .* which listen\.dot\[1\] has by default$/,
    )
    assert.match(
      problem({ ATLAS_LISTEN_DOH: '', ATLAS_LISTEN_DOT: '', ATLAS_LISTEN_DOQ: '', ATLAS_LISTEN_DNS: '' }),
      /^ATLAS_LISTEN_\w+: listen: expected at least one/,
    )
  })

  test('reports the problems of file and variables together, the file first', () => {
    const file = write('both.yaml', 'strategy: random\n')
    assert.deepEqual(problem({ ATLAS_LOG_LEVEL: 'x', ATLAS_STATE_FILE: 'nowhere' }, file).split('\n'), [
      'both.yaml:1:11: strategy: expected one of "ordered", "round-robin", "weighted", "fastest", "race", "hash": received "random"',
      'ATLAS_STATE_FILE: state: expected a file: received a path that does not exist: "nowhere"',
      'ATLAS_LOG_LEVEL: log.level: expected one of "fatal", "error", "warn", "info", "debug", "trace": received "x"',
    ])
  })

  test('judges no values while the file cannot be read', () => {
    assert.equal(problem({ ATLAS_LOG_LEVEL: 'x' }, write('broken.yaml', '"')).split('\n').length, 1)
  })

  test('takes relative paths from the working directory, whatever file there is', () => {
    mkdirSync(join(cwd, 'etc'))
    const file = write('etc/atlas.yaml', 'state: a\n')
    assert.equal(loadConfig({ file, env: { ATLAS_STATE: 'b' }, cwd }).config.state, join(cwd, 'b'))
  })

  test('reads a value from the file that a variable with _FILE names, without its last newline', () => {
    for (const end of ['', '\n', '\r\n']) {
      write('value', `127.0.0.1:1, 127.0.0.1:2${end}`)
      for (const path of ['value', join(cwd, 'value')]) assert.equal(load({ ATLAS_LISTEN_DOT_FILE: path }).config.listen.dot.length, 2)
    }
    write('value', 'a\n\n')
    assert.equal(load({ ATLAS_STATE_FILE: 'value' }).config.state, join(cwd, 'a\n'))
  })

  test('names the variable whose file is missing, a directory, too large or no text', () => {
    writeFileSync(join(cwd, 'bytes'), Buffer.of(0xff))
    write('large', 'x'.repeat(1024 * 1024 + 1))
    const prefix = 'ATLAS_STATE_FILE: state: expected'
    assert.equal(problem({ ATLAS_STATE_FILE: 'nowhere' }), `${prefix} a file: received a path that does not exist: "nowhere"`)
    assert.equal(problem({ ATLAS_STATE_FILE: '.' }), `${prefix} a file: received a directory: "."`)
    assert.equal(problem({ ATLAS_STATE_FILE: 'large' }), `${prefix} at most 1048576 bytes (1 MiB): received more: "large"`)
    assert.equal(problem({ ATLAS_STATE_FILE: 'bytes' }), `${prefix} UTF-8 text: received bytes in another encoding: "bytes"`)
  })

  test('refuses two variables for one setting', () => {
    write('value', 'a')
    const message = 'ATLAS_STATE_FILE: state: expected one variable to set it: received ATLAS_STATE too'
    assert.equal(problem({ ATLAS_STATE: 'a', ATLAS_STATE_FILE: 'value' }), message)
    assert.match(problem({ ATLAS_TLS_MINVERSION: '1.2', ATLAS_TLS_MIN_VERSION: '1.2' }), /received ATLAS_TLS_MINVERSION too$/)
  })

  test('warns of variables that set nothing, and of no others', () => {
    const { warnings } = load({
      ATLAS_PORT: 'tcp://10.0.0.1:443',
      ATLAS_SERVICE_PORT_DOH: '443',
      ATLAS_PORT_443_TCP_ADDR: '10.0.0.1',
      ATLAS_LISTEN: 'x',
      ATLAS_TLS_CERTIFICATES: 'x',
      ATLAS_LISTEN_DOHH: 'x',
      ATLAS_FILE: 'x',
      NOT_ATLAS_STATE: 'x',
      PATH: '/bin',
    })
    assert.deepEqual(warnings, [
      ignored('ATLAS_FILE'),
      `${ignored('ATLAS_LISTEN')}; did you mean ATLAS_LISTEN_DOH?`,
      `${ignored('ATLAS_LISTEN_DOHH')}; did you mean ATLAS_LISTEN_DOH?`,
      ignored('ATLAS_PORT'),
      ignored('ATLAS_PORT_443_TCP_ADDR'),
      ignored('ATLAS_SERVICE_PORT_DOH'),
      ignored('ATLAS_TLS_CERTIFICATES'),
    ])
  })
})
