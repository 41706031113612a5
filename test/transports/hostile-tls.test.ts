import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import test, { after, before, describe } from 'node:test'
import { type ConnectionOptions, connect as tlsConnect } from 'node:tls'
import {
  assertOthersAreAnswered,
  clientHello,
  dropsBetween,
  ended,
  FAULT_TIMEOUTS,
  type FaultStand,
  heldMebibytes,
  openBare,
  openFaultStand,
  STREAMS,
  untilNothingIsLeft,
} from '../harness/faults.ts'
import { TLS } from '../harness/gateway.ts'
import { vector } from '../harness/messages.ts'
import { frame } from '../harness/servers.ts'

/** RFC 8446 §5.1: a handshake record, and the longest content of one. */
const [HANDSHAKE, MAX_RECORD] = [22, 16_384]
/** Octets of a record with an alert. */
const ALERT_LENGTH = 7
/** The same where it is encrypted (RFC 8446 §5.2): its type and a tag besides. */
const CLOSE_NOTIFY_LENGTH = ALERT_LENGTH + 17
const QUERY = frame(vector('V02'))

let stand: FaultStand
/** That has TLS 1.2 too. */
let lenient: FaultStand
before(async () => {
  stand = await openFaultStand()
  lenient = await openFaultStand({ tls: { ...TLS, minVersion: 'TLSv1.2' } })
})
after(async () => {
  await stand[Symbol.asyncDispose]()
  await lenient[Symbol.asyncDispose]()
})

function record(content: Uint8Array): Buffer {
  const head = Buffer.from([HANDSHAKE, 3, 1, 0, 0])
  head.writeUInt16BE(content.length, 3)
  return Buffer.concat([head, content])
}

/** The content in records of so many octets. */
function records(content: Uint8Array, octets: number): Buffer {
  const pieces: Buffer[] = []
  for (let at = 0; at < content.length; at += octets) pieces.push(record(content.subarray(at, at + octets)))
  return Buffer.concat(pieces)
}

async function all(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  await ended(socket)
  return Buffer.concat(chunks)
}

const secure = ({ gateway }: FaultStand, options: ConnectionOptions) =>
  tlsConnect({ host: gateway.dot.host, port: gateway.dot.port, servername: 'localhost', ca: gateway.ca, ...options })

describe('a ClientHello (conformance T17)', () => {
  test('in records of one octet is one', async () => {
    const { gateway } = stand
    const socket = await openBare(gateway.dot)
    socket.write(records((await clientHello()).subarray(5), 1))
    const [reply] = (await once(socket, 'data')) as [Buffer]
    // handshake, and in it the ServerHello
    assert.deepEqual([reply[0], reply[5]], [HANDSHAKE, 2])
    socket.destroy()
    await untilNothingIsLeft(gateway)
  })

  for (const [what, announced, sent] of [
    ['of 16 MiB, of which it sends one', 0xff_ffff, 1_048_576],
    ['of 200 KiB, all of it', 204_796, 204_796],
  ] as const) {
    test(`${what}, is refused, and costs nothing`, async () => {
      const { gateway } = stand
      const before = await untilNothingIsLeft(gateway)
      const held = heldMebibytes()
      const hello = Buffer.alloc(4 + sent)
      hello.writeUInt32BE(0x0100_0000 + announced)
      const socket = await openBare(gateway.dot)
      const reply = all(socket)
      socket.write(records(hello, MAX_RECORD))
      assert.ok((await reply).length <= ALERT_LENGTH)
      assert.ok(heldMebibytes() - held < 8)
      assert.deepEqual(dropsBetween(before, await untilNothingIsLeft(gateway)), { handshake_failed: 1 })
    })
  }
})

describe('a version of TLS (conformance T13, RFC 8310 §9)', () => {
  for (const [version, of] of [
    ['TLSv1', () => stand],
    ['TLSv1.1', () => stand],
    ['TLSv1.2', () => stand],
    ['TLSv1', () => lenient],
    ['TLSv1.1', () => lenient],
  ] as const) {
    test(`${version} gets alert 70, protocol_version, where only newer ones are served`, async () => {
      const { gateway } = of()
      const before = await untilNothingIsLeft(gateway)
      // what OpenSSL does not offer any more by itself
      const socket = secure(of(), { minVersion: version, maxVersion: version, ciphers: 'DEFAULT:@SECLEVEL=0' })
      const [error] = (await once(socket, 'error')) as [Error]
      assert.match(error.message, /alert number 70/i)
      assert.deepEqual(dropsBetween(before, await untilNothingIsLeft(gateway)), { handshake_failed: 1 })
    })
  }
})

test('who negotiates anew within TLS 1.2 is refused (conformance T18), and disturbs nobody', async () => {
  const { gateway } = lenient
  const socket = secure(lenient, { maxVersion: 'TLSv1.2' })
  await once(socket, 'secureConnect')
  const refused = new Promise<Error | null>((resolve) => {
    socket.on('error', resolve)
    socket.renegotiate({ rejectUnauthorized: false }, resolve)
  })
  assert.match(String(await refused), /ssl3_read_bytes:no renegotiation/)
  socket.destroy()
  await assertOthersAreAnswered(gateway)
  await untilNothingIsLeft(gateway)
})

test('a client that leaves in the middle of its handshake is not waited for', async () => {
  await using patient = await openFaultStand({ timeouts: { ...FAULT_TIMEOUTS, handshakeMs: 600_000 } })
  const { gateway } = patient
  const hello = await clientHello()
  const before = await untilNothingIsLeft(gateway)
  const places = [gateway.dot, gateway.doh]
  for (const place of places) {
    for (const octets of [0, 1, 100, hello.length]) (await openBare(place)).resume().end(hello.subarray(0, octets))
  }
  assert.deepEqual(dropsBetween(before, await untilNothingIsLeft(gateway)), { handshake_failed: 8 })
})

test('what TLS cuts off in the middle of a message is no message (conformance T21)', async () => {
  const { gateway } = stand
  const before = await untilNothingIsLeft(gateway)
  const { raw, stream } = await STREAMS.dot(gateway)
  stream.write(QUERY)
  await once(stream, 'data')
  stream.write(QUERY.subarray(0, QUERY.length - 1), () => raw.destroy())
  const after = await untilNothingIsLeft(gateway)
  const asked = 'atlas_queries_total{transport="dot"}'
  assert.deepEqual([after.value(asked) - before.value(asked), dropsBetween(before, after)], [1, {}])
})

test('a connection that the gateway ends tells so by TLS before it does by TCP (conformance DOT-09)', async () => {
  const { gateway } = stand
  const { raw, stream } = await STREAMS.dot(gateway)
  stream.write(QUERY)
  await once(stream, 'data')
  const before = raw.bytesRead
  // its idle time is over
  await once(stream.resume(), 'end')
  assert.equal(raw.bytesRead - before, CLOSE_NOTIFY_LENGTH)
  stream.destroy()
})

for (const [name, open] of Object.entries(STREAMS)) {
  test(`a client that sends nothing over ${name} is closed when its time is over (conformance T05)`, async () => {
    const { gateway } = stand
    const before = await untilNothingIsLeft(gateway)
    const { stream } = await open(gateway)
    assert.equal((await all(stream)).length, 0)
    assert.deepEqual(dropsBetween(before, await untilNothingIsLeft(gateway)), { query_timeout: 1 })
  })
}
