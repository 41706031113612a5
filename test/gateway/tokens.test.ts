import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, before, describe } from 'node:test'
import { type TLSSocket, connect as tlsConnect } from 'node:tls'
import type { Config } from '../../gateway/config/config.ts'
import { digestOf } from '../../net/token.ts'
import { CLIENTS, DOH_CLIENTS, DOH_TCP_CLIENTS, exchange, openHttp2 } from '../harness/clients.ts'
import { LIMITS, prefixes, runGateway, type TestGateway } from '../harness/gateway.ts'
import { aRecord, question, response } from '../harness/messages.ts'
import { dnsServer } from '../harness/servers.ts'
import { temporaryDirectory } from '../harness/temporary.ts'
import { until } from '../harness/until.ts'

const QUESTION = question({ name: 'www.example.com', opt: '' })
const get = (path: string) => `${path}?dns=${QUESTION.toString('base64url')}`
const DOQ_WARNING =
  'listen.doq: with access.tokens, nobody can use DNS over QUIC, where the name that a client asks for is not known: listen.doq: [] switches it off'
const PUBLIC = { name: 'dns.example', addresses: [], ports: { doh: null, dot: null, doq: null } }

function write(file: string, holders: Readonly<Record<string, string>>): void {
  writeFileSync(
    file,
    Object.entries(holders)
      .map(([name, token]) => `${name} sha256:${digestOf(token)}\n`)
      .join(''),
  )
}

function accessWith(file: string | null): Config['access'] {
  return { dns: prefixes('127.0.0.0/8'), encrypted: prefixes('127.0.0.0/8'), tokenFile: file }
}

async function openDot({ dot, ca }: TestGateway, servername: string): Promise<TLSSocket> {
  const socket = tlsConnect({ host: dot.host, port: dot.port, servername, ca })
  await once(socket, 'secureConnect')
  return socket
}

async function metrics({ admin }: TestGateway): Promise<string> {
  return (await fetch(`http://127.0.0.1:${admin.port}/metrics`)).text()
}

async function drops(gateway: TestGateway): Promise<number> {
  return Number(/atlas_drops_total\{reason="token_required"\} (\d+)/.exec(await metrics(gateway))?.[1] ?? 0)
}

describe('a gateway that wants tokens', () => {
  let upstream: Awaited<ReturnType<typeof dnsServer>>
  let gateway: TestGateway
  const directory = mkdtempSync(join(tmpdir(), 'atlas-test-'))
  const file = join(directory, 'tokens.txt')

  before(async () => {
    upstream = await dnsServer((query, reply) => reply(response(query, { answers: [aRecord()] })))
    write(file, { alice: 'k3j5', bob: 'zz' })
    const log = { level: 'info', queries: { kind: 'share', share: 1 } } as const
    gateway = await runGateway([upstream.endpoint], { access: accessWith(file), public: PUBLIC, log }, { probing: {} })
  })
  after(async () => {
    await gateway[Symbol.asyncDispose]()
    await upstream[Symbol.asyncDispose]()
    rmSync(directory, { recursive: true })
  })

  for (const { name, send } of CLIENTS) {
    const isPlain = name === 'udp' || name === 'tcp'
    test(`${isPlain ? 'has none to do with' : 'answers nobody without one over'} ${name}`, async () => {
      const before = await drops(gateway)
      const reaction = await send(gateway, QUESTION).catch(() => ({ kind: 'closed' }) as const)
      if (isPlain) assert.equal(reaction.kind, 'answer')
      else if (name === 'dot' || name === 'doq') assert.equal(reaction.kind, 'closed')
      else assert.deepEqual(reaction, { kind: 'status', status: 403 })
      assert.equal((await drops(gateway)) > before, !isPlain)
    })
  }

  for (const [version, ask] of DOH_CLIENTS) {
    test(`takes it as the last segment of the path over ${version}`, async () => {
      const statuses = []
      for (const path of ['/dns-query/k3j5', '/dns-query/K3J5', '/dns-query/k3j', '/dns-query/k3j5/x', '/dns-query'])
        statuses.push((await ask(gateway, { path: get(path) })).status)
      assert.deepEqual(statuses, [200, 200, 403, 404, 403])
      const post = { method: 'POST', headers: { 'content-type': 'application/dns-message' }, body: QUESTION }
      assert.equal((await ask(gateway, { ...post, path: '/dns-query/zz' })).status, 200)
      assert.equal((await ask(gateway, { ...post, path: '/dns-query/zzz' })).status, 403)
      assert.equal((await ask(gateway, { path: '/dns-query/zz?name=www.example.com' })).status, 200, 'JSON')
    })
  }

  for (const [version, ask] of DOH_TCP_CLIENTS) {
    test(`shows its page to whoever comes over ${version}`, async () => {
      const { status, body } = await ask(gateway, { path: '/' })
      assert.equal(status, 200)
      assert.match(body.toString(), /https:\/\/localhost(?::\d+)?\/dns-query\/TOKEN</)
      // who gives out tokens knows those who have them
      assert.doesNotMatch(body.toString(), /ca\.pem/)
      assert.equal((await ask(gateway, { path: '/ca.pem' })).status, 404)
    })
  }

  test('takes it as the first label of the server name over TLS, under a certificate that covers it', async () => {
    for (const [servername, kind] of [
      ['k3j5.dns.example', 'answer'],
      ['zz.dns.example', 'answer'],
      ['yy.dns.example', 'closed'],
      ['dns.example', 'closed'],
    ] as const)
      assert.equal((await exchange(await openDot(gateway, servername), QUESTION)).kind, kind, servername)
  })

  test('takes the label over HTTPS too', async () => {
    for (const [host, status] of [
      ['k3j5.dns.example', 200],
      ['yy.dns.example', 403],
    ] as const) {
      const session = openHttp2(gateway, host)
      const stream = session.request({ ':path': get('/dns-query'), ':authority': host })
      const [fields] = (await once(stream, 'response')) as [Record<string, unknown>]
      assert.equal(fields[':status'], status, host)
      session.destroy()
    }
  })

  test('logs whose it is, and never the token', async () => {
    await exchange(await openDot(gateway, 'zz.dns.example'), QUESTION)
    const lines = gateway.log.map((line) => JSON.parse(line) as { msg: string; transport?: string; token?: string })
    assert.ok(lines.some(({ msg, transport, token }) => msg === 'query' && transport === 'dot' && token === 'bob'))
    assert.doesNotMatch(gateway.log.join('\n'), /k3j5/)
  })

  test('is ready: it has one for itself', async () => {
    await until(async () => (await fetch(`http://127.0.0.1:${gateway.admin.port}/readyz`)).status === 200)
    const text = await metrics(gateway)
    for (const transport of ['dot', 'doh', 'doh3'])
      assert.match(text, new RegExp(`atlas_probe_up\\{transport="${transport}",[^}]*\\} 1\\n`))
  })

  test('tells the operator what DNS over QUIC is then', () => {
    assert.ok(gateway.log.some((line) => line.includes(DOQ_WARNING)))
  })
})

describe('a token', () => {
  test('holds until it is taken away: its connections end, others stay', async (t) => {
    await using upstream = await dnsServer((query, reply) => reply(response(query, { answers: [aRecord()] })))
    const file = join(temporaryDirectory(t), 'tokens.txt')
    write(file, { alice: 'k3j5', bob: 'zz' })
    await using gateway = await runGateway([upstream.endpoint], { access: accessWith(file), public: PUBLIC })
    const [alice, bob] = await Promise.all(['k3j5', 'zz'].map((token) => openDot(gateway, `${token}.dns.example`)))
    assert.ok(alice !== undefined && bob !== undefined)
    const session = openHttp2(gateway)
    const status = async (token: string) => {
      const stream = session.request({ ':path': get(`/dns-query/${token}`) })
      const [fields] = (await once(stream, 'response')) as [Record<string, unknown>]
      return fields[':status']
    }
    assert.deepEqual([await status('k3j5'), await status('zz'), await status('new')], [200, 200, 403])
    write(file, { bob: 'zz', carol: 'new' })
    const ended = once(alice.resume(), 'end')
    const changes = [
      { path: 'access.tokens', from: 'alice', to: null },
      { path: 'access.tokens', from: null, to: 'carol' },
    ]
    assert.deepEqual(await gateway.reload({}), { outcome: 'applied', changes, restartOnly: [], warnings: [DOQ_WARNING] })
    await ended
    assert.deepEqual([await status('k3j5'), await status('zz'), await status('new')], [403, 200, 200])
    assert.equal((await exchange(bob, QUESTION)).kind, 'answer')
    write(file, { bob: 'zz', 'not a name': 'x' })
    const refused = await gateway.reload({})
    assert.equal(refused.outcome, 'refused')
    assert.equal(await status('new'), 200, 'what was stays')
    write(file, { bob: 'yy', carol: 'new' })
    const exchanged = await gateway.reload({})
    assert.ok('changes' in exchanged)
    assert.deepEqual(exchanged.changes, [{ path: 'access.tokens', from: 'bob', to: 'bob, with another token' }])
    assert.deepEqual([await status('zz'), await status('yy')], [403, 200])
    session.destroy()
    alice.destroy()
  })

  test('is needed at once where it was not, and not where it is no more', async (t) => {
    await using upstream = await dnsServer((query, reply) => reply(response(query, { answers: [aRecord()] })))
    const file = join(temporaryDirectory(t), 'tokens.txt')
    write(file, { alice: 'k3j5' })
    await using gateway = await runGateway([upstream.endpoint], { access: accessWith(null) })
    const dot = await openDot(gateway, 'localhost')
    const ended = once(dot.resume(), 'end')
    assert.equal((await gateway.reload({ access: accessWith(file) })).outcome, 'applied')
    await ended
    dot.destroy()
    const client = CLIENTS.find(({ name }) => name === 'doh2') ?? assert.fail()
    assert.deepEqual(await client.send(gateway, QUESTION), { kind: 'status', status: 403 })
    assert.equal((await gateway.reload({ access: accessWith(null) })).outcome, 'applied')
    assert.equal((await client.send(gateway, QUESTION)).kind, 'answer')
  })

  test('has limits of its own, wherever it is used', async (t) => {
    await using upstream = await dnsServer((query, reply) => reply(response(query, { answers: [aRecord()] })))
    const file = join(temporaryDirectory(t), 'tokens.txt')
    write(file, { alice: 'k3j5', bob: 'zz' })
    const limits = { ...LIMITS, connectionsPerClient: 2, queriesPerSecond: 1 }
    await using gateway = await runGateway([upstream.endpoint], { access: accessWith(file), public: PUBLIC, limits })
    const open = (token: string, localAddress: string) => {
      const { dot, ca } = gateway
      const options = { host: dot.host, port: dot.port, localAddress, servername: `${token}.dns.example`, ca }
      return tlsConnect(options)
    }
    const sockets = [open('k3j5', '127.0.0.2'), open('k3j5', '127.0.0.3')]
    for (const socket of sockets) await once(socket, 'secureConnect')
    const third = open('k3j5', '127.0.0.4')
    assert.equal((await exchange(third, QUESTION)).kind, 'closed', 'a third address')
    const bob = open('zz', '127.0.0.4')
    await once(bob, 'secureConnect')
    // ten seconds' worth at once
    const codes = []
    for (let i = 0; i < 12; i++) codes.push(await rcode(gateway, '/dns-query/k3j5'))
    assert.deepEqual(codes, [...Array(10).fill(200), 429, 429])
    assert.equal(await rcode(gateway, '/dns-query/zz'), 200)
    for (const socket of [...sockets, bob]) socket.destroy()
  })
})

async function rcode(gateway: TestGateway, path: string): Promise<number> {
  const [, ask] = DOH_TCP_CLIENTS[0]
  return (await ask(gateway, { path: get(path) })).status
}
