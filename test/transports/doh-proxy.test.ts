import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import test, { after, before, describe } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { DOH_TCP_CLIENTS, type DohRequest, doh1, doh2, openHttp2 } from '../harness/clients.ts'
import { runGateway, type TestGateway } from '../harness/gateway.ts'
import { aRecord, question, response } from '../harness/messages.ts'
import { doh3 } from '../harness/quic.ts'
import { dnsServer } from '../harness/servers.ts'

const QUESTION = question({ name: 'www.example.com' })
const DNS = `/dns-query?dns=${QUESTION.toString('base64url')}`
/** RFC 6455 §1.3. */
const WEBSOCKET = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

let gateway: TestGateway
let upstream: Awaited<ReturnType<typeof dnsServer>>
/** "/late" has been asked for twice; it is answered. */
const [bothAsked, late] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
let asked = 0
/** What a client says behind the end of "/leaves". */
const farewell = Promise.withResolvers<string>()
/** The last request that the origin received. */
let seen: IncomingMessage
const origin = createServer(async (request, reply) => {
  seen = request
  if (request.url === '/late') {
    if (++asked === 2) bothAsked.resolve()
    await late.promise
  }
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  reply.setHeader('set-cookie', ['a=1', 'b=2'])
  reply.setHeader('alt-svc', 'h3=":443"')
  reply.end(`${request.method} ${request.url} ${Buffer.concat(chunks).toString()}`)
})

before(async () => {
  upstream = await dnsServer((query, reply) => reply(response(query, { answers: [aRecord()] })))
  origin.on('upgrade', (request, socket) => {
    seen = request
    const accept = createHash('sha1').update(`${request.headers['sec-websocket-key']}${WEBSOCKET}`).digest('base64')
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: ${accept}\r\n\r\n`)
    if (request.url === '/leaves') {
      socket.end('bye')
      socket.on('data', (chunk: Buffer) => farewell.resolve(chunk.toString()))
      return
    }
    socket.on('data', (chunk: Buffer) => socket.write(`echo ${chunk.toString()}`))
    socket.on('end', () => socket.end())
  })
  origin.listen(0, '127.0.0.1')
  await once(origin, 'listening')
  const { port } = origin.address() as AddressInfo
  const doh = { paths: ['/dns-query'], http3: true, json: true, landing: true, proxy: `http://127.0.0.1:${port}`, trustedProxies: [] }
  gateway = await runGateway([upstream.endpoint], { doh })
})
after(async () => {
  await gateway[Symbol.asyncDispose]()
  await upstream[Symbol.asyncDispose]()
  origin.closeAllConnections()
  origin.close()
})

for (const [name, client] of DOH_TCP_CLIENTS) {
  describe(`pages over ${name}`, () => {
    const ask = (request: DohRequest) => client(gateway, request)

    test('every path but that of DNS is the origin’s', async () => {
      const page = await ask({ path: '/?q=%20' })
      assert.deepEqual([page.status, page.body.toString()], [200, 'GET /?q=%20 '])
      assert.deepEqual(page.headers['set-cookie'], ['a=1', 'b=2'])
      // RFC 7838: on HTTP/3 there would be no pages
      assert.equal(page.headers['alt-svc'], undefined)
      const dns = await ask({ path: DNS })
      assert.deepEqual([dns.status, dns.headers['content-type'], dns.headers['alt-svc']], [200, 'application/dns-message', undefined])
    })

    test('the origin is told who asks, and how', async () => {
      await ask({
        path: '/',
        headers: { 'x-forwarded-for': '203.0.113.9', forwarded: 'for=203.0.113.9', connection: 'x-secret', 'x-secret': '1' },
      }).catch(() => ask({ path: '/', headers: { 'x-forwarded-for': '203.0.113.9', forwarded: 'for=203.0.113.9' } }))
      assert.equal(seen.headers['x-forwarded-for'], '127.0.0.1')
      assert.equal(seen.headers['x-forwarded-proto'], 'https')
      assert.match(seen.headers.forwarded ?? '', /^for="?127\.0\.0\.1"?;host=.*proto=https/)
      assert.equal(seen.headers['x-secret'], undefined)
    })

    test('content goes both ways', async () => {
      const body = Buffer.alloc(200_000, 'x')
      const { status, body: answer } = await ask({ method: 'PUT', path: '/upload', headers: { 'content-type': 'text/plain' }, body })
      assert.deepEqual([status, answer.toString()], [200, `PUT /upload ${body.toString()}`])
    })

    test('a foreign authority is 421', async () => {
      const authority = name === 'HTTP/2' ? ':authority' : 'host'
      assert.equal((await ask({ path: '/', headers: { [authority]: 'evil.example' } })).status, 421)
    })
  })
}

test('HTTP/3 has no pages', async () => {
  assert.equal((await doh3(gateway, { path: '/' })).status, 404)
  assert.equal((await doh3(gateway, { path: DNS })).status, 200)
})

test('WebSocket over HTTP/1.1 (RFC 6455 §4)', async () => {
  const socket = connectTls({
    host: gateway.doh.host,
    port: gateway.doh.port,
    servername: 'localhost',
    ca: gateway.ca,
    ALPNProtocols: ['http/1.1'],
  })
  const key = Buffer.alloc(16, 7).toString('base64')
  socket.write(
    `GET /chat HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: ${key}\r\n\r\n`,
  )
  const [head] = (await once(socket, 'data')) as [Buffer]
  assert.match(head.toString(), /^HTTP\/1\.1 101 /)
  assert.match(
    head.toString(),
    new RegExp(
      `sec-websocket-accept: ${createHash('sha1')
        .update(key + WEBSOCKET)
        .digest('base64')
        .replaceAll('+', '\\+')}`,
      'i',
    ),
  )
  socket.write('hello')
  assert.equal(String((await once(socket, 'data'))[0]), 'echo hello')
  socket.destroy()
})

test('an upgrade to anything else stays with HTTP/1.1, and one on the path of DNS is none', async () => {
  const asked = await doh1(gateway, { path: DNS, headers: { connection: 'upgrade', upgrade: 'h2c' } })
  assert.equal(asked.status, 200)
  assert.equal((await doh1(gateway, { path: DNS, headers: { connection: 'upgrade', upgrade: 'websocket' } })).status, 400)
})

test('WebSocket over HTTP/2 (RFC 8441)', async () => {
  const session = openHttp2(gateway)
  await once(session, 'remoteSettings')
  assert.equal(session.remoteSettings.enableConnectProtocol, true)
  const stream = session.request({ ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/chat', 'sec-websocket-version': '13' })
  const [headers] = (await once(stream, 'response')) as [Record<string, unknown>]
  assert.equal(headers[':status'], 200)
  assert.equal(seen.headers.upgrade, 'websocket')
  stream.write('hello')
  assert.equal(String((await once(stream, 'data'))[0]), 'echo hello')
  stream.end()
  await once(stream, 'close')
  session.destroy()
})

test('a WebSocket over HTTP/2 whose origin ends first takes the client’s last words along', async () => {
  const session = openHttp2(gateway)
  await once(session, 'remoteSettings')
  const stream = session.request({ ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/leaves', 'sec-websocket-version': '13' })
  const chunks: Buffer[] = []
  stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  await once(stream, 'end')
  assert.equal(Buffer.concat(chunks).toString(), 'bye')
  const closed = once(stream, 'close')
  stream.end('close frame')
  assert.equal(await farewell.promise, 'close frame')
  await closed
  assert.equal(stream.rstCode, 0)
  session.destroy()
})

test('the proxy comes and goes with a reload', async () => {
  const doh = { paths: ['/dns-query'], http3: true, json: true, landing: true, proxy: null, trustedProxies: [] }
  assert.equal((await gateway.reload({ doh })).outcome, 'applied')
  const page = await doh2(gateway, { path: '/' })
  assert.match(page.body.toString(), /Encrypted DNS/)
})

test('who drains brings the pages that were asked for', async () => {
  const { port } = origin.address() as AddressInfo
  const doh = { paths: ['/dns-query'], http3: true, json: true, landing: true, proxy: `http://127.0.0.1:${port}`, trustedProxies: [] }
  await using leaving = await runGateway([upstream.endpoint], { doh })
  const pages = DOH_TCP_CLIENTS.map(([, client]) => client(leaving, { path: '/late' }))
  await bothAsked.promise
  const drained = leaving.gateway.drain()
  // longer than what is given to the last octets of answers
  setTimeout(late.resolve, 800)
  for (const page of pages) assert.equal((await page).body.toString(), 'GET /late ')
  await drained
})
