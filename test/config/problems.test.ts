import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, describe } from 'node:test'
import fc from 'fast-check'
import { OperationalError } from '../../dns/operational-error.ts'
import { ConfigError, loadConfig } from '../../gateway/config/load.ts'

const cwd = mkdtempSync(join(tmpdir(), 'atlas-config-'))
after(() => rmSync(cwd, { recursive: true }))

function load(content: string | Uint8Array, file = 'atlas.yaml'): ConfigError {
  writeFileSync(join(cwd, file), content)
  return errorOf(file)
}

function errorOf(file: string): ConfigError {
  try {
    loadConfig({ file, env: {}, cwd })
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error))
    return error
  }
  throw new Error('The configuration was accepted')
}

/** The only problem of `content`, as it is printed. */
function problem(content: string | Uint8Array): string {
  return load(content).message
}

function nested(depth: number): string {
  return `a: ${'['.repeat(depth)}${']'.repeat(depth)}`
}

const ENDPOINT = 'expected "host:port" with an IP address'
const TOP = 'listen, public, access, doh, tls, state, upstreams, routes, strategy, bootstrap, timeouts, cache, edns, limits, workers, log'
const UPSTREAM =
  'name, url, serverName, ca, pins, clientCertificate, weight, connections, pipelining, maxAge, idle, source, socks, randomizeCase'

describe('loadConfig() and the file', () => {
  test('names the file alone where there is no position', () => {
    mkdirSync(join(cwd, 'directory'))
    assert.equal(errorOf('nowhere.yaml').message, 'nowhere.yaml: expected a file: received a path that does not exist')
    writeFileSync(join(cwd, 'file'), '')
    assert.equal(errorOf('file/below').message, 'file/below: expected a file: received a path that does not exist')
    assert.match(errorOf('x'.repeat(300)).message, /^x+: expected a readable file: received ENAMETOOLONG: /)
    assert.equal(errorOf('./directory').message, './directory: expected a file: received a directory')
    const tooLarge = load(Buffer.alloc(1024 * 1024 + 1, '#'))
    assert.equal(tooLarge.message, 'atlas.yaml: expected at most 1048576 bytes (1 MiB): received more')
  })

  test('reads a file of exactly 1 MiB', () => {
    writeFileSync(join(cwd, 'large.yaml'), Buffer.alloc(1024 * 1024, '#'))
    loadConfig({ file: 'large.yaml', env: {}, cwd })
  })

  test('names the first octet that is not UTF-8', () => {
    const content = Buffer.concat([Buffer.from('# é\nstate: '), Buffer.of(0xe9), Buffer.from('t\n')])
    assert.equal(problem(content), 'atlas.yaml:2:8: expected UTF-8 text: received bytes in another encoding')
  })

  test('names the place of what is no YAML', () => {
    assert.equal(problem('state: "x\n'), 'atlas.yaml:2:1: expected valid YAML: Missing closing "quote')
    assert.equal(problem('listen:\n\tdoh: []\n'), 'atlas.yaml:2:1: expected spaces as indentation: received a tab')
    assert.equal(problem('state: a\n---\nstate: b\n'), 'atlas.yaml:2:1: expected one YAML document: received a second one')
    assert.equal(problem('state: !env HOME\n'), 'atlas.yaml:1:8: expected valid YAML: Unresolved tag: !env')
    assert.equal(problem('%FOO\n---\n'), 'atlas.yaml:1:1: expected valid YAML: Unknown directive %FOO')
  })

  test('names one syntax error a line, and no more than ten', () => {
    const { problems } = load(`${'a: b: c\n'.repeat(30)}`)
    assert.deepEqual(
      problems.map(({ where }) => where),
      Array.from({ length: 10 }, (_, i) => `atlas.yaml:${i + 1}:4`),
    )
  })

  test('refuses a root that is no map', () => {
    assert.equal(problem('\n- state\n'), 'atlas.yaml:2:1: expected a map of settings: received a list')
    assert.equal(problem('state'), 'atlas.yaml:1:1: expected a map of settings: received "state"')
  })

  test('names both places of a key that comes twice', () => {
    const message = problem('listen:\n  dot: []\n  doh: []\n  dot: []\n')
    assert.equal(message, 'atlas.yaml:4:3: listen.dot: expected the key once: received it at atlas.yaml:2:3 already')
  })

  test('refuses a key that is no word', () => {
    assert.equal(problem('? [a]\n: 1\n'), 'atlas.yaml:1:3: expected a plain word as key: received a list, a map or an alias')
  })

  test('refuses an alias without an anchor above it', () => {
    const message = 'atlas.yaml:1:8: state: expected an alias of an anchor above it: received "*here"'
    assert.ok(problem('state: *here\n').split('\n').includes(message))
  })

  test('stops at aliases of aliases of aliases, and at an alias inside what it names', () => {
    const lines = ['a: &a [x, x, x, x, x, x, x, x, x, x]']
    for (const [now, before] of ['ba', 'cb', 'dc', 'ed']) lines.push(`${now}: &${now} [${Array(10).fill(`*${before}`).join(', ')}]`)
    assert.match(
      problem(lines.join('\n')),
      /^atlas\.yaml:\d+:\d+: e\[\d\]: expected at most 100000 values, aliases written out: received more$/,
    )
    assert.equal(problem('access: &x { dns: *x }\n'), 'atlas.yaml:1:19: access.dns: expected at most 32 levels: received more')
  })

  test('refuses deep nesting, however deep', () => {
    assert.match(problem(nested(32)), /unknown key/)
    for (const depth of [33, 600, 100_000])
      assert.match(problem(nested(depth)), /^atlas\.yaml:1:\d+: .*expected at most 32 levels: received more$/)
  })

  test('throws nothing but a ConfigError that says something, whatever the file holds', () => {
    const words = [
      'listen',
      'doh',
      'state',
      'upstreams',
      'tls',
      'certificates',
      'log',
      '"udp://192.0.2.1"',
      '1.5',
      'null',
      '.nan',
      '__proto__',
    ]
    const marks = [
      ': ',
      ' ',
      '\n',
      '  ',
      '- ',
      '[',
      ']',
      '{',
      '}',
      ', ',
      '&x ',
      '*x',
      '!!binary ',
      '!y ',
      '? ',
      '|',
      '"',
      '#',
      '%',
      '---\n',
      '\t',
      '\0',
    ]
    const content = fc.array(fc.constantFrom(...words, ...marks), { maxLength: 25 }).map((parts) => parts.join(''))
    fc.assert(
      fc.property(content, (source) => {
        writeFileSync(join(cwd, 'any.yaml'), source)
        try {
          return Object.isFrozen(loadConfig({ file: 'any.yaml', env: {}, cwd }).config)
        } catch (error) {
          return error instanceof ConfigError && error.message.startsWith('any.yaml')
        }
      }),
      { numRuns: 500 },
    )
  })
})

describe('loadConfig() and secrets in wrong places', () => {
  test('does not repeat private keys and passwords', () => {
    const pem = '-----BEGIN PRIVATE KEY-----\\nMIGHAgEAMBMG\\n'
    assert.equal(
      problem(`tls: { certificates: [{ cert: a, key: "${pem}" }] }`),
      'atlas.yaml:1:39: tls.certificates[0].key: expected the path of a PEM file: received a private key',
    )
    assert.match(problem('upstreams: ["tls://user:hunter2@192.0.2.1"]'), /received a URL with a user name or password$/)
    assert.match(problem('log: { level: "-----BEGIN EC PRIVATE KEY----- x" }'), /received a private key$/)
  })
})

describe('loadConfig() and keys', () => {
  test('names the position of an unknown key, and the key that was meant', () => {
    assert.equal(problem('listen:\n  admin: false\n  dto: []\n'), 'atlas.yaml:3:3: listen.dto: unknown key "dto": did you mean "dot"?')
    assert.equal(
      problem('tls: { min_version: "1.2" }'),
      'atlas.yaml:1:8: tls.min_version: unknown key "min_version": did you mean "minVersion"?',
    )
    assert.equal(problem('"limits ": {}'), 'atlas.yaml:1:1: ["limits "]: unknown key "limits ": did you mean "limits"?')
  })

  test('lists the allowed keys when none is near', () => {
    assert.equal(
      problem('edns: { fragment: 1 }'),
      'atlas.yaml:1:9: edns.fragment: unknown key "fragment": expected one of padding, cookies, clientSubnet',
    )
    assert.equal(problem('0x10: {}'), `atlas.yaml:1:1: ["0x10"]: unknown key "0x10": expected one of ${TOP}`)
    assert.equal(problem('__proto__: {}'), `atlas.yaml:1:1: ["__proto__"]: unknown key "__proto__": expected one of ${TOP}`)
  })

  test('knows no key of a feature that is still to come', () => {
    for (const source of ['doh: { push: true }', 'tls: { ech: {} }', 'edns: { ecs: true }'])
      assert.match(problem(source), /unknown key/, source)
  })

  test('finds unknown keys inside the entries of lists', () => {
    const entries = 'listen: { dot: [{ address: "127.0.0.1:1", cleartext: true }] }\nupstreams: [{ url: "udp://192.0.2.1", speed: 1 }]\n'
    assert.deepEqual(problem(`${entries}tls: { certificates: [{ cert: a, key: b, password: c }] }`).split('\n'), [
      'atlas.yaml:1:43: listen.dot[0].cleartext: unknown key "cleartext": expected one of address, access, proxyProtocol, clientCa',
      `atlas.yaml:2:39: upstreams[0].speed: unknown key "speed": expected one of ${UPSTREAM}`,
      'atlas.yaml:3:42: tls.certificates[0].password: unknown key "password": expected one of cert, key, pfx, passwordFile',
    ])
  })

  test('wants each certificate by ACME to have a first name of its own, which names its files', () => {
    const entries = 'tls:\n  acme:\n    - { names: [a.test, b.test] }\n    - { names: [b.test] }\n    - { names: [a.test] }\n'
    const expected = 'expected another first name for each certificate: received "a.test", which tls.acme[0] has'
    assert.equal(problem(entries), `atlas.yaml:5:7: tls.acme[2]: ${expected}`)
  })

  test('names the entry that lacks a key', () => {
    const message = problem('tls:\n  certificates:\n    - cert: a.pem\n')
    assert.equal(message, 'atlas.yaml:3:7: tls.certificates[0].key: expected the path of a PEM file: received nothing')
    assert.equal(
      problem('listen: { dot: [{ acess: [any] }] }').split('\n')[0],
      `atlas.yaml:1:17: listen.dot[0].address: ${ENDPOINT}: received nothing`,
    )
  })
})

describe('ConfigError', () => {
  test('carries all problems in the order of the file, one a line', () => {
    const error = load('log: { level: x }\nfoo: 1\nstrategy: y\nstrategy: z\nlisten: { dot: ["127.0.0.1:1", foo] }\n', 'my.yaml')
    assert.deepEqual(error.problems, [
      {
        where: 'my.yaml:1:15',
        path: 'log.level',
        message: 'expected one of "fatal", "error", "warn", "info", "debug", "trace": received "x"',
      },
      { where: 'my.yaml:2:1', path: 'foo', message: `unknown key "foo": expected one of ${TOP}` },
      {
        where: 'my.yaml:3:11',
        path: 'strategy',
        message: 'expected one of "ordered", "round-robin", "weighted", "fastest", "race", "hash": received "y"',
      },
      { where: 'my.yaml:4:1', path: 'strategy', message: 'expected the key once: received it at my.yaml:3:1 already' },
      { where: 'my.yaml:5:32', path: 'listen.dot[1]', message: `${ENDPOINT}: received "foo"` },
    ])
    assert.equal(error.message.split('\n')[4], `my.yaml:5:32: listen.dot[1]: ${ENDPOINT}: received "foo"`)
  })

  test('is an OperationalError with the code ATLAS_CONFIG', () => {
    const error = load('foo: 1')
    assert.ok(error instanceof OperationalError)
    assert.deepEqual([error.code, error.name], ['ATLAS_CONFIG', 'ConfigError'])
  })
})
