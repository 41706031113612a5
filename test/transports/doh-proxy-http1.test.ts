import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import test, { after, before, describe } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { LIMITS, runGateway, type TestGateway } from '../harness/gateway.ts'
import { aRecord, question, response } from '../harness/messages.ts'
import { dnsServer } from '../harness/servers.ts'

const QUERY = question({ name: 'www.example.com' }).toString('base64url')
const HOST = 'host: 127.0.0.1\r\n'
const LAST = `${HOST}connection: close\r\n`

let gateway: TestGateway
let upstream: Awaited<ReturnType<typeof dnsServer>>
/** What the origin was asked, and those that wait for the test. */
let asked: string[] = []
const held: { request: IncomingMessage; reply: ServerResponse }[] = []
const origin = createServer((request, reply) => {
  asked.push(`${request.method} ${request.url}`)
  if (request.url?.startsWith('/held')) held.push({ request, reply })
  else if (request.url === '/latin1') reply.setHeader('location', '/é').end()
  else {
    request.resume()
    reply.end('page')
  }
})
origin.on('upgrade', ({ url }, socket) => {
  asked.push('upgrade')
  socket.end(`HTTP/1.1 403 Forbidden\r\n${url === '/open' ? '' : 'content-length: 2\r\n'}\r\nno`)
})

async function start(): Promise<TestGateway> {
  const { port } = origin.address() as AddressInfo
  const doh = { paths: ['/dns-query'], http3: false, json: true, landing: true, proxy: `http://127.0.0.1:${port}`, trustedProxies: [] }
  const endpoint = { host: '127.0.0.1', port: 0 }
  const place = { endpoint, access: null, proxyProtocol: null, clientCa: null, cleartext: true, byDefault: false }
  const listen = { dns: [], dot: [], doq: [], doh: [place], admin: { endpoint, tokenFile: null, hosts: [] } }
  return runGateway([upstream.endpoint], { doh, listen, limits: LIMITS })
}

before(async () => {
  upstream = await dnsServer((query, reply) => reply(response(query, { answers: [aRecord()] })))
  origin.listen(0, '127.0.0.1')
  await once(origin, 'listening')
  gateway = await start()
})
after(async () => {
  await gateway[Symbol.asyncDispose]()
  await upstream[Symbol.asyncDispose]()
  origin.closeAllConnections()
  origin.close()
})

/** All that comes back until the connection ends. */
async function raw(text: string, of = gateway): Promise<string> {
  const socket = connect(of.doh.port, of.doh.host)
  socket.write(text, 'latin1')
  return Buffer.concat(await socket.toArray()).toString('latin1')
}
const statuses = (text: string) => [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map((match) => Number(match[1]))

async function take(): Promise<(typeof held)[number]> {
  for (;;) {
    const next = held.shift()
    if (next !== undefined) return next
    await turn()
  }
}

describe('HTTP/1.1 with pages', () => {
  test('answers content that cannot be read at once, and lets go of the origin', async () => {
    for (const [framing, content, status] of [
      ['transfer-encoding: chunked', '5\r\nhello\r\nzz\r\n', 400],
      ['transfer-encoding: gzip, chunked', '0\r\n\r\n', 501],
    ] as const) {
      asked = []
      assert.deepEqual(statuses(await raw(`POST /held HTTP/1.1\r\n${HOST}${framing}\r\n\r\n${content}`)), [status])
      if (asked.length > 0) {
        const { request } = await take()
        if (!request.destroyed) await once(request, 'close')
      }
    }
  })

  test('passes octets above 0x7f on as they are', async () => {
    assert.match(await raw(`GET /latin1 HTTP/1.1\r\n${LAST}\r\n`), /\r\nlocation: \/é\r\n/)
  })

  test('knows that an empty path is "/", and "*" for OPTIONS', async () => {
    asked = []
    assert.deepEqual(statuses(await raw(`GET http://127.0.0.1 HTTP/1.1\r\n${LAST}\r\n`)), [200])
    assert.deepEqual(statuses(await raw(`GET http://127.0.0.1?a=b HTTP/1.1\r\n${LAST}\r\n`)), [200])
    assert.deepEqual(statuses(await raw(`OPTIONS http://127.0.0.1 HTTP/1.1\r\n${LAST}\r\n`)), [204])
    assert.deepEqual(asked, ['GET /', 'GET /?a=b'])
  })

  test('lets only safe requests overtake each other: what follows is asked on another connection', async () => {
    for (const [first, second] of [
      ['DELETE /held', 'GET /after'],
      ['GET /held', 'DELETE /after'],
    ] as const) {
      asked = []
      const answered = raw(`${first} HTTP/1.1\r\n${HOST}\r\n${second} HTTP/1.1\r\n${HOST}\r\n`)
      const { reply } = await take()
      reply.end('page')
      assert.deepEqual(statuses(await answered), [200])
      assert.deepEqual(asked, [first])
    }
    asked = []
    assert.deepEqual(statuses(await raw(`GET /one HTTP/1.1\r\n${HOST}\r\nGET /two HTTP/1.1\r\n${LAST}\r\n`)), [200, 200])
    assert.deepEqual(asked.toSorted(), ['GET /one', 'GET /two'])
  })
})

describe('an upgrade', () => {
  const upgrade =
    'connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n'

  test('on the path of DNS is 400, also by POST, and nothing is waited for', async () => {
    await using own = await start()
    for (const line of [`GET /dns-query?dns=${QUERY}`, 'POST /dns-query']) {
      const type = 'content-type: application/dns-message\r\n'
      assert.deepEqual(statuses(await raw(`${line} HTTP/1.1\r\n${HOST}${type}${upgrade}\r\n`, own)), [400], line)
    }
    const before = performance.now()
    await own.gateway.drain()
    assert.ok(performance.now() - before < 3000, 'nothing is open')
  })

  test('is none behind a request that is not answered, nor in HTTP/1.0; the connection ends with it', async () => {
    asked = []
    const declined = `GET /two HTTP/1.1\r\n${HOST}${upgrade}\r\n`
    assert.deepEqual(statuses(await raw(`GET /one HTTP/1.1\r\n${HOST}\r\n${declined}`)), [200, 200])
    assert.deepEqual(statuses(await raw(`GET /four HTTP/1.0\r\n${HOST}${upgrade}\r\n`)), [200])
    assert.equal(asked.includes('upgrade'), false)
  })

  test('that the origin refuses is answered with its page', async () => {
    assert.match(await raw(`GET /chat HTTP/1.1\r\n${HOST}${upgrade}\r\n`), /^HTTP\/1\.1 403 [\s\S]*\r\ncontent-length: 2\r\n[\s\S]*no$/)
    assert.match(
      await raw(`GET /open HTTP/1.1\r\n${HOST}${upgrade}\r\n`),
      /\r\ntransfer-encoding: chunked\r\n[\s\S]*\r\n\r\n2\r\nno\r\n0\r\n\r\n$/,
    )
  })
})

test('HTTP/1.0 hears no 100, and its connection ends behind content whose end is not sure', async () => {
  const content = 'content-type: text/plain\r\ncontent-length: 2\r\nexpect: 100-continue\r\nconnection: keep-alive\r\n'
  assert.deepEqual(statuses(await raw(`POST /one HTTP/1.0\r\n${HOST}${content.replace('keep-alive', 'close')}\r\nab`)), [200])
  // without our end of the connection this would wait for the client's
  assert.deepEqual(
    statuses(await raw(`POST /two HTTP/1.0\r\n${HOST}connection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`)),
    [200],
  )
})

test('who drains says so in what is still due', async () => {
  await using leaving = await start()
  const answered = raw(`GET /held HTTP/1.1\r\n${HOST}\r\n`, leaving)
  const { reply } = await take()
  const drained = leaving.gateway.drain()
  reply.end('page')
  assert.match(await answered, /\r\nconnection: close\r\n[\s\S]*page/i)
  await drained
})
