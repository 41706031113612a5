import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, before, describe } from 'node:test'
import { aRecord, hex, record, response } from '../harness/messages.ts'
import { assertFails, query } from './query-command.ts'
import { framed, http1Server, http2Server, type Identity, selfSigned, tcpServer, tlsServer, udpServer } from './query-servers.ts'

let folder: string
let identity: Identity
/** The identity's own certificate, and one of somebody else. */
let ca: string
let otherCa: string

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'atlas-test-query-'))
  identity = await selfSigned()
  ca = join(folder, 'ca.pem')
  otherCa = join(folder, 'other.pem')
  await writeFile(ca, identity.cert)
  await writeFile(otherCa, (await selfSigned()).cert)
})

after(() => rm(folder, { recursive: true }))

const answer = (message: Buffer) => response(message, { answers: [aRecord()] })
const withFlags = (message: Buffer, flags: number) => response(message, { flags })
const withId = (message: Buffer, id: number) => Buffer.concat([Buffer.of(id >> 8, id & 0xff), message.subarray(2)])

const strangers = (message: Buffer) => [
  message,
  withId(answer(message), 1 ^ message.readUInt16BE(0)),
  answer(message).fill('x', 13, 14),
  hex('00'),
]

describe('query over UDP', () => {
  test('shows the answer and where it came from', async (t) => {
    const port = await udpServer(t, (message) => [answer(message)])
    const text = await query(`@udp://127.0.0.1:${port}`, 'example.com', '--id', '258')
    assert.match(text, /^;; ->>HEADER<<- opcode: QUERY; status: NOERROR; id: 258\n/)
    assert.match(text, /\nexample\.com\. {8}\t300\tIN\tA\t192\.0\.2\.1\n\n;; Received 45 B\n/)
    assert.match(text, /\n;; Time \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\n;; From udp:\/\/127\.0\.0\.1:\d+ in \d+\.\d ms\n$/)
  })

  test('takes a host without a protocol, by name too', async (t) => {
    const port = await udpServer(t, (message) => [answer(message)])
    for (const host of ['127.0.0.1', 'localhost']) assert.equal(await query(`@${host}:${port}`, 'example.com', '--short'), '192.0.2.1\n')
  })

  test('ignores what does not answer the query', async (t) => {
    const port = await udpServer(t, (message) => [...strangers(message), answer(message)])
    assert.equal(await query(`@127.0.0.1:${port}`, 'example.com', '--short'), '192.0.2.1\n')
  })

  test('asks again over TCP when the answer is truncated', async (t) => {
    const port = await tcpServer(t, (message) => [framed(answer(message))])
    await udpServer(t, (message) => [withFlags(message, 0x8380)], port)
    const text = await query(`@127.0.0.1:${port}`, 'example.com')
    assert.match(text, /192\.0\.2\.1\n\n;; Truncated over UDP, asked again over TCP\n;; Received 45 B\n/)
    assert.match(text, /;; From tcp:/)
    assert.match(await query(`@127.0.0.1:${port}`, 'example.com', '--ignore-tc'), /;; Flags: qr tc rd ra; .*ANSWER: 0;/)
  })

  test('counts an answer with any RCODE as one, also without the question', async (t) => {
    const port = await udpServer(t, (message) => [Buffer.concat([message.subarray(0, 2), hex('8001 0000 0000 0000 0000')])])
    assert.match(await query(`@127.0.0.1:${port}`), /status: FORMERR/)
  })

  test('fails when nothing comes in time', async (t) => {
    const port = await udpServer(t, () => [])
    await assertFails([`@127.0.0.1:${port}`, '--timeout', '20ms'], /^Cannot query udp:\/\/127\.0\.0\.1:\d+: no answer within 20 ms$/)
  })

  test('fails at once when nobody listens', async (t) => {
    const port = await tcpServer(t, () => [])
    await assertFails([`@127.0.0.1:${port}`], /: recvmsg ECONNREFUSED$/)
  })

  test('shows a malformed answer as far as it can be read, and fails', async (t) => {
    const port = await udpServer(t, (message) => [answer(message).subarray(0, -1)])
    await assertFails([`@127.0.0.1:${port}`, 'example.com'], /: the answer is malformed: cannot be read from octet 29 on$/)
  })
})

describe('query over TCP', () => {
  test('puts an answer together that comes in pieces', async (t) => {
    const port = await tcpServer(t, (message) => Array.from(framed(answer(message)), (octet) => Buffer.of(octet)))
    assert.equal(await query(`@tcp://127.0.0.1:${port}`, 'example.com', '--short'), '192.0.2.1\n')
  })

  test('fails at once when nobody listens, on whatever address of the host', async (t) => {
    const port = await udpServer(t, () => [])
    await assertFails([`@tcp://localhost:${port}`], /: connect ECONNREFUSED /)
  })

  test('fails when the server answers something else, or nothing', async (t) => {
    const other = await tcpServer(t, (message) => [framed(withId(answer(message), 1))])
    await assertFails([`@tcp://127.0.0.1:${other}`, '--id', '2'], /: the answer has another id: 1 instead of 2$/)
    const none = await tcpServer(t, () => [])
    await assertFails([`@tcp://127.0.0.1:${none}`], /: the server closed the connection without an answer$/)
  })
})

describe('query over TLS', () => {
  test('verifies the certificate, names the protocol and pads', async (t) => {
    const seen: unknown[] = []
    const port = await tlsServer(t, identity, (message, socket) => {
      seen.push(socket.alpnProtocol, socket.servername, message.length)
      return [framed(answer(message))]
    })
    assert.match(await query(`@tls://localhost:${port}`, 'example.com', '--ca', ca), /;; From tls:\/\/localhost:/)
    await query(`@tls://127.0.0.1:${port}`, 'example.com', '--ca', ca, '--no-padding')
    await query(`@tls://127.0.0.1:${port}`, '--ca', ca, '--server-name', 'localhost')
    assert.deepEqual(seen, ['dot', 'localhost', 128, 'dot', false, 40, 'dot', 'localhost', 128])
  })

  test('shows what was agreed on', async (t) => {
    const port = await tlsServer(t, identity, (message) => [framed(answer(message))])
    const text = await query(`@tls://localhost:${port}`, 'example.com', '--ca', ca)
    assert.match(text, /\n\n;; TLS session \(TLS1\.3\)-\([A-Z0-9]+\)-\(TLS_[A-Z0-9_]+\)\n/i)
    assert.match(text, /\n;; ALPN: dot; resumed: no; handshake: \d+\.\d ms; certificate: verified for localhost\n;; Received /)
    const { transport } = JSON.parse(await query(`@tls://127.0.0.1:${port}`, 'example.com', '--insecure', '--json'))
    assert.deepEqual(Object.keys(transport.tls), ['version', 'group', 'cipher', 'alpn', 'resumed', 'verifiedName'])
    assert.deepEqual([transport.tls.version, transport.tls.resumed, transport.tls.verifiedName], ['TLSv1.3', false, null])
  })

  test('says how to trust an unknown CA', async (t) => {
    const port = await tlsServer(t, identity, () => assert.fail('a query left before the certificate was checked'))
    for (const words of [[], ['--ca', otherCa]]) {
      await assertFails([`@tls://127.0.0.1:${port}`, ...words], /: self-signed certificate; use --ca <file> to trust its CA$/)
    }
  })

  test('says how to expect another name', async (t) => {
    const port = await tlsServer(t, identity, (message) => [framed(answer(message))])
    const words = [`@tls://127.0.0.1:${port}`, 'example.com', '--server-name', 'dns.example']
    await assertFails([...words, '--ca', ca], /dns\.example.*; use --server-name <name> to expect another name$/)
    assert.equal(await query(...words, '--insecure', '--short'), '192.0.2.1\n')
  })

  test('fails when the CA file cannot be used', async () => {
    await assertFails(['@tls://127.0.0.1:1', '--ca', join(folder, 'none.pem')], /^Cannot query tls:.*ENOENT/)
    await writeFile(join(folder, 'empty.pem'), 'nothing')
    await assertFails(['@tls://127.0.0.1:1', '--ca', join(folder, 'empty.pem')], /: --ca: no PEM certificate in .*empty\.pem$/)
  })
})

const ask = (port: number, ...words: string[]) => query(`@https://localhost:${port}/dns-query`, 'example.com', '--ca', ca, ...words)

describe('query over HTTPS', () => {
  test('posts a padded query with id 0 over HTTP/2', async (t) => {
    const seen: unknown[] = []
    const port = await http2Server(t, identity, ({ httpVersion, method, url, headers }, content) => {
      seen.push(httpVersion, method, url, headers['content-type'], headers.accept, content.length, content.readUInt16BE(0))
      return { body: answer(content) }
    })
    assert.match(
      await ask(port),
      /id: 0\n(?:.*\n)*;; ALPN: h2; .*\n;; HTTP session \(HTTP\/2-POST\)-.*\n(?:.*\n)*;; From https:\/\/localhost:\d+\/dns-query in /,
    )
    assert.deepEqual(seen, ['2.0', 'POST', '/dns-query', 'application/dns-message', 'application/dns-message', 128, 0])
  })

  test('gets with --get, whatever else the URL has', async (t) => {
    const seen: string[] = []
    const port = await http2Server(t, identity, ({ method = '', url = '' }) => {
      seen.push(method, url.replace(/dns=.*/, ''))
      return { body: answer(Buffer.from(/dns=([\w-]+)$/.exec(url)?.[1] ?? '', 'base64url')) }
    })
    assert.equal(await query(`@https://127.0.0.1:${port}/q?k=v`, 'example.com', '--ca', ca, '--get', '--short'), '192.0.2.1\n')
    assert.deepEqual(seen, ['GET', '/q?k=v&'])
  })

  test('takes HTTP/1.1 where there is no HTTP/2', async (t) => {
    const port = await http1Server(t, identity, ({ httpVersion }, content) => ({
      body: httpVersion === '1.1' ? answer(content) : Buffer.of(),
    }))
    const text = await ask(port)
    assert.match(text, /\t192\.0\.2\.1\n/)
    assert.match(text, /;; HTTP session \(HTTP\/1\.1-POST\)-\(localhost:\d+\/dns-query\)-\(status: 200\)\n/)
  })

  test('fails when the answer is no DNS message', async (t) => {
    const cases = [
      [{ status: 404, body: Buffer.of() }, /: HTTP status 404$/],
      [{ status: 301, body: Buffer.of() }, /: HTTP status 301$/],
      [{ type: 'text/html', body: Buffer.from('<p>') }, /: the content type is not application\/dns-message: received text\/html$/],
      [{ body: Buffer.from('<p>') }, /: 3 octets are no DNS message$/],
      [{ body: Buffer.alloc(65_536) }, /: the answer is longer than a DNS message can be: over 65535 octets$/],
      [{ body: Buffer.alloc(12) }, /: the message is no answer but a query$/],
    ] as const
    for (const [reply, message] of cases) {
      for (const serve of [http1Server, http2Server]) {
        const port = await serve(t, identity, () => reply)
        await assertFails([`@https://localhost:${port}/dns-query`, '--ca', ca], message)
      }
    }
  })

  test('keeps what the server writes from steering the terminal', async (t) => {
    const port = await http1Server(t, identity, () => ({ type: 'text/\u009b31m', body: Buffer.of() }))
    await assertFails([`@https://localhost:${port}/`, '--ca', ca], /: received text\/ 31m$/)
  })

  test('accepts parameters of the content type', async (t) => {
    const port = await http2Server(t, identity, (_, content) => ({ type: 'Application/DNS-message; x=y', body: answer(content) }))
    assert.equal(await ask(port, '--short'), '192.0.2.1\n')
  })

  test('verifies the certificate', async (t) => {
    const port = await http2Server(t, identity, () => assert.fail('a query left before the certificate was checked'))
    await assertFails([`@https://localhost:${port}/`], /: self-signed certificate; use --ca <file> to trust its CA$/)
    await assertFails([`@https://localhost:${port}/`, '--ca', ca, '--server-name', 'dns.example'], /; use --server-name <name>/)
  })

  test('fails when nothing comes in time', async (t) => {
    const port = await tcpServer(t, () => [Buffer.of(0)])
    await assertFails([`@https://127.0.0.1:${port}`, '--timeout', '20ms'], /\/dns-query: no answer within 20 ms$/)
    const silent = await http2Server(t, identity, () => null)
    await assertFails([`@https://127.0.0.1:${silent}`, '--ca', ca, '--timeout', '200ms'], /: no answer within 200 ms$/)
  })
})

describe('the form of the output', () => {
  const records = [record({ type: 5, rdata: hex('c00c') }), record({ type: 16, rdata: hex('03 1b5b41') })]

  test('--short is the data of the answer, one record a line', async (t) => {
    const port = await udpServer(t, (message) => [response(message, { answers: records, authorities: [aRecord()] })])
    assert.equal(await query(`@127.0.0.1:${port}`, 'a.example', '--short'), 'a.example.\n"\\027[A"\n')
  })

  test('--json is one object', async (t) => {
    const port = await udpServer(t, (message) => [response(message, { answers: records })])
    const message = JSON.parse(await query(`@127.0.0.1:${port}`, 'a.example', 'TXT', '--json', '--id', '7')) as Record<string, unknown>
    assert.equal(message.ID, 7)
    assert.deepEqual(Object.keys(message.transport as object), ['protocol', 'server', 'milliseconds'])
    assert.equal((message.answerRRs as Record<string, unknown>[])[1]?.rdataTXT, '"\\027[A"')
  })
})
