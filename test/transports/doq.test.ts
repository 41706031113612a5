import assert from 'node:assert/strict'
import test, { after, before, beforeEach, describe } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { Config } from '../../gateway/config/config.ts'
import { LIMITS, prefixes, runGateway, type TestGateway } from '../harness/gateway.ts'
import { question, vector } from '../harness/messages.ts'
import { dialQuic, openDoq, type QuicTestClient } from '../harness/quic.ts'
import { dnsServer, frame, holding } from '../harness/servers.ts'
import { until } from '../harness/until.ts'

const NO_ERROR = 0x0
const PROTOCOL_ERROR = 0x2
const EXCESSIVE_LOAD = 0x4

let upstream: Awaited<ReturnType<typeof dnsServer>>
let gateway: TestGateway
/** Answers held back for names that begin with "slow". */
let held: (() => void)[] = []

before(async () => {
  upstream = await dnsServer(holding((send) => held.push(send)))
  gateway = await runGateway([upstream.endpoint])
})
beforeEach(() => {
  held = []
})
after(async () => {
  await gateway[Symbol.asyncDispose]()
  await upstream[Symbol.asyncDispose]()
})

const ask = (name: string) => frame(question({ id: 0, name }))
const EXAMPLE = ask('example.com')

const limits = (more: Partial<Config['limits']>): Partial<Config> => ({
  limits: {
    ...LIMITS,
    idle: { streamMs: 30_000, httpMs: 60_000, quicMs: 30_000 },
    ...more,
  },
})

/** The message on a stream; fails when there is not exactly one. */
function messageOf(bytes: Buffer | undefined): Buffer {
  assert.ok(bytes !== undefined && bytes.length >= 2)
  assert.equal(bytes.readUInt16BE(0), bytes.length - 2)
  return bytes.subarray(2)
}

async function answerTo(client: QuicTestClient, bytes: Uint8Array = EXAMPLE): Promise<Buffer> {
  const record = await client.over(client.send(bytes))
  assert.equal(record?.fin, true)
  return messageOf(record.bytes)
}

/** As soon as the server gives credit for a stream. */
async function sendSoon(client: QuicTestClient, bytes: Uint8Array, fin: boolean): Promise<number> {
  for (;;) {
    const stream = client.trySend(bytes, fin)
    if (stream >= 0) return stream
    await turn()
  }
}

/** The handshake may be over before the client hears that it is not welcome. */
async function assertRefused({ doq, ca }: TestGateway): Promise<void> {
  await using client = await dialQuic({ endpoint: doq, ca, protocol: 'doq' })
  await client.ended.promise
  assert.equal(client.streams.size, 0)
}

const rcodeOf = (message: Buffer) => (message[3] ?? 0) & 15

async function assertServes(): Promise<void> {
  await using client = await openDoq(gateway)
  assert.equal(rcodeOf(await answerTo(client)), 0)
}

async function metric(name: string, of = gateway): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${of.admin.port}/metrics`)).text()
  return Number(
    text
      .split('\n')
      .find((line) => line.startsWith(`${name} `))
      ?.split(' ')[1] ?? Number.NaN,
  )
}

describe('a query over QUIC', () => {
  test('is answered on its stream with id 0, padded, and with the FIN behind', async () => {
    await using client = await openDoq(gateway)
    const message = await answerTo(client, frame(withId0(vector('V02'))))
    assert.equal(message.readUInt16BE(0), 0)
    assert.equal(message.length % 468, 0)
  })

  // RFC 9250 §4.2: the message may come in any number of frames, the length too
  test('may come octet by octet', async () => {
    await using client = await openDoq(gateway)
    const stream = client.connection.openStream()
    for (const [i, octet] of EXAMPLE.entries()) {
      client.connection.send(stream, Uint8Array.of(octet), i === EXAMPLE.length - 1)
      await turn()
    }
    assert.equal(rcodeOf(messageOf((await client.over(stream))?.bytes)), 0)
  })

  // conformance DOQ-05
  test('is answered before its FIN, and the FIN may come later', async () => {
    await using client = await openDoq(gateway)
    const stream = client.send(EXAMPLE, false)
    assert.equal(rcodeOf(messageOf((await client.over(stream))?.bytes)), 0)
    client.connection.send(stream, Buffer.alloc(0), true)
    assert.equal(rcodeOf(await answerTo(client)), 0)
  })

  test('does not wait for a slow one before it', async () => {
    await using client = await openDoq(gateway)
    const slow = client.send(ask('slow.example'))
    await until(() => held.length > 0)
    assert.equal(rcodeOf(await answerTo(client)), 0)
    held[0]?.()
    assert.equal(rcodeOf(messageOf((await client.over(slow))?.bytes)), 0)
  })

  // conformance DOQ-25: the credit for streams is given again as they end
  test('is answered a thousand times on one connection', async () => {
    await using client = await openDoq(gateway)
    for (let round = 0; round < 20; round++) {
      const answers = await Promise.all(Array.from({ length: 50 }, () => answerTo(client)))
      assert.ok(answers.every((message) => rcodeOf(message) === 0))
    }
  })

  for (const [what, wire, rcode] of [
    ['K08: a malformed message', withId0(vector('V24')), 1],
    ['K15: a zone transfer', withId0(vector('V21')), 5],
  ] as const) {
    test(`${what} is answered in DNS, with FIN`, async () => {
      await using client = await openDoq(gateway)
      assert.equal(rcodeOf(await answerTo(client, frame(wire))), rcode)
      assert.equal(rcodeOf(await answerTo(client)), 0)
    })
  }
})

// RFC 9250 §4.3.3; conformance K01 to K07, K14
describe('a protocol error closes the connection with DOQ_PROTOCOL_ERROR', () => {
  const withLength = (length: number, rest: Uint8Array) => Buffer.concat([Buffer.from([length >>> 8, length & 0xff]), rest])
  const cases: readonly (readonly [string, Uint8Array, boolean])[] = [
    ['K01: an id that is not 0', frame(vector('V02')), true],
    ['K02: FIN before the whole message', withLength(33, Buffer.alloc(10)), true],
    ['K03: FIN with nothing', Buffer.alloc(0), true],
    ['K03: FIN with half a length', Buffer.alloc(1), true],
    ['K04: two queries on one stream', Buffer.concat([EXAMPLE, EXAMPLE]), true],
    ['K04: one octet behind the query', Buffer.concat([EXAMPLE, Buffer.alloc(1)]), false],
    ['K05: edns-tcp-keepalive', frame(withId0(vector('V18'))), true],
    ['K07: length 0', Buffer.alloc(2), true],
    ['a message shorter than a header', frame(Buffer.alloc(11)), true],
    ['a response', frame(withId0(Buffer.from(vector('V02')), 0x80)), true],
  ]
  for (const [what, bytes, fin] of cases) {
    test(what, async () => {
      await using client = await openDoq(gateway)
      client.send(bytes, fin)
      assert.equal((await client.ended.promise).code, PROTOCOL_ERROR)
      await assertServes()
    })
  }

  test('K04: a second query after the first was answered', async () => {
    await using client = await openDoq(gateway)
    const stream = client.send(EXAMPLE, false)
    await client.over(stream)
    client.connection.send(stream, EXAMPLE, true)
    assert.equal((await client.ended.promise).code, PROTOCOL_ERROR)
  })

  test('K06, K14: a unidirectional stream', async () => {
    await using client = await openDoq(gateway)
    client.connection.send(2, Buffer.from('000400', 'hex'), false)
    assert.equal((await client.ended.promise).code, PROTOCOL_ERROR)
    await assertServes()
  })

  test('is counted by its reason', async () => {
    for (const reason of ['doq_framing', 'doq_message_id', 'doq_keepalive']) {
      assert.ok((await metric(`atlas_drops_total{reason="${reason}"}`)) > 0, reason)
    }
  })
})

// RFC 9250 §4.3.1; conformance K10 to K13
describe('a cancelled query', () => {
  for (const fin of [false, true]) {
    test(`${fin ? 'K11: after' : 'K10: before'} its FIN gets no answer, and disturbs no other`, async () => {
      await using client = await openDoq(gateway)
      const stream = client.send(ask('slow.example'), fin)
      await until(() => held.length > 0)
      client.connection.reset(stream, 3)
      assert.equal(rcodeOf(await answerTo(client)), 0)
      held[0]?.()
      assert.equal(rcodeOf(await answerTo(client)), 0)
      assert.equal(client.record(stream).bytes.length, 0)
    })
  }

  test('K13: a flood of them closes the connection with DOQ_EXCESSIVE_LOAD', async () => {
    await using client = await openDoq(gateway)
    const ended = client.ended.promise.then(() => true)
    do {
      // the rest of the message never comes, so nothing but the cancelling can be held against it
      const streams = Array.from({ length: 40 }, () => client.trySend(EXAMPLE.subarray(0, 5), false)).filter((stream) => stream >= 0)
      for (let i = 0; i < 20; i++) await turn()
      for (const stream of streams) client.connection.reset(stream, 3)
    } while (!(await Promise.race([ended, turn().then(() => false)])))
    assert.equal((await client.ended.promise).code, EXCESSIVE_LOAD)
    await assertServes()
  })

  test('still counts until its question has its outcome', async () => {
    await using strict = await runGateway([upstream.endpoint], limits({ inFlightPerConnection: 3 }))
    await using client = await openDoq(strict)
    for (let i = 1; i <= 3; i++) {
      const stream = await sendSoon(client, ask('slow.example'), false)
      await until(() => held.length >= i)
      client.connection.reset(stream, 3)
    }
    await sendSoon(client, ask('slow.example'), false)
    assert.equal((await client.ended.promise).code, EXCESSIVE_LOAD)
  })
})

describe('limits', () => {
  // conformance K09
  test('streams that are left without FIN end the connection, when there are too many', async () => {
    await using client = await openDoq(gateway)
    const streams = Array.from({ length: 30 }, () => client.send(EXAMPLE, false))
    for (const stream of streams) assert.equal((await client.over(stream))?.fin, true)
    assert.equal((await client.ended.promise).code, EXCESSIVE_LOAD)
  })

  test('incomplete queries may hold so much memory and no more', async () => {
    await using client = await openDoq(gateway)
    const large = Buffer.concat([Buffer.from([0xff, 0xff]), Buffer.alloc(60_000)])
    for (let i = 0; i < 5; i++) client.send(large, false)
    assert.equal((await client.ended.promise).code, EXCESSIVE_LOAD)
    await assertServes()
  })

  test('an idle connection is closed, however often it pings', async () => {
    await using hasty = await runGateway([upstream.endpoint], limits({ idle: { streamMs: 1000, httpMs: 1000, quicMs: 1000 } }))
    await using client = await openDoq(hasty)
    await answerTo(client)
    assert.equal((await client.ended.promise).code, NO_ERROR)
  })

  test('connections are counted for each client, and given back', async () => {
    await using strict = await runGateway([upstream.endpoint], limits({ connectionsPerClient: 1 }))
    const open = () => metric('atlas_connections{transport="doq"}', strict)
    {
      await using first = await openDoq(strict)
      await assertRefused(strict)
      // the refused client may know of its end before the gateway has counted it
      await until(async () => (await open()) <= 1)
      assert.equal(await open(), 1)
      assert.equal(rcodeOf(await answerTo(first)), 0)
    }
    await until(async () => (await open()) === 0)
    await using again = await openDoq(strict)
    assert.equal(rcodeOf(await answerTo(again)), 0)
  })

  test('who is not on the access list is turned away', async () => {
    await using closed = await runGateway([upstream.endpoint], {
      access: { dns: prefixes('127.0.0.0/8'), encrypted: prefixes('192.0.2.1'), tokenFile: null },
    })
    await assertRefused(closed)
    assert.equal(await metric('atlas_drops_total{reason="access_denied"}', closed), 1)
  })
})

describe('drain()', () => {
  test('answers what is open, closes with DOQ_NO_ERROR and takes nobody new', async () => {
    const ending = await runGateway([upstream.endpoint])
    await using busy = await openDoq(ending)
    await using idle = await openDoq(ending)
    const stream = busy.send(ask('slow.example'))
    await until(() => held.length > 0)
    const drained = ending.gateway.drain()
    assert.equal((await idle.ended.promise).code, NO_ERROR)
    held[0]?.()
    assert.equal(rcodeOf(messageOf((await busy.over(stream))?.bytes)), 0)
    assert.equal((await busy.ended.promise).code, NO_ERROR)
    await drained
    await ending[Symbol.asyncDispose]()
  })
})

function withId0(wire: Uint8Array, flags = 0): Buffer {
  const copy = Buffer.from(wire)
  copy.writeUInt16BE(0, 0)
  copy[2] = (copy[2] ?? 0) | flags
  return copy
}
