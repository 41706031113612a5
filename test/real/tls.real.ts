import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { watch } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { makeTicketKey } from '../../certs/tickets/key.ts'
import { type Finished, freePort, Holdings, missing, run, start } from '../harness/real.ts'
import { type Lab, metric, type RealGateway, startGateway, startLab } from './lab.ts'
import { type CaFiles, makeCa, makeLeaf, startResponder } from './openssl.ts'

const TICKET_MS = 10_000
/** Connections after which both of two workers have had one, but for once in 500,000. */
const SPREAD = 20
/** For a staple to arrive in both workers. */
const [STAPLE_MS, POLL_MS] = [10_000, 100]
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

/** A client that stays until its session is in the file. */
async function begin(holdings: Holdings, file: string, args: readonly string[]): Promise<string> {
  const first = start(holdings, 'openssl', [...args, '-sess_out', join(holdings.folder, file)])
  await sessionFile(holdings.folder, file)
  first.input('')
  assert.equal(await first.exit, 0, first.text)
  return first.text
}

async function assertResumes({ gateway, holdings }: Lab, version: '1.2' | '1.3', times: number): Promise<void> {
  const option = version === '1.2' ? '-tls1_2' : '-tls1_3'
  for (const [port, alpn, transport] of [
    [gateway.dot, 'dot', 'dot'],
    [gateway.doh, 'h2', 'doh2'],
  ] as const) {
    const name = `session-${alpn}`
    const args = client(port, gateway.ca, option, '-alpn', alpn)
    assert.match(await begin(holdings, name, args), new RegExp(`^New, TLSv${version}`, 'm'))
    for (let i = 0; i < times; i++) {
      const again = await run('openssl', [...args, '-sess_in', join(holdings.folder, name)])
      assert.match(again.text, new RegExp(`^Reused, TLSv${version}`, 'm'), again.text)
      assert.match(again.text, /Verify return code: 0 \(ok\)/)
    }
    const counter = `atlas_handshakes_total{transport="${transport}",outcome="ok",version="TLSv${version}",resumed="true"}`
    assert.equal(await metric(gateway, counter), times)
  }
}

/** The CA that clients are to trust can vouch for nothing but the gateway, whoever steals its key. */
async function assertConstrained({ gateway, holdings }: Lab): Promise<void> {
  const issuer = { cert: gateway.ca, key: join(gateway.state, 'ca.key') }
  for (const [i, [names, isPermitted]] of (
    [
      ['DNS:localhost,DNS:www.localhost,IP:127.0.0.1,IP:::1', true],
      ['DNS:evil.example', false],
      ['DNS:localhost,DNS:evil.example', false],
      ['DNS:localhost,IP:127.0.0.2', false],
      ['DNS:localhost,IP:2001:db8::1', false],
    ] as const
  ).entries()) {
    const { cert } = await makeLeaf(holdings, `constrained${i}`, { issuer, names, serial: 0x2000 + i })
    const { code, text } = await run('openssl', ['verify', '-CAfile', gateway.ca, cert])
    assert.match(text, isPermitted ? /: OK$/m : /permitted subtree violation/, text)
    assert.equal(code === 0, isPermitted)
  }
}

/** Whom a client sees that sends this server name, and with which key; null: it sends none. */
async function shown({ dot }: RealGateway, name: string | null, ...rest: readonly string[]): Promise<string> {
  const sni = name === null ? ['-noservername'] : ['-servername', name]
  const { code, text } = await run('openssl', ['s_client', '-connect', `127.0.0.1:${dot}`, ...sni, ...rest])
  assert.equal(code, 0, text)
  return text
}

const subject = (text: string): string | undefined => /^subject=CN ?= ?(\S+)$/m.exec(text)?.[1]

async function assertChosen(gateway: RealGateway): Promise<void> {
  for (const [name, expected, ...rest] of [
    ['exact.wild.example', 'exact'],
    ['EXACT.wild.example', 'exact'],
    ['other.wild.example', 'wildcard'],
    ['a.b.wild.example', 'first'],
    ['unknown.example', 'first'],
    [null, 'first'],
    ['first.example', 'first', '-sigalgs', 'ecdsa_secp256r1_sha256:rsa_pss_rsae_sha256'],
    ['first.example', 'first-rsa', '-sigalgs', 'rsa_pss_rsae_sha256:RSA+SHA256'],
  ] as const) {
    const text = await shown(gateway, name, ...rest)
    assert.equal(subject(text), expected, text)
  }
}

async function assertGroup(gateway: RealGateway): Promise<void> {
  const known = await run('openssl', ['list', '-kem-algorithms'])
  const best = known.text.includes('X25519MLKEM768') ? /X25519MLKEM768/ : /Temp Key: X25519,/
  assert.match(await shown(gateway, null), best)
  assert.match(await shown(gateway, null, '-groups', 'P-256'), /Temp Key: ECDH, (?:prime256v1|P-256|secp256r1)/)
}

/** Each certificate is shown with what the responder says of it, and not of its twin. */
async function assertStapled(gateway: RealGateway, serials: ReadonlyMap<string, number>): Promise<void> {
  const deadline = performance.now() + STAPLE_MS
  const kinds = [[], ['-sigalgs', 'rsa_pss_rsae_sha256:RSA+SHA256']]
  for (let seen = 0; seen < SPREAD; ) {
    const text = await shown(gateway, 'first.example', '-status', ...(kinds[seen % kinds.length] ?? []))
    if (text.includes('OCSP response: no response sent')) {
      assert.ok(seen === 0 && performance.now() < deadline, text)
      await sleep(POLL_MS)
      continue
    }
    assert.match(text, /OCSP Response Status: successful/)
    assert.match(text, /Cert Status: good/)
    const serial = serials.get(subject(text) ?? '') ?? 0
    assert.match(text, new RegExp(`Serial Number: ${serial.toString(16)}$`, 'im'), text)
    seen++
  }
  assert.match(await shown(gateway, 'other.wild.example', '-status'), /OCSP response: no response sent/)
}

/** Reads the configuration, and all files in it, anew. */
async function reload({ process }: RealGateway): Promise<void> {
  const before = process.text.match(READ_ANEW)?.length ?? 0
  process.signal('SIGHUP')
  await process.until(new RegExp(`(?:${READ_ANEW.source}[^]*){${before + 1}}`))
}

const READ_ANEW = /"outcome":"applied".*the configuration was read anew/g

async function assertRotates(holdings: Holdings, gateway: RealGateway, tickets: { file: string; key: string }): Promise<void> {
  const args = ['s_client', '-connect', `127.0.0.1:${gateway.dot}`, '-servername', 'first.example']
  const session = join(holdings.folder, 'old-session')
  const assertAll = async (expected: 'New' | 'Reused'): Promise<void> => {
    for (let i = 0; i < SPREAD; i++) {
      const { text } = await run('openssl', [...args, '-sess_in', session])
      assert.match(text, new RegExp(`^${expected}, TLSv1\\.3`, 'm'), text)
    }
  }
  await begin(holdings, 'old-session', args)
  await assertAll('Reused')
  const next = makeTicketKey()
  writeFileSync(tickets.file, `${next}\n${tickets.key}\n`)
  await reload(gateway)
  await assertAll('Reused')
  writeFileSync(tickets.file, `${next}\n`)
  await reload(gateway)
  await assertAll('New')
}

/** An address that is added while the gateway runs. */
async function assertDemands(holdings: Holdings, gateway: RealGateway, clientCa: CaFiles): Promise<void> {
  const port = await freePort()
  const config = readFileSync(gateway.config, 'utf8')
  const places = `dot: ["127.0.0.1:0", { address: "127.0.0.1:${port}", clientCa: ${clientCa.cert} }]`
  writeFileSync(gateway.config, config.replace('dot: ["127.0.0.1:0"]', places))
  await reload(gateway)
  const ok = 'atlas_handshakes_total{transport="dot",outcome="ok"'
  const args = ['s_client', '-connect', `127.0.0.1:${port}`, '-servername', 'first.example']
  const stranger = await makeCa(holdings, 'stranger')
  const before = await metric(gateway, ok)
  // who reads on sees how it ends
  const none = await run('openssl', [...args, '-ign_eof'])
  assert.match(none.text, /alert number 116/, none.text)
  await run('openssl', [...args, '-ign_eof', '-cert', stranger.cert, '-key', stranger.key])
  assert.equal(await metric(gateway, ok), before)
  const alice = await makeLeaf(holdings, 'alice', { issuer: clientCa, names: 'DNS:alice.example', serial: 0x3000 })
  await begin(holdings, 'alice-session', [...args, '-cert', alice.cert, '-key', alice.key])
  assert.equal(await metric(gateway, ok), before + 1)
}

/** TLS 1.2 where that is switched on, and 1.3 all the same. */
async function assertOlder(t: TestContext): Promise<void> {
  const lab = await startLab(t, 'workers: 2\ntls: { minVersion: "1.2" }')
  await assertResumes(lab, '1.2', SPREAD)
  const best = await connect(lab.gateway, '-alpn', 'dot')
  assert.match(best.text, /^New, TLSv1\.3/m, best.text)
  const older = await connect(lab.gateway, '-tls1_1', '-cipher', 'DEFAULT@SECLEVEL=0')
  assert.notEqual(older.code, 0)
  assert.match(older.text, /alert number 70/, older.text)
}

test(
  'openssl is offered TLS 1.3 alone and on the DoT port "dot" alone, 1.2 where that is switched on, and resumes sessions of both with whatever worker it meets',
  OPENSSL,
  async (t) => {
    const lab = await startLab(t, 'workers: 2')
    await assertStrict(lab.gateway)
    await assertConstrained(lab)
    await assertResumes(lab, '1.3', SPREAD)
    // RFC 8446 §4.2.10: no ticket of ours allows it (conformance T19)
    const [session, early] = ['session-dot', 'early'].map((name) => join(lab.holdings.folder, name)) as [string, string]
    writeFileSync(early, 'asked too early')
    const eager = await connect(lab.gateway, '-alpn', 'dot', '-sess_in', session, '-early_data', early)
    assert.match(eager.text, /^Early data was not sent/m, eager.text)
    assert.match(eager.text, /^Reused, TLSv1\.3/m)
    await assertOlder(t)
  },
)

test(
  'openssl is shown the right certificate of several with its staple, in the best group, resumes across a change of ticket keys, and is asked for its own',
  OPENSSL,
  async (t) => {
    const holdings = new Holdings(t)
    const port = await freePort()
    const [issuer, clientCa] = await Promise.all(['issuer', 'clients'].map((name) => makeCa(holdings, name)))
    assert.ok(issuer !== undefined && clientCa !== undefined)
    const serials = new Map([
      ['first', 0x1001],
      ['first-rsa', 0x1002],
    ])
    await startResponder(holdings, port, { issuer, serials: [...serials.values()] })
    const responder = `http://127.0.0.1:${port}/`
    const leaves = await Promise.all([
      makeLeaf(holdings, 'first', { issuer, names: 'DNS:first.example', serial: 0x1001, responder }),
      makeLeaf(holdings, 'first-rsa', { issuer, names: 'DNS:first.example', serial: 0x1002, responder, isRsa: true }),
      makeLeaf(holdings, 'wildcard', { issuer, names: 'DNS:*.wild.example', serial: 0x1003 }),
      makeLeaf(holdings, 'exact', { issuer, names: 'DNS:exact.wild.example', serial: 0x1004 }),
    ])
    const tickets = { file: join(holdings.folder, 'tickets'), key: makeTicketKey() }
    writeFileSync(tickets.file, tickets.key)
    const certificates = leaves.map(({ chain, key }) => `{ cert: ${chain}, key: ${key} }`).join(', ')
    const gateway = await startGateway(holdings, '"udp://127.0.0.1:53"', {
      settings: `workers: 2\ntls: { certificates: [${certificates}], ticketKeys: { file: ${tickets.file} } }`,
    })
    await assertChosen(gateway)
    await assertGroup(gateway)
    await assertStapled(gateway, serials)
    await assertRotates(holdings, gateway, tickets)
    await assertDemands(holdings, gateway, clientCa)
  },
)
