import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, describe } from 'node:test'

const MAIN = new URL('../../gateway/main.ts', import.meta.url).pathname
const directory = mkdtempSync(join(tmpdir(), 'atlas-program-'))
after(() => rmSync(directory, { recursive: true, force: true }))

const QUIET = 'listen: { doh: ["127.0.0.1:0"], dot: ["127.0.0.1:0"], doq: ["127.0.0.1:0"], dns: ["127.0.0.1:0"], admin: "127.0.0.1:0" }\n'

/** Nothing else: a variable of the developer's must not change what is tested. */
const INHERITED = Object.fromEntries(Object.entries(process.env).filter(([name]) => name === 'PATH' || name === 'NODE_COMPILE_CACHE'))

interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

interface Running {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
  /** Resolves once the start-up text has been printed. */
  readonly serving: Promise<string>
  /** Resolves once the log says `text`. */
  logged(text: string): Promise<void>
}

function start(args: readonly string[], env: Record<string, string> = {}): Running {
  const child = spawn(process.execPath, [MAIN, ...args], { cwd: directory, env: { ...INHERITED, ...env }, stdio: 'pipe' })
  const output = { stdout: '', stderr: '' }
  const serving = new Promise<string>((resolve) => {
    child.stdout.on('data', (chunk: Buffer) => {
      output.stdout += chunk
      if (output.stdout.includes('Try it')) resolve(output.stdout)
    })
  })
  child.stderr.on('data', (chunk: Buffer) => {
    output.stderr += chunk
  })
  const logged = async (text: string): Promise<void> => {
    while (!output.stderr.replaceAll('\\"', '"').includes(text)) await once(child.stderr, 'data')
  }
  const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, ...output }))
  return { child, ended, serving, logged }
}

function config(name: string, text: string): string {
  const path = join(directory, name)
  writeFileSync(path, text)
  return path
}

const run = (args: readonly string[], env?: Record<string, string>) => start(args, env).ended

describe('atlas-dns run', () => {
  test('reads its configuration anew on SIGHUP, and keeps the one it has when that is wrong', async () => {
    const file = config('hup.yaml', `${QUIET}state: ./hup\n`)
    const { child, ended, serving, logged } = start(['run', '--config', file])
    await serving
    config('hup.yaml', `${QUIET}state: ./hup\ntimeouts: { query: soon }\n`)
    child.kill('SIGHUP')
    await logged(`${file}:3:20: timeouts.query: expected a duration`)
    config('hup.yaml', `${QUIET}state: ./hup\ntimeouts: { query: 2s }\nworkers: 1\ncache: { memory: 1MiB }\n`)
    child.kill('SIGHUP')
    await logged('"changes":1,"restartOnly":["cache.memory","workers"],"msg":"the configuration was read anew"')
    child.kill('SIGTERM')
    assert.equal((await ended).code, 0)
  })

  test('serves, says where, and ends with 0 on SIGTERM', async () => {
    const { child, ended, serving } = start(['run', '--config', config('a.yaml', `${QUIET}state: ./a\n`)])
    const text = await serving
    for (const expected of [
      'https://localhost:',
      '+tls-hostname=localhost',
      '+quic',
      '--doh-url',
      join(directory, 'a/ca.pem'),
      'dig @127.0.0.1',
    ]) {
      assert.ok(text.includes(expected), expected)
    }
    assert.match(text, /SHA-256 fingerprint\s+([0-9A-F]{2}:){31}[0-9A-F]{2}\n/)
    child.kill('SIGTERM')
    const { code, stderr } = await ended
    assert.equal(code, 0)
    assert.ok(stderr.includes('"stopped"'))
  })

  test('refuses a state directory that another gateway holds, and takes it over from one that was killed', async () => {
    const path = config('b.yaml', `${QUIET}workers: 2\nstate: ./b\n`)
    const first = start(['run', '--config', path])
    await first.serving
    const { code, stderr } = await run(['run', '--config', path])
    assert.equal(code, 1)
    assert.match(stderr, /^Cannot lock the state directory .*b: another atlas-dns is running with it\n$/)
    // nor does it take part of the traffic of another that has a directory of its own
    const [, port] = /dig @127\.0\.0\.1 -p (\d+)/.exec(await first.serving) ?? assert.fail()
    const other = QUIET.replace('dns: ["127.0.0.1:0"]', `dns: ["127.0.0.1:${port}"]`)
    const refused = await run(['run', '--config', config('o.yaml', `${other}state: ./o\nworkers: 2\n`)])
    const message = `Cannot listen for dns (TCP) on 127.0.0.1:${port}: the address is in use by another process\n`
    assert.deepEqual([refused.code, refused.stderr], [1, message])
    first.child.kill('SIGKILL')
    await first.ended
    const next = start(['run', '--config', path])
    await next.serving
    next.child.kill('SIGINT')
    assert.equal((await next.ended).code, 0)
  })

  test('names the address that is in use, and binds nothing', async () => {
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    const { port } = taken.address() as AddressInfo
    const takenUdp = createSocket('udp4').bind(port, '127.0.0.1')
    await once(takenUdp, 'listening')
    for (const kind of ['doh', 'dot', 'doq', 'dns', 'admin']) {
      const value = kind === 'admin' ? `"127.0.0.1:${port}"` : `["127.0.0.1:${port}"]`
      const { code, stdout, stderr } = await run([
        'run',
        '--config',
        config('c.yaml', `listen: { ${kind}: ${value} }\nworkers: 2\nstate: ./c\n`.replace('{', '{ ').replace('}', others(kind))),
      ])
      assert.equal(code, 1)
      assert.equal(stdout, '')
      assert.equal(
        stderr,
        `Cannot listen for ${kind === 'dns' ? 'dns (TCP)' : kind} on 127.0.0.1:${port}: the address is in use by another process\n`,
      )
    }
    taken.close()
    takenUdp.close()
  })

  test('refuses a wrong configuration before it touches anything', async () => {
    const { code, stdout, stderr } = await run(['run', '--config', config('d.yaml', 'state: ./d\nfoo: 1\n')])
    assert.equal(code, 1)
    assert.equal(stdout, '')
    assert.match(stderr, /d\.yaml:2:1: foo: unknown key "foo"/)
    assert.ok(!existsSync(join(directory, 'd')))
  })

  test('says what is wrong with a certificate, in one line', async () => {
    writeFileSync(join(directory, 'empty.pem'), '')
    const { code, stderr } = await run([
      'run',
      '--config',
      config('e.yaml', `${QUIET}state: ./e\ntls: { certificates: [{ cert: empty.pem, key: empty.pem }] }\n`),
    ])
    assert.equal(code, 1)
    assert.match(stderr, /^Cannot use certificate: .*empty\.pem.*e\.yaml:3:\d+\)\n$/)
  })

  test('goes without QUIC where its library has no binary, and says so once', async () => {
    const { child, ended, serving } = start(['run', '--config', config('q.yaml', `${QUIET}state: ./q\n`)], {
      NAPI_RS_NATIVE_LIBRARY_PATH: '/nonexistent',
    })
    const text = await serving
    assert.ok(!text.includes('+quic'))
    assert.match(text, /DNS over TLS {2}/)
    child.kill('SIGTERM')
    const { code, stderr } = await ended
    assert.equal(code, 0)
    assert.equal(stderr.match(/QUIC/g)?.length, 2, 'one line: "no QUIC on this machine: DNS over QUIC and …"')
    assert.match(stderr, /"level":40.*no QUIC on this machine: .* everything else works/)
  })

  test('warns about variables that mean nothing, and goes on', async () => {
    const { child, ended, serving } = start(['run', '--config', config('f.yaml', `${QUIET}state: ./f\n`)], {
      ATLAS_PORT: 'tcp://10.0.0.1:53',
    })
    await serving
    child.kill('SIGTERM')
    const { code, stderr } = await ended
    assert.equal(code, 0)
    assert.match(stderr, /ATLAS_PORT/)
  })
})

describe('atlas-dns', () => {
  test('check ends with 0 for a good configuration and 1 for an upstream that is ourselves', async () => {
    assert.equal((await run(['check', '--config', config('g.yaml', QUIET)])).code, 0)
    const loop = config('h.yaml', 'listen: { dns: ["127.0.0.1:5300"] }\nupstreams: [udp://127.0.0.1:5300]\n')
    const { code, stderr } = await run(['check', '--config', loop])
    assert.equal(code, 1)
    assert.match(stderr, /one of our own listeners: .*h\.yaml:2:13/)
  })

  test('ends with 2 when it is called wrongly, and with 0 when it is asked for help', async () => {
    assert.equal((await run(['bogus'])).code, 2)
    assert.equal((await run(['run', '--bogus'])).code, 2)
    assert.equal((await run(['query', 'a.example', 'b.example'])).code, 2)
    assert.equal((await run(['--help'])).code, 0)
    assert.equal((await run(['--version'])).code, 0)
  })

  test('schema prints JSON', async () => {
    const { code, stdout } = await run(['schema'])
    assert.equal(code, 0)
    assert.equal((JSON.parse(stdout) as { $schema: string }).$schema, 'https://json-schema.org/draft/2020-12/schema')
  })
})

/** Ports that nobody has for the listeners that are not under test. */
function others(kind: string): string {
  const rest = ['doh', 'dot', 'doq', 'dns', 'admin'].filter((each) => each !== kind)
  return `${rest.map((each) => `, ${each}: ${each === 'admin' ? 'false' : '["127.0.0.1:0"]'}`).join('')} }`
}
