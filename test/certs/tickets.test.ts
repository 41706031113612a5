import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import test, { describe, type TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { connect, createSecureContext, createServer, type Server } from 'node:tls'
import { parseIdentity } from '../../certs/identity.ts'
import { DirectoryStorage } from '../../certs/storage.ts'
import { IdentityStore } from '../../certs/store.ts'
import { makeTicketKey } from '../../certs/tickets/key.ts'
import { acceptsFormerTicketKeys, TicketKeyring } from '../../certs/tickets/keyring.ts'
import { OwnTicketKeys } from '../../certs/tickets/own-keys.ts'
import { tlsPolicy } from '../../certs/tls-policy.ts'
import { temporaryDirectory } from '../harness/temporary.ts'
import { issue } from './issue.ts'
import { handshake } from './sessions.ts'

const HOUR_MS = 3_600_000
const root = await issue({ subject: 'CN=test root', isCa: true })
const identities = await Promise.all(
  ['first.test', 'second.test'].map(async (name) => {
    const { certPem, keyPem } = await issue({ issuer: root, names: [name] })
    return parseIdentity({ chainPem: certPem, keyPem, source: { cert: 'c', key: 'k', origin: 'test' } })
  }),
)

/** A TLS server as TlsTerminator makes it; `port` is where it listens. */
async function serve(t: TestContext, keyring: TicketKeyring): Promise<{ server: Server; port: number }> {
  const store = new IdentityStore(identities, { policy: tlsPolicy({ minVersion: 'TLSv1.2' }), extraNames: [] })
  const server = createServer({
    ...store.options,
    SNICallback: (name, done) =>
      done(
        null,
        store.contextFor(name, () => []),
      ),
  })
  keyring.protect(server)
  server.on('secureConnection', (socket) => socket.on('error', () => {}))
  server.on('tlsClientError', () => {})
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  return { server, port: (server.address() as AddressInfo).port }
}

describe('TicketKeyring', () => {
  for (const version of ['TLSv1.3', 'TLSv1.2'] as const) {
    // the default identity, and one that is chosen by name
    for (const servername of ['first.test', 'second.test']) {
      test(`resumes sessions of ${version} for ${servername} while their key is accepted, on every server of it`, async (t) => {
        const [former, newer, newest] = [makeTicketKey(), makeTicketKey(), makeTicketKey()]
        const keyring = new TicketKeyring([former])
        const [{ port }, { port: other }] = [await serve(t, keyring), await serve(t, keyring)]
        const client = { servername, ca: root.certPem, maxVersion: version }
        const { session, isReused } = await handshake({ ...client, port })
        assert.equal(isReused, false)
        assert.equal((await handshake({ ...client, port: other, session })).isReused, true)
        keyring.replace([newer, former])
        assert.equal((await handshake({ ...client, port, session })).isReused, true)
        const second = await handshake({ ...client, port: other })
        keyring.replace([newest, newer])
        assert.equal((await handshake({ ...client, port, session })).isReused, false)
        assert.equal((await handshake({ ...client, port, session: second.session })).isReused, true)
      })
    }
  }

  test('gives no new ticket for one that is used, so that what a certificate has proved ends with the first', async (t) => {
    const former = makeTicketKey()
    const keyring = new TicketKeyring([former])
    const { server, port } = await serve(t, keyring)
    const client = { servername: 'first.test', ca: root.certPem, port }
    const { session } = await handshake(client)
    keyring.replace([makeTicketKey(), former])
    // a ticket would come before this
    server.once('secureConnection', (socket) => socket.end('the end'))
    const given: Buffer[] = []
    const socket = connect({ ...client, host: '127.0.0.1', session })
    socket.on('session', (ticket) => given.push(ticket)).resume()
    await new Promise((resolve) => socket.once('end', resolve))
    assert.equal(socket.isSessionReused(), true)
    assert.equal(given.length, 0)
    socket.destroy()
  })

  test('makes tickets that the other gateways of a fleet can read, and no others', async (t) => {
    const shared = makeTicketKey()
    const [{ port }, { port: friend }, { port: stranger }] = await Promise.all([
      serve(t, new TicketKeyring([shared])),
      serve(t, new TicketKeyring([makeTicketKey(), shared])),
      serve(t, new TicketKeyring([makeTicketKey()])),
    ])
    const client = { servername: 'second.test', ca: root.certPem }
    const { session } = await handshake({ ...client, port })
    assert.equal((await handshake({ ...client, port: friend, session })).isReused, true)
    assert.equal((await handshake({ ...client, port: stranger, session })).isReused, false)
  })

  test('has one key at a time on a Node.js without the callback', async (t) => {
    assert.equal(acceptsFormerTicketKeys(), true)
    const native = Object.getPrototypeOf(createSecureContext().context) as { enableTicketKeyCallback?: unknown }
    const { enableTicketKeyCallback } = native
    delete native.enableTicketKeyCallback
    t.after(() => Object.assign(native, { enableTicketKeyCallback }))
    assert.equal(acceptsFormerTicketKeys(), false)
    const former = makeTicketKey()
    const keyring = new TicketKeyring([former])
    const [{ port }, { port: other }] = [await serve(t, keyring), await serve(t, keyring)]
    const client = { servername: 'second.test', ca: root.certPem }
    const { session } = await handshake({ ...client, port })
    assert.equal((await handshake({ ...client, port: other, session })).isReused, true)
    keyring.replace([makeTicketKey(), former])
    for (const at of [port, other]) assert.equal((await handshake({ ...client, port: at, session })).isReused, false)
  })
})

describe('OwnTicketKeys', () => {
  interface Stand {
    readonly own: OwnTicketKeys
    readonly file: string
    readonly failures: readonly string[]
    readonly changes: () => number
    /** Lets time pass, and what comes of it be written. */
    pass(ms: number): Promise<void>
  }

  async function start(t: TestContext, state: string): Promise<Stand> {
    const failures: string[] = []
    let changes = 0
    const storage = new DirectoryStorage(state)
    const own = new OwnTicketKeys(storage, { changed: () => void changes++, failed: (reason) => failures.push(reason) })
    await own.start()
    t.after(() => own.stop())
    const pass = async (ms: number): Promise<void> => {
      // a tick as a whole is one moment for those who ask for the time
      for (let passed = 0; passed < ms; passed += 60_000) t.mock.timers.tick(60_000)
      await storage.exclusively('secrets/tickets', async () => {})
    }
    return { own, file: join(state, 'secrets', 'tickets'), failures, changes: () => changes, pass }
  }

  /** A state directory, at a time that stands still. */
  function setUp(t: TestContext, content?: string): string {
    t.mock.timers.enable({ apis: ['setInterval', 'Date'], now: Date.parse('2026-11-30T12:00:00Z') })
    const state = temporaryDirectory(t)
    if (content === undefined) return state
    mkdirSync(join(state, 'secrets'))
    writeFileSync(join(state, 'secrets', 'tickets'), content)
    return state
  }

  test('change every 12 hours, and are accepted for the 24 hours that the tickets announce', async (t) => {
    const { own, changes, pass } = await start(t, setUp(t))
    const [first] = own.current
    assert.equal(own.current.length, 1)
    await pass(12 * HOUR_MS - 60_000)
    assert.equal(changes(), 0)
    await pass(60_000)
    assert.deepEqual([changes(), own.current.length, own.current[1]], [1, 2, first])
    await pass(24 * HOUR_MS - 60_000)
    assert.equal(own.current[2], first)
    await pass(60_000)
    assert.equal(own.current.length, 3)
    assert.equal(own.current.includes(first ?? ''), false)
  })

  test('outlive the process in a file for its owner alone, and are as old as they are', async (t) => {
    const state = setUp(t)
    const before = await start(t, state)
    assert.equal(statSync(before.file).mode & 0o777, 0o600)
    await before.pass(12 * HOUR_MS)
    await before.own.stop()
    const again = await start(t, state)
    assert.deepEqual(again.own.current, before.own.current)
    await again.own.stop()
    t.mock.timers.tick(12 * HOUR_MS)
    const { own } = await start(t, state)
    assert.deepEqual(own.current.slice(1), before.own.current)
    await own.stop()
    t.mock.timers.tick(40 * HOUR_MS)
    const late = await start(t, state)
    assert.equal(late.own.current.length, 1)
    assert.deepEqual(late.failures, [])
  })

  test('are forgotten when they are told to be', async (t) => {
    const state = setUp(t)
    const { own, changes } = await start(t, state)
    const before = own.current
    await own.forget()
    await own.stop()
    assert.deepEqual([own.current.length, own.current.includes(before[0] ?? ''), changes()], [1, false, 1])
    assert.deepEqual((await start(t, state)).own.current, own.current)
  })

  const key = makeTicketKey()
  for (const [what, content, problem] of [
    ['cut off', `2026-11-30T11:00:00.000Z ${key.slice(0, 90)}`, ':1: expected 96 hexadecimal digits: received 90 characters'],
    ['of nonsense', '\0\0\0', ':1: expected a time and a key: received others'],
    ['with more on a line', `2026-11-30T11:00:00.000Z ${key} ${key}`, ':1: expected a time and a key: received others'],
    ['of zeroes', `2026-11-30T11:00:00.000Z ${'0'.repeat(96)}`, ':1: expected random octets: received only 1 different ones'],
    ['with too many', `2026-11-30T11:00:00.000Z ${key}\n`.repeat(4), ': expected at most 3 lines: received 4'],
  ] as const) {
    test(`are made anew where their file is damaged: ${what}`, async (t) => {
      const { own, failures, file } = await start(t, setUp(t, content))
      assert.deepEqual(failures, [`Cannot use secrets/tickets${problem}`])
      assert.equal(own.current.length, 1)
      assert.equal(readFileSync(file, 'utf8'), `2026-11-30T12:00:00.000Z ${own.current[0]}\n`)
    })
  }

  test('from the future are not used: they would not change before it comes', async (t) => {
    const { own, failures } = await start(t, setUp(t, `2027-01-01T00:00:00.000Z ${key}\n`))
    assert.deepEqual([own.current.length, own.current.includes(key), failures], [1, false, []])
  })

  test('change also when they cannot be kept, which is said once', async (t) => {
    const state = setUp(t)
    // a directory in place of the file: nobody, root neither, can put a file there
    mkdirSync(join(state, 'secrets', 'tickets', 'x'), { recursive: true })
    chmodSync(state, 0o700)
    const { own, failures, pass, changes } = await start(t, state)
    const [first] = own.current
    await pass(12 * HOUR_MS)
    await pass(12 * HOUR_MS)
    await turn()
    assert.deepEqual([changes(), own.current.length, own.current[2]], [2, 3, first])
    assert.equal(failures.length, 2)
    assert.match(failures[0] ?? '', /^Cannot read .*: it is a directory$/)
    assert.match(failures[1] ?? '', /^Cannot write /)
  })
})
