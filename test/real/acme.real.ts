import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { get } from 'node:https'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { certificateBlocks } from '../../certs/pem.ts'
import type { CertificateStatus } from '../../gateway/admin/control.ts'
import { question } from '../harness/messages.ts'
import { dialQuic, type QuicTestClient } from '../harness/quic.ts'
import { freePort, Holdings, missing, type Running, run, runAtlas, startAtlas } from '../harness/real.ts'
import { frame } from '../harness/servers.ts'
import { NAMES, startUnbound, unboundServer, ZONE } from './lab.ts'
import { type Pebble, type PebbleOptions, startPebble } from './pebble.ts'

const TOOLS = { skip: missing('pebble', 'pebble-challtestsrv', 'openssl', 'curl', 'kdig', 'dnsperf') }
const ARRIVED_MS = 60_000
const POLL_MS = 200
/** Between the questions over QUIC. */
const PAUSE_MS = 5
/** dnsperf asks for as long as this takes. */
const RENEWALS = 3

interface AcmeLab {
  readonly holdings: Holdings
  readonly pebble: Pebble
  /** PEM file with the root of what Pebble gives out. */
  readonly roots: string
  readonly ports: { readonly doh: number; readonly dot: number }
  readonly config: string
  readonly state: string
  start(): Promise<Running>
}

interface LabOptions {
  readonly pebble?: PebbleOptions
  /** Entries of `tls.acme`, a line each, without directory and ca. */
  readonly acme: (pebble: Pebble) => readonly string[]
}

/** A gateway with two workers whose certificates Pebble gives; its DoH port is where Pebble looks for tls-alpn-01. */
async function acmeLab(holdings: Holdings, { pebble: options, acme }: LabOptions): Promise<AcmeLab> {
  const pebble = await startPebble(holdings, options)
  const dns = await freePort()
  await startUnbound(
    holdings,
    'lab',
    `${unboundServer(dns)}  local-zone: "${ZONE}." redirect\n  local-data: '${ZONE}. 60 IN A 192.0.2.80'\n`,
  )
  const [roots, config, state] = ['roots.pem', 'atlas.yaml', 'state'].map((name) => join(holdings.folder, name)) as [string, string, string]
  writeFileSync(roots, await fetchPem(pebble))
  const dot = await freePort()
  const entries = acme(pebble).map((entry) => `    - { directory: "${pebble.directory}", ca: ${pebble.caFile}, ${entry} }`)
  writeFileSync(
    config,
    `listen: { doh: ["127.0.0.1:${pebble.tlsPort}"], dot: ["127.0.0.1:${dot}"], doq: ["127.0.0.1:${dot}"], dns: [], admin: "127.0.0.1:0" }
state: ${state}
workers: 2
upstreams: ["udp://127.0.0.1:${dns}"]
tls:
  acme:
${entries.join('\n')}
`,
  )
  const start = async (): Promise<Running> => {
    const process = startAtlas(holdings, ['run', '--config', config])
    await process.until(/"msg":"serving"/)
    return process
  }
  return { holdings, pebble, roots, ports: { doh: pebble.tlsPort, dot }, config, state, start }
}

function fetchPem({ root, caFile }: Pebble): Promise<string> {
  return new Promise((resolve, reject) => {
    get(root, { ca: readFileSync(caFile) }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
      })
      response.on('end', () => resolve(text))
    }).on('error', reject)
  })
}

async function certificates({ config }: AcmeLab): Promise<readonly CertificateStatus[]> {
  const { text, stdout } = await runAtlas(['certs', 'list', '--json', '--config', config])
  assert.match(text, /^\[/, text)
  return JSON.parse(stdout.toString()) as readonly CertificateStatus[]
}

/** Waits until the CA has given all of them. */
async function arrived(lab: AcmeLab): Promise<readonly CertificateStatus[]> {
  const deadline = performance.now() + ARRIVED_MS
  for (;;) {
    const all = await certificates(lab)
    if (all.every(({ source, present }) => source.startsWith('ACME') && present.length > 0)) return all
    const problem = all.find((each) => each.problem !== null)?.problem
    assert.ok(problem == null, problem?.message ?? '')
    assert.ok(performance.now() < deadline, JSON.stringify(all))
    await sleep(POLL_MS)
  }
}

function ordersAt(pebble: Pebble): number {
  return pebble.process.text.match(/There are now \d+ orders in the db/g)?.length ?? 0
}

/** What a client with this server name is shown, verified for it by the root of the CA. */
async function shownTo(
  { ports, roots }: AcmeLab,
  name: string,
  ...rest: readonly string[]
): Promise<{ text: string; leaf: X509Certificate }> {
  const sni = /^[\d.]+$/.test(name) ? ['-noservername', '-verify_ip', name] : ['-servername', name, '-verify_hostname', name]
  const args = ['s_client', '-connect', `127.0.0.1:${ports.dot}`, ...sni, '-CAfile', roots, '-verify_return_error', ...rest]
  const { code, text } = await run('openssl', args)
  assert.equal(code, 0, text)
  const pem = certificateBlocks(text)[0]
  assert.ok(pem !== undefined, text)
  return { text, leaf: new X509Certificate(pem) }
}

/** What makes and removes the record of dns-01 at pebble-challtestsrv, as lego's exec provider calls it. */
function writeHook({ folder }: Holdings, challenges: string): string {
  const file = join(folder, 'hook.sh')
  writeFileSync(
    file,
    `#!/bin/sh
set -e
case "$1" in
  present) exec curl -sSf --data "{\\"host\\": \\"$2\\", \\"value\\": \\"$3\\"}" ${challenges}/set-txt ;;
  cleanup) exec curl -sSf --data "{\\"host\\": \\"$2\\"}" ${challenges}/clear-txt ;;
esac
`,
  )
  chmodSync(file, 0o755)
  return file
}

/** The CA's resolver: knows where the gateway answers for its zone, and asks pebble-challtestsrv for all else. */
async function zoneResolver(holdings: Holdings, responder: number, challenges: Pebble['dns']): Promise<string> {
  const port = await freePort()
  await startUnbound(
    holdings,
    'ca',
    `${unboundServer(port)}stub-zone:
  name: "acme.ca.example"
  stub-addr: 127.0.0.1@${responder}
forward-zone:
  name: "."
  forward-addr: ${challenges.host}@${challenges.port}
`,
  )
  return `127.0.0.1:${port}`
}

async function point({ challenges }: Pebble, host: string, target: string): Promise<void> {
  const body = JSON.stringify({ host: `${host}.`, target: `${target}.` })
  const response = await fetch(`${challenges}/set-cname`, { method: 'POST', body })
  assert.ok(response.ok, await response.text())
}

/** Asks one question after the other on one connection; one that fails is asked once more, on another connection. */
class QuicAsker {
  asked = 0
  retried = 0
  longestGapMs = 0
  readonly lost: unknown[] = []
  readonly #lab: AcmeLab
  #client: QuicTestClient | null = null
  #isStopped = false

  constructor(lab: AcmeLab) {
    this.#lab = lab
  }

  stop(): void {
    this.#isStopped = true
  }

  async run(): Promise<void> {
    let last = performance.now()
    while (!this.#isStopped) {
      try {
        await this.#ask().catch(() => this.#askAgain())
      } catch (error) {
        this.lost.push(error)
      }
      this.asked++
      const now = performance.now()
      this.longestGapMs = Math.max(this.longestGapMs, now - last)
      last = now
      await sleep(PAUSE_MS)
    }
    await this.#hangUp()
  }

  async #askAgain(): Promise<void> {
    this.retried++
    await this.#hangUp()
    await this.#ask()
  }

  async #ask(): Promise<void> {
    this.#client ??= await this.#dial()
    const client = this.#client
    const record = await client.over(client.send(frame(question({ name: `${this.asked}.${ZONE}`, id: 0 }))))
    assert.ok(record?.fin === true && record.bytes.length > 2)
  }

  async #dial(): Promise<QuicTestClient> {
    const endpoint = { host: '127.0.0.1', port: this.#lab.ports.dot }
    const client = await dialQuic({
      endpoint,
      ca: readFileSync(this.#lab.roots, 'utf8'),
      protocol: 'doq',
      serverName: 'renewed.ca.example',
    })
    await client.ready.promise
    return client
  }

  async #hangUp(): Promise<void> {
    const client = this.#client
    this.#client = null
    await client?.[Symbol.asyncDispose]()
  }
}

/** Certificates of an hour, by an external account, while clients ask. */
async function assertRenewsUnderLoad(t: TestContext): Promise<void> {
  const holdings = new Holdings(t)
  const key = 'zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W'
  const keyFile = join(holdings.folder, 'eab.key')
  writeFileSync(keyFile, `${key}\n`)
  const lab = await acmeLab(holdings, {
    pebble: { externalAccounts: { 'kid-1': key }, lifetimeSeconds: 3600 },
    acme: () => [`names: [renewed.ca.example], eab: { keyId: kid-1, keyFile: ${keyFile} }`],
  })
  await lab.start()
  const [first = assert.fail()] = await arrived(lab)
  const seen = new Set([first.present[0]?.fingerprint])
  const names = join(holdings.folder, 'names')
  writeFileSync(names, Array.from({ length: 20_000 }, (_, i) => `${i}.${ZONE} A\n`).join(''))
  const load = run(
    'dnsperf',
    [
      '-m',
      'dot',
      '-s',
      '127.0.0.1',
      '-p',
      String(lab.ports.dot),
      '-d',
      names,
      '-c',
      '4',
      '-Q',
      '400',
      '-l',
      '20',
      '-O',
      'suppress=sockready',
    ],
    { timeoutMs: 60_000 },
  )
  const asker = new QuicAsker(lab)
  const asking = asker.run()
  for (let i = 0; i < RENEWALS; i++) {
    const renewed = await runAtlas(['certs', 'renew', 'renewed.ca.example', '--config', lab.config])
    assert.equal(renewed.code, 0, renewed.text)
    const [now] = await certificates(lab)
    const fingerprint = now?.present[0]?.fingerprint
    assert.ok(!seen.has(fingerprint))
    seen.add(fingerprint)
    assert.equal((await shownTo(lab, 'renewed.ca.example')).leaf.fingerprint256, fingerprint)
  }
  const { text } = await load
  assert.match(text, /Queries lost:\s+0 /, text)
  assert.match(text, /NOERROR (\d+) \(100\.00%\)/, text)
  asker.stop()
  await asking
  t.diagnostic(`over QUIC ${asker.asked} questions, ${asker.retried} asked once more, longest gap ${asker.longestGapMs.toFixed(0)} ms`)
  assert.deepEqual(asker.lost, [])
  assert.ok(asker.asked > RENEWALS)
}

test(
  'Pebble gives certificates by tls-alpn-01, http-01 and dns-01, for names, a wildcard and an address; renewing them costs no client over TLS an answer, nor one over QUIC that asks once more',
  TOOLS,
  async (t) => {
    const holdings = new Holdings(t)
    const responder = await freePort()
    const lab = await acmeLab(holdings, {
      pebble: { resolver: (challenges) => zoneResolver(holdings, responder, challenges) },
      acme: ({ challenges, dns, httpPort }) => [
        `names: [alpn.ca.example, 127.0.0.1], keys: [ecdsa, rsa]`,
        `names: [http.ca.example], challenge: http-01, http: ["127.0.0.1:${httpPort}"]`,
        `names: ["*.hook.ca.example", hook.ca.example], challenge: dns-01, dns: { hook: [${writeHook(holdings, challenges)}], servers: ["127.0.0.1:${dns.port}"], timeout: 10s }`,
        `names: ["*.own.ca.example"], challenge: dns-01, dns: { responder: ["127.0.0.1:${responder}"], zone: acme.ca.example }`,
      ],
    })
    await point(lab.pebble, '_acme-challenge.own.ca.example', 'own.ca.example.acme.ca.example')
    const atlas = await lab.start()
    const all = await arrived(lab)
    assert.deepEqual(
      all.map(({ name, present }) => [name, present.map(({ key }) => key)]),
      [
        ['alpn.ca.example', ['ECDSA P-256', 'RSA 2048']],
        ['http.ca.example', ['ECDSA P-256']],
        ['*.hook.ca.example', ['ECDSA P-256']],
        ['*.own.ca.example', ['ECDSA P-256']],
      ],
    )
    for (const name of [
      'alpn.ca.example',
      '127.0.0.1',
      'http.ca.example',
      'hook.ca.example',
      'www.hook.ca.example',
      'www.own.ca.example',
    ]) {
      const { text } = await shownTo(lab, name)
      assert.match(text, /Server Temp Key: X25519/, text)
    }
    const rsa = await shownTo(lab, 'alpn.ca.example', '-sigalgs', 'rsa_pss_rsae_sha256:RSA+SHA256')
    assert.equal(rsa.leaf.publicKey.asymmetricKeyType, 'rsa')
    const doq = await run('kdig', [
      '@127.0.0.1',
      '-p',
      String(lab.ports.dot),
      `+tls-ca=${lab.roots}`,
      '+tls-hostname=alpn.ca.example',
      '+quic',
      NAMES.www,
    ])
    assert.match(doq.text, /status: NOERROR/, doq.text)
    const page = await run('curl', [
      '-sS',
      '--cacert',
      lab.roots,
      '--resolve',
      `http.ca.example:${lab.ports.doh}:127.0.0.1`,
      `https://http.ca.example:${lab.ports.doh}/`,
    ])
    assert.match(page.text, /<html/, page.text)

    const orders = ordersAt(lab.pebble)
    assert.equal(orders, 5)
    atlas.signal('SIGTERM')
    assert.equal(await atlas.exit, 0)
    await lab.start()
    const again = await certificates(lab)
    const fingerprints = (statuses: readonly CertificateStatus[]) =>
      statuses.flatMap(({ present }) => present.map(({ fingerprint }) => fingerprint))
    assert.deepEqual(fingerprints(again), fingerprints(all), 'served from the first handshake on, and nothing is ordered anew')
    assert.equal(ordersAt(lab.pebble), orders)
    await assertRenewsUnderLoad(t)
  },
)
