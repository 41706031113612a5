import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import test, { after, before, describe } from 'node:test'
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { Flusher } from '../../net/flusher.ts'
import type { QuicBinding, QuicEvent, QuicEventSink } from '../../net/quic/binding.ts'
import { LibraryEngine } from '../../net/quic/engine.ts'
import { KeyDirectory } from '../../net/quic/key-files.ts'
import { NativeBinding, type NativeClasses } from '../../net/quic/native-binding.ts'
import { PublicBinding, type PublicModule } from '../../net/quic/public-binding.ts'
import type { QuicAcceptor, QuicEngine, QuicIdentity, QuicListener } from '../../net/quic.ts'
import { Wheel } from '../../net/wheel.ts'
import { issue } from '../certs/issue.ts'
import { started } from '../certs/local.ts'
import { QuicTestClient } from '../harness/quic.ts'
import { until } from '../harness/until.ts'
import { EchoServer } from './quic-echo.ts'

const require = createRequire(import.meta.url)
const entry = require.resolve('@currentspace/http3')
const BINDINGS: Readonly<Record<string, () => QuicBinding>> = {
  native: () => new NativeBinding(require(join(dirname(entry), '..', 'index.js')) as NativeClasses),
  public: () => new PublicBinding(require(entry) as PublicModule),
}

const LOOPBACK = { host: '127.0.0.1', port: 0 }
const LIMITS = { idleMs: 10_000, streams: 100, window: 262_144 }
const ECHO = Buffer.from('what was sent comes back')

let identity: QuicIdentity
let roots: string
let directory: string

before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'atlas-quic-test-'))
  const { stateDir, ca } = await started()
  identity = ca.identity
  roots = readFileSync(join(stateDir, 'ca.pem'), 'utf8')
})
after(() => rmSync(directory, { recursive: true, force: true }))

/** Counts what the library says. */
class CountingBinding implements QuicBinding {
  readonly events: QuicEvent[] = []
  readonly opensUnidirectional = true
  readonly #inner: QuicBinding

  constructor(inner: QuicBinding) {
    this.#inner = inner
  }

  async listen(...[options, address, sink]: Parameters<QuicBinding['listen']>) {
    return this.#inner.listen(options, address, this.#counting(sink))
  }

  async connect(...[options, server, sink]: Parameters<QuicBinding['connect']>) {
    return this.#inner.connect(options, server, sink)
  }

  #counting(sink: QuicEventSink): QuicEventSink {
    return (events) => {
      this.events.push(...events)
      sink(events)
    }
  }
}

for (const [name, bindingOf] of Object.entries(BINDINGS)) {
  describe(`QUIC on the library's ${name} interface`, () => {
    let skew = 0
    const clock = () => performance.now() + skew
    const wheel = new Wheel(clock)
    let binding: CountingBinding
    let engine: QuicEngine
    let server: EchoServer
    let listener: QuicListener

    const listen = (acceptor: QuicAcceptor, port = 0, connections = 50) =>
      engine.listen({ name: 'test', endpoint: { ...LOOPBACK, port }, protocol: 'echo', identity, limits: LIMITS, connections, acceptor })
    const open = async ({ window = LIMITS.window, protocol = 'echo', serverName = 'localhost', trusted = roots } = {}) => {
      const client = new QuicTestClient()
      const options = { endpoint: listener.endpoint, protocol, serverName, roots: trusted, limits: { ...LIMITS, window } }
      client.connection = await engine.dial(options, () => client)
      return client
    }
    const dial = async (options = {}) => {
      const before = server.connections.length
      const client = await open(options)
      await client.ready.promise
      await until(() => server.connections.slice(before).some(({ isEstablished }) => isEstablished))
      return client
    }
    const echo = async (client: QuicTestClient, bytes = ECHO) => (await client.over(client.send(bytes)))?.bytes

    before(async () => {
      binding = new CountingBinding(bindingOf())
      engine = new LibraryEngine(binding, new KeyDirectory(join(directory, name)), { wheel, clock, flusher: new Flusher() })
      server = new EchoServer()
      listener = await listen(server)
    })
    after(() => listener.close())

    test('carries streams both ways', async () => {
      await using client = await dial()
      const replies = await Promise.all(Array.from({ length: 50 }, () => echo(client)))
      assert.ok(replies.every((reply) => reply?.equals(ECHO)))
    })

    test('replenishes the credit for streams', async () => {
      await using client = await dial()
      for (let i = 0; i < 3 * LIMITS.streams; i++) assert.deepEqual(await echo(client), ECHO)
    })

    test('keeps to the window of the peer with the largest messages, many at a time', async () => {
      await using client = await dial({ window: 262_144 })
      const large = Buffer.alloc(65_537, 'x')
      server.reply = () => large
      const replies = await Promise.all(Array.from({ length: 12 }, () => echo(client)))
      server.reply = (received) => received
      assert.ok(replies.every((reply) => reply?.equals(large)))
    })

    test('opens streams without asking the library, and gives those back that the server has no credit for', async (t) => {
      server.reply = () => Buffer.alloc(0)
      const narrow = await engine.listen({
        name: 'narrow',
        endpoint: LOOPBACK,
        protocol: 'echo',
        identity,
        limits: { ...LIMITS, streams: 10 },
        connections: 1,
        acceptor: server,
      })
      const client = new QuicTestClient()
      // also when it fails: the library's threads would keep the process alive
      t.after(async () => {
        server.reply = (received) => received
        await client[Symbol.asyncDispose]()
        await narrow.close()
      })
      const options = { endpoint: narrow.endpoint, protocol: 'echo', serverName: 'localhost', roots, limits: LIMITS }
      client.connection = await engine.dial(options, () => client)
      await client.ready.promise
      // what a stream carries stays open until its FIN
      const first = Array.from({ length: 14 }, () => client.sendNext(ECHO, false))
      assert.deepEqual(
        first,
        Array.from({ length: 14 }, (_, i) => 4 * i),
      )
      await until(() => client.unopenedStreams.length >= 4)
      assert.deepEqual(client.unopenedStreams, [40, 44, 48, 52])
      assert.equal(client.sendNext(ECHO, true), -1)
      const connection = server.connections.at(-1)
      await until(() => (connection?.begun.size ?? 0) >= 10)
      assert.deepEqual([...(connection?.begun.keys() ?? [])].slice(0, 10), first.slice(0, 10))
      client.unopenedStreams.length = 0
      for (const stream of first.slice(0, 10)) client.connection.send(stream, Buffer.alloc(0), true)
      await Promise.all(first.slice(0, 10).map((stream) => client.over(stream)))
      // every id is used in the end, and in its order: what is left out counts as open
      const answered = new Set<number>()
      while (answered.size < 30) {
        skew += 10
        const stream = client.sendNext(ECHO, true)
        if (stream < 0) continue
        const record = await client.over(stream, () => client.unopenedStreams.at(-1) === stream)
        if (record?.fin === true) answered.add(stream)
        else client.unopenedStreams.pop()
      }
      assert.deepEqual(
        [...answered],
        Array.from({ length: 30 }, (_, i) => 40 + 4 * i),
      )
    })

    test('resumes a session with its ticket, and does without where the ticket means nothing', async () => {
      const many = Array.from({ length: 300 }, (_, i) => `name-${i}.example`)
      const root = await issue({ isCa: true, subject: 'CN=root' })
      const large = await issue({ names: ['localhost', ...many], issuer: root })
      const own = await engine.listen({
        name: 'large',
        endpoint: LOOPBACK,
        protocol: 'echo',
        identity: { chainPem: large.certPem, keyPem: large.keyPem },
        limits: LIMITS,
        connections: 3,
        acceptor: server,
      })
      /** Packets of a handshake: a certificate of that size takes several, a resumed session none. */
      const handshake = async (ticket: Uint8Array | undefined): Promise<{ packets: number; ticket: Buffer }> => {
        await using client = new QuicTestClient()
        const options = { endpoint: own.endpoint, protocol: 'echo', serverName: 'localhost', roots: root.certPem, limits: LIMITS, ticket }
        client.connection = await engine.dial(options, () => client)
        await client.ready.promise
        const packets = client.connection.packetsReceived()
        await until(() => client.tickets.length > 0)
        return { packets, ticket: client.tickets[0] as Buffer }
      }
      const fresh = await handshake(undefined)
      const resumed = await handshake(fresh.ticket)
      const ignored = await handshake(Buffer.from('no ticket'))
      assert.ok(resumed.packets < fresh.packets, `${resumed.packets} packets, ${fresh.packets} before`)
      assert.ok(resumed.packets < ignored.packets, `${resumed.packets} packets, ${ignored.packets} without`)
      await own.close()
    })

    test('counts the packets of the peer, which a PING brings', async () => {
      await using client = await dial()
      await echo(client)
      let before = -1
      // until what belongs to the exchange has come
      while (before !== client.connection.packetsReceived()) {
        before = client.connection.packetsReceived()
        await sleep(30)
      }
      client.connection.ping()
      await until(() => client.connection.packetsReceived() !== before)
    })

    test('tells both sides the code of a close', async () => {
      await using client = await dial()
      server.connections.at(-1)?.quic.close(0x102)
      assert.equal((await client.ended.promise).code, 0x102)
    })

    test('tells the handler that its connection has ended', async () => {
      const client = await dial()
      const connection = server.connections.at(-1)
      await client[Symbol.asyncDispose]()
      await until(() => server.connections.some((each) => each === connection && each.isClosed))
    })

    test('ends the storm of errors that a reset stream sets off', async () => {
      await using client = await dial()
      const connection = server.connections.at(-1)
      const stream = client.send(ECHO, false)
      await until(() => connection?.begun.has(stream) === true)
      client.connection.reset(stream, 3)
      await until(() => connection?.resets.length !== 0)
      // what the library has been doing since shows in what it says while other work goes on
      connection?.quic.send(stream, ECHO, true)
      const before = binding.events.length
      await using other = await dial()
      for (let i = 0; i < 50; i++) await echo(other)
      assert.ok(binding.events.length - before < 200, `${binding.events.length - before} events`)
      assert.deepEqual(connection?.resets, [stream])
      if (name === 'native') assert.deepEqual(connection?.codes, [3])
    })

    test('answers the next client after garbage', async () => {
      const socket = createSocket('udp4')
      const { port, host } = listener.endpoint
      for (let length = 0; length <= 1400; length += 7) {
        const garbage = Buffer.alloc(length, length)
        // long headers of version 1, of an unknown one, and version negotiation
        if (length > 20) garbage.writeUInt32BE([1, 0x1a2a3a4a, 0][length % 3] ?? 0, 1)
        if (length > 20) garbage[0] = 0xc0 | (length & 0x3f)
        socket.send(garbage, port, host)
      }
      await using client = await dial()
      assert.deepEqual(await echo(client), ECHO)
      socket.close()
    })

    test('refuses another protocol, and clients refuse a certificate that is not the right one', async () => {
      for (const [options, alert] of [
        [{ protocol: 'doq' }, 120],
        [{ serverName: 'other.test' }, 42],
      ] as const) {
        const client = await open(options)
        assert.equal((await client.ended.promise).code, 0x100 + alert)
        await client[Symbol.asyncDispose]()
      }
    })

    test('leaves no key behind, and no trace in the process', () => {
      assert.deepEqual(readdirSync(join(directory, name)), [])
      assert.equal(statSync(join(directory, name)).mode & 0o777, 0o700)
      assert.notEqual(process.env.TMPDIR, join(directory, name))
      assert.notEqual(process.umask(), 0o077)
      assert.deepEqual(
        readdirSync(tmpdir()).filter((file) => file.startsWith(`http3_${process.pid}_`)),
        [],
      )
    })

    test('says which address cannot be bound, and why', async () => {
      await assert.rejects(listen(new EchoServer(), listener.endpoint.port), {
        code: 'ATLAS_LISTEN',
        message: `Cannot listen for test on 127.0.0.1:${listener.endpoint.port}: the address is in use by another process`,
      })
    })

    test('frees the address when it closes, and tells clients', async () => {
      const short = await listen(new EchoServer())
      const client = new QuicTestClient()
      client.connection = await engine.dial(
        { endpoint: short.endpoint, protocol: 'echo', serverName: 'localhost', roots, limits: LIMITS },
        () => client,
      )
      await client.ready.promise
      await short.close()
      // RFC 9000 §10.2.3: APPLICATION_ERROR where the server has not heard yet that the handshake is over
      assert.ok([0x0, 0xc].includes((await client.ended.promise).code))
      await client[Symbol.asyncDispose]()
      const again = await listen(new EchoServer(), short.endpoint.port)
      assert.equal(again.endpoint.port, short.endpoint.port)
      await again.close()
    })

    test('does not answer more connections than it may have', async () => {
      const narrow = await listen(new EchoServer(), 0, 1)
      const dialNarrow = async () => {
        const client = new QuicTestClient()
        client.connection = await engine.dial(
          { endpoint: narrow.endpoint, protocol: 'echo', serverName: 'localhost', roots, limits: LIMITS },
          () => client,
        )
        return client
      }
      const first = await dialNarrow()
      await first.ready.promise
      const second = await dialNarrow()
      assert.deepEqual(await echo(first), ECHO)
      assert.equal(await Promise.race([second.ready.promise, turn().then(() => 'waiting')]), 'waiting')
      await first[Symbol.asyncDispose]()
      // its retransmission finds the free place
      await second.ready.promise
      await second[Symbol.asyncDispose]()
      await narrow.close()
    })

    if (name === 'native') {
      test('gives up on streams whose client takes nothing', async () => {
        binding.events.length = 0
        await using client = await dial({ window: 0 })
        const connection = server.connections.at(-1)
        const stream = client.send(ECHO)
        await until(() => binding.events.some((event) => event.eventType === 16 && event.streamId === stream))
        skew += 9000
        wheel.advance(clock())
        assert.deepEqual(connection?.stalls, [])
        skew += 1020
        wheel.advance(clock())
        assert.deepEqual(connection?.stalls, [stream])
        assert.equal((await client.over(stream))?.reset, true)
      })

      test('does not let one client that takes nothing keep the others waiting', async () => {
        await using deaf = await dial({ window: 0 })
        const hog = server.connections.at(-1)
        server.reply = (received) => (received.length === 1 ? Buffer.alloc(65_537) : received)
        // more than the native queue holds
        for (let i = 0; i < 90; i++) deaf.send(Buffer.from('x'))
        await until(() => (hog?.stalls.length ?? 0) > 0)
        await using client = await dial()
        assert.deepEqual(await echo(client), ECHO)
        server.reply = (received) => received
      })

      test('opens unidirectional streams', async () => {
        await using client = await dial()
        server.connections.at(-1)?.quic.send(3, ECHO, false)
        assert.deepEqual((await client.over(3, ({ bytes }) => bytes.length === ECHO.length))?.bytes, ECHO)
      })
    }
  })
}
