import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import dns from 'node:dns/promises'
import { once } from 'node:events'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, before, describe, type TestContext } from 'node:test'
import { RefusedError } from '../../gateway/client/exchange.ts'
import { doqCodeText, handshakeError, http3CodeText } from '../../gateway/client/quic-codes.ts'
import { encodeMessage } from '../../net/http3/message-writer.ts'
import { CONTROL_PREAMBLE, goaway } from '../../net/http3/own-control.ts'
import { FIRST_SERVER_UNIDIRECTIONAL, type QuicConnection } from '../../net/quic.ts'
import { runGateway, type TestGateway } from '../harness/gateway.ts'
import { aRecord, hex, response } from '../harness/messages.ts'
import { engine } from '../harness/quic.ts'
import { dnsServer } from '../harness/servers.ts'
import { assertFails, query } from './query-command.ts'
import { framed, type Identity, selfSigned } from './query-servers.ts'

let folder: string
let identity: Identity
let upstream: Awaited<ReturnType<typeof dnsServer>>
let gateway: TestGateway
/** The gateway's CA, and one of somebody else. */
let ca: string
let otherCa: string
/** Servers as the command names them. */
let quic: string
let h3: string

const answer = (message: Buffer) => response(message, { answers: [aRecord()] })

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'atlas-test-query-'))
  identity = await selfSigned()
  upstream = await dnsServer((message, reply) => reply(answer(message)))
  gateway = await runGateway([upstream.endpoint])
  ca = join(folder, 'ca.pem')
  otherCa = join(folder, 'other.pem')
  await writeFile(ca, gateway.ca)
  await writeFile(otherCa, identity.cert)
  quic = `@quic://localhost:${gateway.doq.port}`
  h3 = `@h3://localhost:${gateway.doh.port}`
})

after(async () => {
  await gateway[Symbol.asyncDispose]()
  await upstream[Symbol.asyncDispose]()
  await rm(folder, { recursive: true })
})

describe('query over QUIC', () => {
  test('shows the answer, and how it came', async () => {
    const text = await query(quic, 'example.com', '--ca', ca)
    assert.match(text, /^;; ->>HEADER<<- opcode: QUERY; status: NOERROR; id: 0\n/)
    assert.match(text, /\nexample\.com\. {8}\t300\tIN\tA\t192\.0\.2\.1\n\n;; QUIC session \(TLS1\.3\)\n/)
    assert.match(text, /;; ALPN: doq; handshake: \d+\.\d ms; certificate: verified for localhost\n;; Received 468 B\n/)
    assert.match(text, /;; From quic:\/\/localhost:\d+ in \d+\.\d ms\n$/)
  })

  test('puts what is known in an object of its own with --json', async () => {
    const { transport } = JSON.parse(await query(quic, 'example.com', '--ca', ca, '--json'))
    assert.deepEqual(Object.keys(transport), ['protocol', 'server', 'milliseconds', 'handshakeMilliseconds', 'tls'])
    assert.deepEqual(transport.tls, { version: 'TLSv1.3', alpn: 'doq', verifiedName: 'localhost' })
  })

  test('verifies the certificate, by name only', async () => {
    await assertFails([quic, '--ca', otherCa], /: the issuer of the certificate is unknown \(TLS alert unknown_ca\); use --ca <file>/)
    await assertFails([quic], /\(TLS alert unknown_ca\)/)
    const otherName = ['--ca', ca, '--server-name', 'dns.example']
    await assertFails([quic, ...otherName], /not for dns\.example, or not valid \(TLS alert bad_certificate\); use --server-name <name> to/)
    const address = `@quic://127.0.0.1:${gateway.doq.port}`
    await assertFails(
      [address, '--ca', ca],
      /: the QUIC library cannot verify addresses: name the server with --server-name, or use --insecure$/,
    )
    assert.equal(await query(address, 'example.com', '--short', '--ca', ca, '--server-name', 'localhost'), '192.0.2.1\n')
    assert.match(await query(address, 'example.com', '--insecure'), /; certificate: not verified\n/)
  })

  test('says that the server speaks something else', async () => {
    const words = [`@quic://localhost:${gateway.doh.port}`, '--ca', ca]
    await assertFails(words, /: the server does not speak DNS over QUIC \(TLS alert no_application_protocol\)$/)
  })

  test('sends the id that it is told to, and names the code with which the server closes', async () => {
    await assertFails([quic, '--ca', ca, '--id', '5'], /: the server closed the connection without an answer \(DOQ_PROTOCOL_ERROR\)$/)
  })

  test('fails when nothing comes in time, and leaves nothing behind', async (t) => {
    const silent = createSocket('udp4').bind(0, '127.0.0.1')
    t.after(() => silent.close())
    await once(silent, 'listening')
    const startedAt = performance.now()
    for (const protocol of ['quic', 'h3']) {
      await assertFails(
        [`@${protocol}://localhost:${silent.address().port}`, '--ca', ca, '--timeout', '100ms'],
        /: no answer within 100 ms$/,
      )
    }
    assert.ok(performance.now() - startedAt < 2000)
    assert.deepEqual(
      (await readdir(tmpdir())).filter((name) => name.startsWith('atlas-query-quic-')),
      [],
    )
  })
})

describe('query to a host with several addresses', () => {
  const lookUp = (t: TestContext, ...addresses: string[]) => {
    t.mock.method(dns, 'lookup', async () => addresses.map((address) => ({ address, family: 4 })))
    syncBuiltinESMExports()
    t.after(() => {
      t.mock.restoreAll()
      syncBuiltinESMExports()
    })
  }

  test('goes on to the next where nobody answers', async (t) => {
    lookUp(t, '127.0.0.2', '127.0.0.1')
    assert.equal(await query(quic, 'example.com', '--ca', ca, '--short'), '192.0.2.1\n')
  })

  test('fails at once when all have', async (t) => {
    lookUp(t, '127.0.0.1', '127.0.0.1')
    await assertFails([quic, '--ca', otherCa], /: the issuer of the certificate is unknown/)
  })
})

describe('query over HTTP/3', () => {
  test('posts or gets, and shows how the answer came', async () => {
    for (const [method, ...words] of [['POST'], ['GET', '--get']]) {
      const text = await query(`${h3}/dns-query{?dns}`, 'example.com', '--ca', ca, ...words)
      assert.match(text, /; id: 0\n(?:.*\n)*example\.com\. .*\t192\.0\.2\.1\n\n;; QUIC session \(TLS1\.3\)\n;; ALPN: h3; handshake: /)
      assert.match(text, new RegExp(`\n;; HTTP session \\(HTTP/3-${method}\\)-\\(localhost:\\d+/dns-query\\)-\\(status: 200\\)\n`))
      assert.match(text, /;; From h3:\/\/localhost:\d+\/dns-query in \d+\.\d ms\n$/)
    }
  })

  test('has the default path, --short and --json', async () => {
    assert.equal(await query(h3, 'example.com', '--ca', ca, '--short'), '192.0.2.1\n')
    const { transport } = JSON.parse(await query(h3, 'example.com', '--insecure', '--json'))
    assert.deepEqual(transport.tls, { version: 'TLSv1.3', alpn: 'h3', verifiedName: null })
    assert.deepEqual(transport.http, { version: '3', method: 'POST', status: 200 })
  })

  test('fails on another path, and on another certificate', async () => {
    await assertFails([`${h3}/elsewhere`, '--ca', ca], /: HTTP status 404$/)
    await assertFails([h3], /\(TLS alert unknown_ca\)/)
    await assertFails([`@h3://127.0.0.1:${gateway.doh.port}`, '--ca', ca], /the QUIC library cannot verify addresses/)
  })
})

interface BadServer {
  readonly words: readonly string[]
  /** The code with which the command closed. */
  readonly closed: Promise<number>
}

type React = (connection: QuicConnection, stream: number, query: Buffer) => void

/** Does what it is told to as soon as a request has come with its FIN. */
async function quicServer(t: TestContext, protocol: 'doq' | 'h3', react: React): Promise<BadServer> {
  const closed = Promise.withResolvers<number>()
  const listener = await engine().listen({
    name: 'test',
    endpoint: { host: '127.0.0.1', port: 0 },
    protocol,
    identity: { chainPem: identity.cert, keyPem: identity.key },
    limits: { idleMs: 5000, streams: 10, window: 65_536 },
    connections: 10,
    acceptor: {
      arrived: (connection) => {
        let octets = Buffer.alloc(0)
        return {
          established: () => {},
          received: (stream, bytes, fin) => {
            if (stream !== 0) return
            octets = Buffer.concat([octets, bytes])
            if (fin) react(connection, stream, octets.subarray(2))
          },
          reset: () => {},
          stalled: () => {},
          closed: ({ code }) => closed.resolve(code),
        }
      },
    },
  })
  t.after(() => listener.close())
  const scheme = protocol === 'doq' ? 'quic' : 'h3'
  return { words: [`@${scheme}://127.0.0.1:${listener.endpoint.port}`, 'example.com', '--insecure'], closed: closed.promise }
}

describe('query from a server that violates RFC 9250', () => {
  const whole = (message: Buffer) => framed(answer(message))
  const keepalive = hex('00 0029 04d0 00000000 0006 000b 0002 0064')

  const violations: readonly (readonly [what: string, error: RegExp, octets: (message: Buffer) => Buffer])[] = [
    ['two messages', /more than one message came on the stream$/, (message) => Buffer.concat([whole(message), whole(message)])],
    ['octets behind the message', /more than one message came/, (message) => Buffer.concat([whole(message), Buffer.of(0)])],
    ['half a message', /: the stream ended before a whole answer had come$/, (message) => whole(message).subarray(0, 20)],
    ['nothing', /: the stream ended before a whole answer/, () => Buffer.alloc(0)],
    ['another id', /: the answer has another id: 7 instead of 0$/, (message) => whole(message).fill(7, 3, 4)],
    ['another question', /: the answer is to another question$/, (message) => whole(message).fill('x', 15, 16)],
    ['edns-tcp-keepalive', /the option edns-tcp-keepalive$/, (message) => framed(response(message, { additionals: [keepalive] }))],
  ]
  for (const [what, error, octets] of violations) {
    test(`says so: ${what}`, async (t) => {
      const { words, closed } = await quicServer(t, 'doq', (connection, stream, message) => connection.send(stream, octets(message), true))
      await assertFails([...words], error)
      assert.equal(await closed, 2)
    })
  }

  test('says so: no FIN', async (t) => {
    const { words, closed } = await quicServer(t, 'doq', (connection, stream, message) => connection.send(stream, whole(message), false))
    await assertFails([...words, '--timeout', '1200ms'], /: the answer came, but in time no FIN behind it$/)
    assert.equal(await closed, 2)
  })

  test('says so: a stream of the server', async (t) => {
    const { words, closed } = await quicServer(t, 'doq', (connection) => connection.send(FIRST_SERVER_UNIDIRECTIONAL, Buffer.of(0), false))
    await assertFails([...words], /: the server opened a stream$/)
    assert.equal(await closed, 2)
  })

  test('names the code of a close, and tells a reset', async (t) => {
    const closing = await quicServer(t, 'doq', (connection) => connection.close(4))
    await assertFails([...closing.words], /: the server closed the connection without an answer \(DOQ_EXCESSIVE_LOAD\)$/)
    const resetting = await quicServer(t, 'doq', (connection, stream) => connection.reset(stream, 5))
    await assertFails([...resetting.words], /: the server reset the stream \(DOQ_UNSPECIFIED_ERROR\)$/)
    assert.equal(await resetting.closed, 0)
  })

  test('puts an answer together that comes in pieces, with the FIN alone', async (t) => {
    const { words, closed } = await quicServer(t, 'doq', async (connection, stream, message) => {
      for (const octet of whole(message)) {
        connection.send(stream, Buffer.of(octet), false)
        await new Promise(setImmediate)
      }
      connection.send(stream, Buffer.alloc(0), true)
    })
    assert.equal(await query(...words, '--short'), '192.0.2.1\n')
    assert.equal(await closed, 0)
  })
})

describe('query from a server that violates HTTP/3', () => {
  const headers = (status: string, type: string) =>
    encodeMessage(
      [
        [':status', status],
        ['content-type', type],
      ],
      Buffer.alloc(0),
    )
  const send =
    (octets: Uint8Array): React =>
    (connection, stream) =>
      connection.send(stream, octets, true)
  const onControl =
    (...octets: Uint8Array[]): React =>
    (connection) =>
      connection.send(FIRST_SERVER_UNIDIRECTIONAL, Buffer.concat(octets), false)

  const violations: readonly (readonly [what: string, react: React, error: RegExp, code: number])[] = [
    ['content without headers', send(hex('00 01 00')), /: the server violates HTTP\/3 \(H3_FRAME_UNEXPECTED\)$/, 0x105],
    ['no settings', onControl(hex('00 07 01 00')), /: the server violates HTTP\/3 \(H3_MISSING_SETTINGS\)$/, 0x10a],
    ['headers that are none', send(hex('01 02 ff ff')), /violates HTTP\/3 \(QPACK_DECOMPRESSION_FAILED\)$/, 0x200],
    ['no content', send(headers('200', 'application/dns-message')), /: 0 octets are no DNS message$/, 0x100],
    [
      'another content type',
      send(headers('200', 'text/html')),
      /the content type is not application\/dns-message: received text\/html$/,
      0x100,
    ],
    ['a redirection', send(headers('302', 'text/html')), /: HTTP status 302$/, 0x100],
    ['a malformed status', send(headers('2000', 'text/html')), /violates HTTP\/3 \(H3_MESSAGE_ERROR\)$/, 0x100],
    ['GOAWAY', onControl(CONTROL_PREAMBLE, goaway(0)), /: the server takes no more requests \(GOAWAY\)$/, 0x100],
    ['a reset', (connection, stream) => connection.reset(stream, 0x10b), /: the server reset the stream \(H3_REQUEST_REJECTED\)$/, 0x100],
  ]
  for (const [what, react, error, code] of violations) {
    test(`says so: ${what}`, async (t) => {
      const { words, closed } = await quicServer(t, 'h3', react)
      await assertFails([...words], error)
      assert.equal(await closed, code)
    })
  }

  test('names the code of a close', async (t) => {
    const { words } = await quicServer(t, 'h3', (connection) => connection.close(0x102))
    await assertFails([...words], /: the server closed the connection without an answer \(H3_INTERNAL_ERROR\)$/)
  })

  test('says how far the response came when time is up', async (t) => {
    const { words } = await quicServer(t, 'h3', (connection, stream) =>
      connection.send(stream, headers('200', 'application/dns-message'), false),
    )
    await assertFails(
      [...words, '--timeout', '300ms'],
      /: the content of the response \(HTTP status 200\) did not come to its end in time$/,
    )
  })
})

describe('codes', () => {
  test('have names where the RFCs give one', () => {
    assert.deepEqual([0, 5, 0xd098ea5e, 0x77].map(doqCodeText), ['DOQ_NO_ERROR', 'DOQ_UNSPECIFIED_ERROR', 'DOQ_ERROR_RESERVED', '0x77'])
    assert.deepEqual([0x100, 0x201, 0x174].map(http3CodeText), [
      'H3_NO_ERROR',
      'QPACK_ENCODER_STREAM_ERROR',
      'TLS alert certificate_required',
    ])
  })

  test('of a handshake tell what was wrong', () => {
    const failed = (code: number, text = '') => handshakeError({ code, text }, { serverName: 'dns.example', protocolName: 'HTTP/3' })
    const told = (code: number, text = '') => failed(code, text).message
    assert.equal(told(0x12d), 'the certificate has expired (TLS alert certificate_expired)')
    assert.equal(told(0x128), 'the handshake failed (TLS alert handshake_failure)')
    assert.equal(told(0x1ff), 'the handshake failed (TLS alert 255)')
    assert.equal(told(2, 'busy'), 'the server refused the connection (CONNECTION_REFUSED: busy)')
    assert.deepEqual(
      [2, 1].map((code) => failed(code) instanceof RefusedError),
      [true, false],
    )
  })
})
