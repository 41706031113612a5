import assert from 'node:assert/strict'
import { createSocket, type RemoteInfo } from 'node:dgram'
import { once } from 'node:events'
import test, { type TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { Answer } from '../../dns/answer.ts'
import { Failure } from '../../dns/failure.ts'
import type { Query } from '../../dns/query.ts'
import { readQuery } from '../../dns/query-reader.ts'
import { PrefixSet } from '../../net/address.ts'
import { UdpTransport } from '../../transports/udp.ts'
import { prefixes } from '../harness/gateway.ts'
import { question } from '../harness/messages.ts'

const NO_METER = { connectionOpened: () => {}, connectionClosed: () => {}, handshake: () => {} }
const NAMED = '127.0.0.9'
// elsewhere loopback is one address, and sockets do not share one
const options = { skip: process.platform === 'linux' ? false : 'needs 127.0.0.0/8 and SO_REUSEPORT of Linux' }

/** A transport on a machine whose addresses the test says; its queries wait for the test. */
class Stage {
  addresses: readonly string[] = ['127.0.0.1', '127.0.0.2']
  reads = 0
  readonly queries: Query[] = []
  readonly told: string[] = []
  readonly dropped: string[] = []
  readonly transport: UdpTransport
  port = 0
  readonly #t: TestContext

  constructor(t: TestContext) {
    this.#t = t
    t.mock.timers.enable({ apis: ['setInterval'] })
    this.transport = new UdpTransport({
      acceptor: { accept: (query) => this.#accept(query) },
      meter: { ...NO_METER, dropped: ({ code }) => void this.dropped.push(code) },
      addresses: () => {
        this.reads++
        return this.addresses
      },
      observer: {
        appeared: ({ host }) => this.told.push(`appeared ${host}`),
        vanished: ({ host }) => this.told.push(`vanished ${host}`),
        failed: ({ host }) => this.told.push(`failed ${host}`),
        crowded: () => {},
      },
    })
    t.after(() => this.transport.close())
  }

  /** `access` by host. What is bound already keeps its port. */
  async listen(access: Readonly<Record<string, string>>): Promise<void> {
    const slices = Object.entries(access).map(([host, list]) => ({
      endpoint: { host, port: this.port },
      access: new PrefixSet(prefixes(list)),
      reusePort: true,
    }))
    await this.transport.reconfigure({ listen: slices })
    this.port = this.transport.endpoints[0]?.port ?? this.port
  }

  async look(times: number, until: () => boolean): Promise<void> {
    for (let i = 0; i < times; i++) {
      this.#t.mock.timers.tick(5000)
      await turn()
    }
    while (!until()) await turn()
  }

  answerAll(): void {
    for (const query of this.queries.splice(0)) query.reply.deliver(query, Answer.ofFailure(Failure.recursion_not_desired))
  }

  #accept(query: Query): void {
    assert.equal(readQuery(query), null)
    query.park()
    this.queries.push(query)
  }
}

/** A client at 127.0.0.1. */
class Client implements AsyncDisposable {
  received = 0
  readonly #socket = createSocket('udp4').on('message', () => this.received++)

  static async at(host = '127.0.0.1'): Promise<Client> {
    const client = new Client()
    client.#socket.bind(0, host)
    await once(client.#socket, 'listening')
    return client
  }

  /** Resolves with the query, as the transport has it. */
  async send(stage: Stage, host: string): Promise<Query> {
    const { length } = stage.queries
    this.#socket.send(question({ name: 'example.com' }), stage.port, host)
    while (stage.queries.length === length) await turn()
    return stage.queries.at(-1) as Query
  }

  /** From where the next answer comes. */
  async answered(stage: Stage): Promise<string> {
    const answer = once(this.#socket, 'message')
    stage.answerAll()
    const [, { address, port }] = (await answer) as [Buffer, RemoteInfo]
    assert.equal(port, stage.port)
    return address
  }

  async ask(stage: Stage, host: string): Promise<string> {
    await this.send(stage, host)
    return this.answered(stage)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#socket, 'close')
    this.#socket.close()
    await closed
  }
}

async function isFree(host: string, port: number): Promise<boolean> {
  const socket = createSocket('udp4')
  const outcome = Promise.withResolvers<boolean>()
  socket.once('error', () => outcome.resolve(false))
  socket.bind({ address: host, port, exclusive: true }, () => outcome.resolve(true))
  const free = await outcome.promise
  socket.close()
  return free
}

test('an answer leaves from the address that was asked, and the wildcard is one endpoint', options, async (t) => {
  const stage = new Stage(t)
  await stage.listen({ '0.0.0.0': '127.0.0.0/8' })
  await using client = await Client.at()
  for (const host of stage.addresses) assert.equal(await client.ask(stage, host), host)
  assert.deepEqual(stage.transport.endpoints, [{ host: '0.0.0.0', port: stage.port }])
  // of 127.0.0.0/8, what the machine says it has
  assert.ok(await isFree('127.0.0.3', stage.port))
})

test('an address that appears is served, one that goes is closed, with what was open there', options, async (t) => {
  const stage = new Stage(t)
  await stage.listen({ '0.0.0.0': '127.0.0.0/8' })
  stage.addresses = ['127.0.0.1', '127.0.0.2', '127.0.0.3', '192.0.2.99']
  await stage.look(1, () => stage.told.length === 2)
  // TEST-NET-1 is on no machine: the kernel says EADDRNOTAVAIL
  assert.deepEqual(stage.told, ['appeared 127.0.0.3', 'failed 192.0.2.99'])
  await using client = await Client.at()
  assert.equal(await client.ask(stage, '127.0.0.3'), '127.0.0.3')
  await client.send(stage, '127.0.0.3')
  stage.addresses = ['127.0.0.1', '127.0.0.2']
  await stage.look(11, () => true)
  assert.equal(await client.answered(stage), '127.0.0.3')
  await client.send(stage, '127.0.0.3')
  await stage.look(1, () => stage.told.length === 3)
  assert.deepEqual(stage.told.at(-1), 'vanished 127.0.0.3')
  assert.ok(await isFree('127.0.0.3', stage.port))
  // too late: into the void, and nobody waits for it
  stage.answerAll()
  assert.equal(await client.ask(stage, '127.0.0.2'), '127.0.0.2')
  await stage.transport.drain(60_000)
})

test('what is named beside the wildcard has its own terms, until it is taken out', options, async (t) => {
  const stage = new Stage(t)
  stage.addresses = ['127.0.0.1', NAMED]
  // for a port
  await stage.listen({ '127.0.0.1': '127.0.0.0/8' })
  await stage.listen({})
  await stage.transport.settle(0)
  await stage.listen({ '0.0.0.0': '192.0.2.0/24', [NAMED]: '127.0.0.0/8' })
  await using client = await Client.at()
  const admitted = async (host: string) => (await client.send(stage, host)).client.refusal === null
  assert.deepEqual([await admitted('127.0.0.1'), await admittedFromPorts(stage, NAMED)], [false, new Set([true])])
  await stage.listen({ '0.0.0.0': '192.0.2.0/24' })
  await stage.look(1, () => true)
  assert.deepEqual(await admittedFromPorts(stage, NAMED), new Set([true]), 'until it is settled, the former configuration may come back')
  stage.answerAll()
  await stage.transport.settle(1000)
  await stage.look(1, () => stage.told.length === 1)
  assert.deepEqual(stage.told, [`appeared ${NAMED}`])
  assert.equal(await admitted(NAMED), false)
  // other terms reach every socket
  await stage.listen({ '0.0.0.0': '127.0.0.0/8' })
  assert.deepEqual([await admitted('127.0.0.1'), await admitted(NAMED)], [true, true])
})

/** What becomes of queries from several ports: for each the kernel chooses anew among the sockets that share the address. */
async function admittedFromPorts(stage: Stage, host: string): Promise<ReadonlySet<boolean>> {
  const seen = new Set<boolean>()
  for (let i = 0; i < 8; i++) {
    await using client = await Client.at()
    seen.add((await client.send(stage, host)).client.refusal === null)
  }
  return seen
}

test('until a reload is settled the wildcard comes back without being bound; afterwards it drains', options, async (t) => {
  const stage = new Stage(t)
  await stage.listen({ '0.0.0.0': '127.0.0.0/8' })
  await stage.listen({})
  await using client = await Client.at()
  assert.equal(await client.ask(stage, '127.0.0.2'), '127.0.0.2')
  await stage.listen({ '0.0.0.0': '127.0.0.0/8' })
  await client.send(stage, '127.0.0.2')
  await stage.listen({})
  const settled = stage.transport.settle(60_000)
  assert.equal(await client.answered(stage), '127.0.0.2')
  await settled
  for (const host of stage.addresses) assert.ok(await isFree(host, stage.port))
  const { reads } = stage
  await stage.look(1, () => true)
  assert.equal(stage.reads, reads, 'nothing is watched any more')
})

test('a wildcard that is bound anew serves all its addresses', options, async (t) => {
  const stage = new Stage(t)
  await stage.listen({ '0.0.0.0': '127.0.0.0/8' })
  await using client = await Client.at()
  await client.send(stage, '127.0.0.2')
  await stage.transport.rebind({ host: '0.0.0.0', port: stage.port })
  // what the old sockets were asked is lost with them
  stage.answerAll()
  for (const host of stage.addresses) assert.equal(await client.ask(stage, host), host)
  assert.equal(client.received, 2)
})

test('an address that is in use at start is an error, and leaves nothing bound', options, async (t) => {
  const stage = new Stage(t)
  const stranger = createSocket('udp4').bind(0, '127.0.0.2')
  t.after(() => stranger.close())
  await once(stranger, 'listening')
  stage.port = stranger.address().port
  await assert.rejects(stage.listen({ '0.0.0.0': '127.0.0.0/8' }), {
    code: 'ATLAS_LISTEN',
    message: `Cannot listen for dns (UDP) on 127.0.0.2:${stage.port}: the address is in use by another process`,
  })
  assert.ok(await isFree('127.0.0.1', stage.port))
})

test('a datagram from the very address and port that it was sent to is dropped', options, async (t) => {
  const stage = new Stage(t)
  // who shares an address may get what it sends itself: the kernel chooses by the port, which is another one at each attempt
  for (const astray: Buffer[] = []; stage.dropped.length + stage.queries.length === 0; astray.length = 0) {
    await stage.listen({})
    await stage.transport.settle(0)
    stage.port = 0
    await stage.listen({ '0.0.0.0': '127.0.0.0/8' })
    const twin = createSocket({ type: 'udp4', reusePort: true }).bind(stage.port, '127.0.0.2')
    await once(twin, 'listening')
    twin.on('message', (message) => astray.push(message)).send(question({ name: 'example.com' }), stage.port, '127.0.0.2')
    while (astray.length + stage.dropped.length + stage.queries.length === 0) await turn()
    twin.close()
  }
  assert.deepEqual([stage.dropped, stage.queries], [['reflection_port'], []])
})

test('without a wildcard nothing is watched', options, async (t) => {
  const stage = new Stage(t)
  await stage.listen({ [NAMED]: '127.0.0.0/8' })
  await stage.look(1, () => true)
  assert.equal(stage.reads, 0)
})
