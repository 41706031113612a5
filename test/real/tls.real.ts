import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { watch } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'node:test'
import { type Finished, missing, run, start } from '../harness/real.ts'
import { type Lab, metric, type RealGateway, startLab } from './lab.ts'

const TICKET_MS = 10_000
/** Connections after which both of two workers have had one, but for once in 500,000. */
const SPREAD = 20
const OPENSSL = { skip: missing('openssl') }

function client(port: number, ca: string, ...rest: readonly string[]): readonly string[] {
  return ['s_client', '-connect', `127.0.0.1:${port}`, '-servername', 'localhost', '-verify_return_error', '-CAfile', ca, ...rest]
}

function connect({ dot, ca }: RealGateway, ...rest: readonly string[]): Promise<Finished> {
  return run('openssl', client(dot, ca, ...rest))
}

/** "dot" and TLS 1.3, and nothing else. */
async function assertStrict(gateway: RealGateway): Promise<void> {
  const right = await connect(gateway, '-alpn', 'dot')
  assert.equal(right.code, 0, right.text)
  assert.match(right.text, /ALPN protocol: dot/)
  assert.match(right.text, /Verify return code: 0 \(ok\)/)

  const silent = await connect(gateway)
  assert.equal(silent.code, 0, 'RFC 7858 asks for no ALPN')

  const h2 = await connect(gateway, '-alpn', 'h2')
  assert.notEqual(h2.code, 0)
  assert.match(h2.text, /alert number 120/, h2.text)

  for (const port of [gateway.dot, gateway.doh]) {
    const old = await run('openssl', client(port, gateway.ca, '-tls1_2'))
    assert.notEqual(old.code, 0)
    assert.match(old.text, /alert number 70/, old.text)
  }
}

/** s_client writes the file when a ticket arrives, which in TLS 1.3 is after the handshake; what it prints stays in its buffer. */
async function sessionFile(folder: string, name: string): Promise<void> {
  const changes = watch(folder, { signal: AbortSignal.timeout(TICKET_MS) })
  for await (const { filename } of changes) {
    if (filename === name && readFileSync(join(folder, name), 'latin1').includes('-----END')) return
  }
}

async function assertResumes({ gateway, holdings }: Lab, version: '1.2' | '1.3', times: number): Promise<void> {
  const option = version === '1.2' ? '-tls1_2' : '-tls1_3'
  for (const [port, alpn, transport] of [
    [gateway.dot, 'dot', 'dot'],
    [gateway.doh, 'h2', 'doh2'],
  ] as const) {
    const name = `session-${alpn}`
    const file = join(holdings.folder, name)
    const first = start(holdings, 'openssl', client(port, gateway.ca, option, '-alpn', alpn, '-sess_out', file))
    await sessionFile(holdings.folder, name)
    first.input('')
    assert.equal(await first.exit, 0, first.text)
    assert.match(first.text, new RegExp(`^New, TLSv${version}`, 'm'))
    for (let i = 0; i < times; i++) {
      const again = await run('openssl', client(port, gateway.ca, option, '-alpn', alpn, '-sess_in', file))
      assert.match(again.text, new RegExp(`^Reused, TLSv${version}`, 'm'), again.text)
      assert.match(again.text, /Verify return code: 0 \(ok\)/)
    }
    const counter = `atlas_handshakes_total{transport="${transport}",outcome="ok",version="TLSv${version}",resumed="true"}`
    assert.equal(await metric(gateway, counter), times)
  }
}

test(
  'openssl is offered TLS 1.3 alone and on the DoT port "dot" alone, and resumes a session with whatever worker it meets',
  OPENSSL,
  async (t) => {
    const lab = await startLab(t, 'workers: 2')
    await assertStrict(lab.gateway)
    await assertResumes(lab, '1.3', SPREAD)
    // RFC 8446 §4.2.10: no ticket of ours allows it (conformance T19)
    const [session, early] = ['session-dot', 'early'].map((name) => join(lab.holdings.folder, name)) as [string, string]
    writeFileSync(early, 'asked too early')
    const eager = await connect(lab.gateway, '-alpn', 'dot', '-sess_in', session, '-early_data', early)
    assert.match(eager.text, /^Early data was not sent/m, eager.text)
    assert.match(eager.text, /^Reused, TLSv1\.3/m)
  },
)

test('openssl speaks TLS 1.2 where that is switched on, and resumes sessions of it', OPENSSL, async (t) => {
  const lab = await startLab(t, 'workers: 2\ntls: { minVersion: "1.2" }')
  await assertResumes(lab, '1.2', SPREAD)
  const best = await connect(lab.gateway, '-alpn', 'dot')
  assert.match(best.text, /^New, TLSv1\.3/m, best.text)
  const older = await connect(lab.gateway, '-tls1_1', '-cipher', 'DEFAULT@SECLEVEL=0')
  assert.notEqual(older.code, 0)
  assert.match(older.text, /alert number 70/, older.text)
})
