import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import test, { after, before, describe } from 'node:test'
import { type ConnectionOptions, connect as tlsConnect } from 'node:tls'
import { handshake } from '../certs/sessions.ts'
import {
  assertOthersAreAnswered,
  clientHello,
  dropsBetween,
  ended,
  FAULT_TIMEOUTS,
  type FaultStand,
  openBare,
  openFaultStand,
  untilNothingIsLeft,
} from '../harness/faults.ts'
import { LIMITS } from '../harness/gateway.ts'
import { vector } from '../harness/messages.ts'
import { frame } from '../harness/servers.ts'
import { CONTENT, RecordWriter, tlsRecord } from '../harness/tls-records.ts'

/** RFC 8446 §6. */
const ALERT = { unexpectedMessage: 10, recordOverflow: 22, missingExtension: 109 } as const
const EXTENSION = { supportedGroups: 10, signatureAlgorithms: 13, keyShare: 51 } as const
/** RFC 8701: what no server knows. */
const GREASE = 0x2a2a
/** Type, version, length; and of the handshake message: type, length, version, random. */
const [RECORD_HEAD, HELLO_HEAD] = [5, 1 + 3 + 2 + 32]

let stand: FaultStand
before(async () => {
  // what ends early must not seem to have ended in its time
  const idle = { streamMs: 60_000, httpMs: 60_000, quicMs: 60_000 }
  stand = await openFaultStand({ limits: { ...LIMITS, idle }, timeouts: { ...FAULT_TIMEOUTS, queryMs: 60_000, handshakeMs: 60_000 } })
})
after(() => stand[Symbol.asyncDispose]())

async function reading(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  await ended(socket)
  return Buffer.concat(chunks)
}

/** The ClientHello of OpenSSL in parts, which others can be put into. */
interface Hello {
  head: Buffer
  suites: Buffer
  extensions: Map<number, Buffer>
}

function parse(hello: Buffer): Hello {
  const suitesAt = RECORD_HEAD + HELLO_HEAD + 1 + hello.readUInt8(RECORD_HEAD + HELLO_HEAD)
  const suitesEnd = suitesAt + 2 + hello.readUInt16BE(suitesAt)
  // one compression method
  const extensions = new Map<number, Buffer>()
  for (let at = suitesEnd + 2 + 2; at < hello.length; at += 4 + hello.readUInt16BE(at + 2)) {
    extensions.set(hello.readUInt16BE(at), hello.subarray(at + 4, at + 4 + hello.readUInt16BE(at + 2)))
  }
  return { head: hello.subarray(RECORD_HEAD + 4, suitesAt), suites: hello.subarray(suitesAt + 2, suitesEnd), extensions }
}

function format({ head, suites, extensions }: Hello): Buffer {
  const list = [...extensions].map(([type, content]) => Buffer.concat([u16(type), u16(content.length), content]))
  const body = Buffer.concat([head, u16(suites.length), suites, Buffer.from([1, 0]), u16(Buffer.concat(list).length), ...list])
  return tlsRecord(CONTENT.handshake, Buffer.concat([Buffer.from([1, 0]), u16(body.length), body]))
}

function u16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff])
}

/** A list with its length in front, and one more at its beginning. */
function withFirst(list: Buffer | undefined, first: Buffer): Buffer {
  const rest = list?.subarray(2) ?? Buffer.alloc(0)
  return Buffer.concat([u16(first.length + rest.length), first, rest])
}

describe('a handshake', () => {
  const connect = (options: ConnectionOptions) => {
    const { dot, ca } = stand.gateway
    return tlsConnect({ host: dot.host, port: dot.port, servername: 'localhost', ca, ...options })
  }

  for (const options of [
    { ciphers: 'TLS_AES_128_GCM_SHA256' },
    { ciphers: 'TLS_AES_256_GCM_SHA384' },
    { ciphers: 'TLS_CHACHA20_POLY1305_SHA256' },
    { ecdhCurve: 'P-256', sigalgs: 'ecdsa_secp256r1_sha256' },
    { ecdhCurve: 'X25519' },
    { ecdhCurve: 'X25519MLKEM768' },
  ]) {
    test(`succeeds with ${Object.values(options).join(' and ')} alone (conformance TLS-01)`, async () => {
      const socket = connect(options)
      await once(socket, 'secureConnect')
      if (options.ciphers !== undefined) assert.equal(socket.getCipher().name, options.ciphers)
      socket.destroy()
    })
  }

  for (const options of [{ ecdhCurve: 'P-384' }, { ecdhCurve: 'X448' }]) {
    test(`fails with ${options.ecdhCurve} alone, which is not ours`, async () => {
      const [error] = (await once(connect(options), 'error')) as [Error]
      assert.match(error.message, /alert number 40/)
    })
  }

  for (const [name, type] of Object.entries(EXTENSION)) {
    test(`without ${name} gets alert 109, missing_extension (conformance TLS-02)`, async () => {
      const hello = parse(await clientHello())
      assert.ok(hello.extensions.delete(type))
      const socket = await openBare(stand.gateway.dot)
      const reply = reading(socket)
      socket.write(format(hello))
      assert.deepEqual([...(await reply).subarray(RECORD_HEAD)], [2, ALERT.missingExtension])
    })
  }

  test('may offer suites, groups and extensions that nobody knows (conformance TLS-03)', async () => {
    const hello = parse(await clientHello())
    hello.suites = Buffer.concat([u16(GREASE), hello.suites])
    const { extensions } = hello
    extensions.set(EXTENSION.supportedGroups, withFirst(extensions.get(EXTENSION.supportedGroups), u16(GREASE)))
    extensions.set(
      EXTENSION.keyShare,
      withFirst(extensions.get(EXTENSION.keyShare), Buffer.concat([u16(GREASE), u16(1), Buffer.from([0])])),
    )
    hello.extensions = new Map([[GREASE, Buffer.alloc(0)], ...extensions, [0xfafa, Buffer.from([1])]])
    const socket = await openBare(stand.gateway.dot)
    socket.write(format(hello))
    const [reply] = (await once(socket, 'data')) as [Buffer]
    // a ServerHello
    assert.deepEqual([reply[0], reply[RECORD_HEAD]], [CONTENT.handshake, 2])
    socket.destroy()
  })

  for (const [place, foreign] of [
    ['dot', ['h2', 'http/1.1', 'doq', 'h3', 'acme-tls/1']],
    ['doh', ['dot', 'doq', 'h3', 'acme-tls/1']],
  ] as const) {
    for (const protocol of foreign) {
      test(`for ${protocol} at the port of ${place} gets alert 120 (conformance TLS-04)`, async () => {
        const socket = connect({ port: stand.gateway[place].port, ALPNProtocols: [protocol] })
        const [error] = (await once(socket, 'error')) as [Error]
        assert.match(error.message, /alert number 120/)
      })
    }
  }

  test('gives two tickets that are good for a day (conformance TLS-05, TLS-06)', async () => {
    const { dot, ca } = stand.gateway
    const { session } = await handshake({ port: dot.port, servername: 'localhost', ca })
    // OpenSSL's form of a session has the lifetime that the ticket announced: [9] INTEGER 86400
    assert.ok(session.includes(Buffer.from('a9050203015180', 'hex')))
    const socket = connect({ ALPNProtocols: ['dot'] })
    let tickets = 0
    socket.on('session', () => void tickets++)
    socket.write(frame(vector('V02')))
    // tickets come before the answer
    await once(socket, 'data')
    assert.equal(tickets, 2)
    socket.destroy()
  })
})

describe('a record', () => {
  test('longer than 2^14 octets in the clear gets alert 22, record_overflow (conformance TLS-08)', async () => {
    const socket = await openBare(stand.gateway.dot)
    const reply = reading(socket)
    socket.write(tlsRecord(CONTENT.handshake, Buffer.alloc(0x4401, 1)))
    assert.deepEqual([...(await reply).subarray(RECORD_HEAD)], [2, ALERT.recordOverflow])
  })

  for (const [what, records] of [
    ['longer than 2^14 + 256 octets', () => tlsRecord(CONTENT.applicationData, Buffer.alloc(16_641))],
    ['that nobody can have encrypted', () => tlsRecord(CONTENT.applicationData, Buffer.alloc(100))],
    ['of another time, ChangeCipherSpec', () => tlsRecord(CONTENT.changeCipherSpec, Buffer.from([1]))],
    ['without content, many times', (writer: RecordWriter) => many(100, () => writer.seal(CONTENT.applicationData, Buffer.alloc(0)))],
    ['with a warning, many times', (writer: RecordWriter) => many(100, () => writer.seal(CONTENT.alert, Buffer.from([1, 90])))],
  ] as const) {
    test(`${what}, ends the connection at once (conformance TLS-08, RFC 8446 §6.2)`, async () => {
      const { gateway } = stand
      for (const [place, protocol] of [
        [gateway.dot, 'dot'],
        [gateway.doh, 'h2'],
        [gateway.doh, 'http/1.1'],
      ] as const) {
        const writer = await RecordWriter.open(place, { ca: gateway.ca, protocol })
        writer.socket.write(records(writer))
        // far sooner than any deadline would
        await ended(writer.socket)
      }
      await untilNothingIsLeft(gateway)
    })
  }
})

/** OpenSSL sets no limit, and Node says nothing of them: what holds is that a connection on which no query comes ends in its time. */
test('who updates keys 10,000 times disturbs nobody, and is closed when no query comes (conformance TLS-09)', async () => {
  await using hasty = await openFaultStand()
  const { gateway } = hasty
  const before = await untilNothingIsLeft(gateway)
  const writer = await RecordWriter.open(gateway.dot, { ca: gateway.ca, protocol: 'dot' })
  const gone = ended(writer.socket)
  for (let i = 0; i < 100; i++) {
    writer.socket.write(many(100, () => writer.keyUpdate(true)))
    await new Promise((resolve) => setImmediate(resolve))
  }
  await assertOthersAreAnswered(gateway)
  await gone
  assert.deepEqual(dropsBetween(before, await untilNothingIsLeft(gateway)), { query_timeout: 1 })
})

test('a query behind key updates is answered', async () => {
  const { gateway } = stand
  const writer = await RecordWriter.open(gateway.dot, { ca: gateway.ca, protocol: 'dot' })
  const before = writer.socket.bytesRead
  writer.socket.write(Buffer.concat([many(3, () => writer.keyUpdate(true)), writer.seal(CONTENT.applicationData, frame(vector('V02')))]))
  await once(writer.stream, 'data')
  assert.ok(writer.socket.bytesRead > before)
  writer.socket.destroy()
})

function many(count: number, make: () => Buffer): Buffer {
  return Buffer.concat(Array.from({ length: count }, make))
}
