import assert from 'node:assert/strict'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { describe, type TestContext } from 'node:test'
import { checkCertificates } from '../../gateway/assembly/certificate-check.ts'
import { checkGateway } from '../../gateway/assembly/check.ts'
import { prepare } from '../../gateway/assembly/prepare.ts'
import { type LoadedConfig, loadConfig } from '../../gateway/config/load.ts'
import { issue } from '../certs/issue.ts'
import { temporaryDirectory } from '../harness/temporary.ts'

const SECRET = 'A'.repeat(43)

/** Writes files of configurations, and what is said of these. */
function checking(t: TestContext) {
  const directory = temporaryDirectory(t)
  const file = (name: string, text: string, mode = 0o600): string => {
    writeFileSync(join(directory, name), text, { mode })
    return join(directory, name)
  }
  const load = (entry: string, rest = ''): LoadedConfig['config'] => {
    const config = file('atlas.yaml', `tls:\n  acme: { names: [a.example], ${entry} }\n${rest}`)
    return loadConfig({ file: config, env: {}, cwd: directory }).config
  }
  /** Of both commands; null: nothing is wrong. */
  const flaw = async (entry: string, rest = ''): Promise<{ code: string; message: string } | null> => {
    const config = load(entry, rest)
    const [report] = await checkCertificates(config, { roots: [], now: Date.now() })
    const error = await checkGateway(config).then(
      () => null,
      ({ code, message }) => ({ code, message: message.replaceAll(directory, '') }),
    )
    assert.deepEqual(
      report?.problems.map((problem) => problem.replaceAll(directory, '')),
      error === null ? [] : [error.message],
    )
    return error
  }
  return { directory, file, load, flaw }
}

const dns01 = (dns: string): string => `challenge: dns-01, dns: { ${dns} }`
const certificate = (message: string) => ({ code: 'ATLAS_CERTIFICATE', message })

describe('check, of what tls.acme names', () => {
  test('reads the roots of the CA', async (t) => {
    const { file, flaw } = checking(t)
    const missing = 'Cannot use CA file: there is no such file: /root.pem (/atlas.yaml:2:35)'
    assert.deepEqual(await flaw('ca: root.pem'), certificate(missing))
    file('root.pem', 'nothing')
    assert.match((await flaw('ca: root.pem'))?.message ?? '', /^Cannot use CA file: it is not PEM: \/root\.pem/)
    file('root.pem', (await issue({ subject: 'CN=root', isCa: true })).certPem)
    assert.equal(await flaw('ca: root.pem'), null)
  })

  test('reads the key of the external account, and repeats nothing of it', async (t) => {
    const { file, flaw } = checking(t)
    const entry = 'eab: { keyId: me, keyFile: eab.key }'
    assert.match(
      (await flaw(entry))?.message ?? '',
      /^Cannot use the HMAC key of tls\.acme\.eab: there is no such file: \/eab\.key \(\/atlas\.yaml:2:/,
    )
    file('eab.key', 'se+cret/==')
    const { message = '' } = (await flaw(entry)) ?? {}
    assert.match(message, /it is not base64url/)
    assert.doesNotMatch(message, /se\+/)
    file('eab.key', `${SECRET}\n`)
    assert.equal(await flaw(entry), null)
  })

  test('reads the secret of dynamic updates', async (t) => {
    const { file, flaw } = checking(t)
    const entry = dns01('update: 192.0.2.53, tsig: { name: atlas, secretFile: tsig.secret }')
    assert.match(
      (await flaw(entry))?.message ?? '',
      /^Cannot use the TSIG secret of \/tsig\.secret \(\/atlas\.yaml:2:\d+\): there is no such file$/,
    )
    file('tsig.secret', 'key "atlas" { secret "x"; };')
    assert.match((await flaw(entry))?.message ?? '', /expected the secret alone, in base64$/)
    file('tsig.secret', `${SECRET}=`)
    assert.equal(await flaw(entry), null)
    assert.equal(await flaw(dns01('update: 192.0.2.53')), null)
  })

  test('is done by a reload as well, while a start only warns: what is stored may be good for months', async (t) => {
    const { load } = checking(t)
    const config = load(dns01('update: 192.0.2.53, tsig: { name: atlas, secretFile: tsig.secret }'))
    await assert.rejects(prepare(config, { isStart: false }), { message: /^Cannot use the TSIG secret of / })
    const { warnings } = await prepare(config, { isStart: true })
    assert.match(warnings.join('\n'), /^Cannot use the TSIG secret of .*tsig\.secret/m)
  })

  test('warns of names that QUIC, or no certificate, has', async (t) => {
    const { file, load } = checking(t)
    const rest = 'public: { name: dns.example }\n'
    const publicName = 'public.name: no certificate is for dns.example, so clients that use this name will refuse the gateway'
    assert.deepEqual(await checkGateway(load('challenge: tls-alpn-01', rest)), [publicName])
    const two = file('two.yaml', `${rest}tls:\n  acme: [{ names: [a.example] }, { names: [dns.example] }]\n`)
    const { config } = loadConfig({ file: two, env: {}, cwd: '/' })
    assert.deepEqual(await checkGateway(config), [
      'tls: DNS over QUIC and HTTP/3 present the first certificate, whatever name a client asks for: it is not for dns.example',
    ])
  })

  test('looks for the hook as it would be started', async (t) => {
    const { directory, file, flaw } = checking(t)
    const { PATH } = process.env
    t.after(() => {
      process.env.PATH = PATH
    })
    const said = (reason: string, program: string) => certificate(`Cannot use the hook of dns-01: ${reason}: ${program} (/atlas.yaml:2:9)`)
    assert.deepEqual(await flaw(dns01('hook: [./hook]')), said('there is no such program', '/hook'))
    const program = file('hook', '#!/bin/sh\n', 0o644)
    assert.deepEqual(await flaw(dns01('hook: [./hook]')), said('it may not be executed', '/hook'))
    assert.deepEqual(await flaw(dns01('hook: [./]')), said('it may not be executed', ''))
    process.env.PATH = ['/nowhere', directory].join(':')
    assert.deepEqual(await flaw(dns01('hook: [hook]')), said('it may not be executed', 'hook'))
    chmodSync(program, 0o755)
    assert.equal(await flaw(dns01('hook: [hook]')), null)
    assert.equal(await flaw(dns01('hook: [./hook, --zone, example]')), null)
    process.env.PATH = '/nowhere'
    assert.deepEqual(await flaw(dns01('hook: [hook]')), said('there is no such program', 'hook'))
  })

  test('refuses a responder where the gateway answers clients, before anything is bound', async (t) => {
    const { load, flaw } = checking(t)
    const clash = async (responder: string, dns: string): Promise<string | null> => {
      const [entry, rest] = [dns01(`responder: ["${responder}"], zone: acme.example`), `listen: { dns: ["${dns}"] }\n`]
      const found = await flaw(entry, rest)
      const prepared = prepare(load(entry, rest), { isStart: true })
      if (found === null) assert.ok(await prepared)
      else await assert.rejects(prepared, { code: found.code })
      return found === null ? null : `${found.code} ${found.message}`
    }
    const advice = 'take another address, or name those of listen.dns one by one'
    const said = (responder: string, dns: string) =>
      `ATLAS_LISTEN Cannot answer CAs by dns-01 on ${responder} (/atlas.yaml:2:9): listen.dns has ${dns}: ${advice}`
    for (const [responder, dns] of [
      ['127.0.0.1:5353', '127.0.0.1:5353'],
      ['127.0.0.1:5353', '0.0.0.0:5353'],
      ['0.0.0.0:5353', '127.0.0.1:5353'],
      ['[::]:5353', '[::1]:5353'],
    ] as const)
      assert.equal(await clash(responder, dns), said(responder, dns))
    for (const [responder, dns] of [
      ['127.0.0.1:5353', '127.0.0.1:5354'],
      ['127.0.0.1:5353', '127.0.0.2:5353'],
      ['0.0.0.0:5353', '[::]:5353'],
      ['127.0.0.1:0', '127.0.0.1:0'],
    ] as const)
      assert.equal(await clash(responder, dns), null)
  })

  test('refuses a zone below which no name of a challenge has room', async (t) => {
    const { flaw } = checking(t)
    const zone = (length: number) => dns01(`responder: ["127.0.0.1:5353"], zone: ${'abc.'.repeat(55).slice(0, length - 3)}net`)
    assert.equal(await flaw(zone(219)), null)
    assert.match((await flaw(zone(223)))?.message ?? '', /^Cannot answer for a zone: expected at most 220 characters: abc/)
  })
})
