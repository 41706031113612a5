import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect as connectTcp } from 'node:net'
import test, { after, before, describe } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { DOH_CLIENTS, type DohRequest, doh2, openHttp2 } from '../harness/clients.ts'
import { LIMITS, prefixes, runGateway, type TestGateway } from '../harness/gateway.ts'
import { aRecord, hex, question, record, response, vector, wireName } from '../harness/messages.ts'
import { doh3 } from '../harness/quic.ts'
import { dnsServer } from '../harness/servers.ts'
import { until } from '../harness/until.ts'

const TYPE = { 'content-type': 'application/dns-message' }
const get = (message: Uint8Array) => `/dns-query?dns=${Buffer.from(message).toString('base64url')}`
const EXAMPLE = get(vector('V01'))

let gateway: TestGateway
let closed: TestGateway
let upstream: Awaited<ReturnType<typeof dnsServer>>

before(async () => {
  upstream = await dnsServer((query, reply) => {
    const numbers = Buffer.alloc(20)
    numbers.writeUInt32BE(60, 16)
    const soa = record({ owner: wireName('example'), type: 6, ttl: 3600, rdata: Buffer.concat([hex('0000'), numbers]) })
    if (query.includes('nxdomain')) reply(response(query, { flags: 0x8183, authorities: [soa] }))
    else if (query.includes('servfail')) reply(response(query, { flags: 0x8182 }))
    else if (query.includes('slow')) setTimeout(() => reply(response(query, { answers: [aRecord()] })), 200)
    else if (query.includes('never')) return
    else if (query.includes('big')) reply(response(query, { flags: 0x8380 }))
    else reply(response(query, { answers: [aRecord('192.0.2.1', { ttl: 300 }), aRecord('192.0.2.2', { ttl: 30 })] }))
  })
  const big = Array.from({ length: 40 }, () => record({ type: 16, rdata: Buffer.concat([hex('64'), Buffer.alloc(100, 97)]) }))
  upstream.tcp.handler = (query, reply) => reply(response(query, { answers: big }))
  gateway = await runGateway([upstream.endpoint])
  closed = await runGateway([upstream.endpoint], {
    access: { dns: prefixes('192.0.2.0/24'), encrypted: prefixes('192.0.2.0/24'), tokenFile: null },
  })
})
after(async () => {
  await gateway[Symbol.asyncDispose]()
  await closed[Symbol.asyncDispose]()
  await upstream[Symbol.asyncDispose]()
})

for (const [name, client] of DOH_CLIENTS) {
  describe(`DoH over ${name}`, () => {
    const ask = (request: DohRequest) => client(gateway, request)

    test('GET and POST have the same answer and the same headers', async () => {
      const byGet = await ask({ path: get(vector('V02')) })
      const byPost = await ask({ method: 'POST', headers: TYPE, body: vector('V02') })
      assert.deepEqual(byGet.body, byPost.body)
      for (const { status, headers, body } of [byGet, byPost]) {
        assert.equal(status, 200)
        assert.equal(headers['content-type'], 'application/dns-message')
        assert.equal(headers['content-length'], String(body.length))
        assert.equal(headers['cache-control'], 'max-age=30')
        assert.match(String(headers.date), /^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$/)
        for (const absent of ['age', 'set-cookie', 'vary', 'content-location', 'content-encoding']) assert.equal(headers[absent], undefined)
        // RFC 7838: where HTTP/3 is, said by the other versions
        assert.equal(headers['alt-svc'], client === doh3 ? undefined : `h3=":${gateway.doh.port}"; ma=86400`)
      }
    })

    test('HEAD is GET without the content', async () => {
      const { status, headers, body } = await ask({ method: 'HEAD', path: EXAMPLE })
      assert.equal(status, 200)
      assert.equal(headers['cache-control'], 'max-age=30')
      assert.equal(headers['content-length'], '65')
      assert.equal(body.length, 0)
    })

    test('any RCODE is 200; max-age follows the SOA record of a denial; failures are not stored', async () => {
      const freshness = async (of: string) => {
        const { status, headers } = await ask({ path: get(question({ name: of })) })
        assert.equal(status, 200)
        return headers['cache-control']
      }
      assert.equal(await freshness('nxdomain.example'), 'max-age=60')
      assert.equal(await freshness('servfail.example'), 'no-store')
      assert.equal((await ask({ path: get(vector('V24')) })).headers['cache-control'], 'no-store')
      assert.equal((await ask({ path: get(vector('V29')) })).headers['cache-control'], 'no-store')
    })

    test('an answer may have any size, whatever EDNS says', async () => {
      const { body } = await ask({ path: get(question({ name: 'big.example', type: 16, opt: '', udpSize: 512 })) })
      assert.ok(body.length > 4000)
      assert.equal(body.readUInt16BE(2) & 0x0200, 0)
    })

    for (const [what, path] of [
      ['without the parameter', '/dns-query'],
      ['with an empty one', '/dns-query?dns='],
      ['with padding', `${EXAMPLE}=`],
      ['with +', '/dns-query?dns=AAA+'],
      ['with /', '/dns-query?dns=AAA/'],
      ['with an escaped +', '/dns-query?dns=AAA%2B'],
      ['with a blank', '/dns-query?dns=AAA%20'],
      ['with a broken escape', '/dns-query?dns=%ff%'],
      ['of a length that base64url cannot have', `${EXAMPLE}A`],
      ['with spare bits set', `${get(vector('V02')).slice(0, -1)}B`],
      ['twice', `${EXAMPLE}&${EXAMPLE.slice('/dns-query?'.length)}`],
      ['in upper case', EXAMPLE.replace('dns=', 'DNS=')],
      ['too short for a header', '/dns-query?dns=AAAAAAA'],
      ['that is a response', get(vector('V12'))],
    ] as const) {
      test(`a parameter ${what} is 400`, async () => {
        const { status, headers } = await ask({ path })
        assert.equal(status, 400)
        assert.match(String(headers['content-type']), /^text\/plain/)
      })
    }

    test('other parameters do not matter, percent-encoding does neither', async () => {
      for (const path of [
        EXAMPLE.replace('?', '?x=1&'),
        `${EXAMPLE}&dnssec=1`,
        EXAMPLE.replace('dns=', '%64ns='),
        EXAMPLE.replace('AAAB', '%41AAB'),
      ]) {
        assert.equal((await ask({ path })).status, 200, path)
      }
    })

    test('the path is compared octet by octet', async () => {
      for (const path of ['/dns-query/', '/DNS-QUERY', '/dns-query/../dns-query', '//dns-query', '/dns%2Dquery', '/dns-queryx']) {
        assert.equal((await ask({ path: EXAMPLE.replace('/dns-query', path) })).status, 404, path)
      }
    })

    test('methods that are not served are 405 with Allow, unknown ones 501', async () => {
      for (const method of ['PUT', 'DELETE', 'PATCH', 'TRACE']) {
        const { status, headers } = await ask({ method, path: EXAMPLE })
        assert.equal(status, 405, method)
        assert.equal(headers.allow, 'GET, HEAD, POST, OPTIONS')
      }
      const { status, headers } = await ask({ method: 'OPTIONS' })
      assert.equal(status, 204)
      assert.equal(headers.allow, 'GET, HEAD, POST, OPTIONS')
    })

    test('POST wants the media type, no coding, and a message', async () => {
      const status = async (headers: Record<string, string>, body: Uint8Array = vector('V01')) =>
        (await ask({ method: 'POST', headers, body })).status
      assert.equal(await status({ 'content-type': 'Application/DNS-Message; charset=x' }), 200)
      for (const type of ['text/plain', 'application/dns-json', 'application/dns-udpwireformat', 'application/dns-messages']) {
        assert.equal(await status({ 'content-type': type }), 415, type)
      }
      assert.equal(await status({}), 415)
      assert.equal(await status({ ...TYPE, 'content-encoding': 'gzip' }), 415)
      assert.equal(await status({ ...TYPE, 'content-encoding': 'identity' }), 200)
      assert.equal(await status(TYPE, new Uint8Array(0)), 400)
      const { headers } = await ask({ method: 'POST', headers: { 'content-type': 'text/plain' }, body: vector('V01') })
      assert.equal(headers.accept, 'application/dns-message')
    })

    test('content longer than a message is 413, the longest is read', async () => {
      assert.equal((await ask({ method: 'POST', headers: TYPE, body: Buffer.alloc(65_536) })).status, 413)
      const longest = await ask({ method: 'POST', headers: TYPE, body: Buffer.concat([vector('V01'), Buffer.alloc(65_535 - 33)]) })
      assert.equal(longest.status, 200)
      assert.equal((longest.body[3] ?? 0) & 15, 1)
    })

    test('POST uses its content, not its parameter', async () => {
      const { status, body } = await ask({
        method: 'POST',
        path: get(question({ name: 'servfail.example' })),
        headers: TYPE,
        body: vector('V02'),
      })
      assert.equal(status, 200)
      assert.equal((body[3] ?? 0) & 15, 0)
    })

    test('Accept selects nothing; only an explicit refusal is 406', async () => {
      for (const accept of ['text/html', 'application/dns-json', '*/*', 'application/dns-message;q=0.001']) {
        const { status, headers } = await ask({ path: EXAMPLE, headers: { accept } })
        assert.equal(status, 200, accept)
        assert.equal(headers['content-type'], 'application/dns-message')
      }
      for (const accept of ['application/dns-message;q=0', 'text/html, Application/DNS-Message ; q=0.000']) {
        assert.equal((await ask({ path: EXAMPLE, headers: { accept } })).status, 406, accept)
      }
    })

    test('another host name is 421; our names and any address are served', async () => {
      const host = name === 'HTTP/1.1' ? 'host' : ':authority'
      for (const authority of ['evil.test', 'localhost.evil.test', 'xlocalhost']) {
        assert.equal((await ask({ path: EXAMPLE, headers: { [host]: authority } })).status, 421, authority)
      }
      for (const authority of ['localhost', 'LOCALHOST:8443', '127.0.0.1', '[::1]:443', '203.0.113.9']) {
        assert.equal((await ask({ path: EXAMPLE, headers: { [host]: authority } })).status, 200, authority)
      }
    })

    test('request headers about caching and ranges do not matter', async () => {
      const headers = { range: 'bytes=0-1', 'if-none-match': '*', 'cache-control': 'no-cache', 'accept-encoding': 'gzip' }
      const { status, headers: answered } = await ask({ path: EXAMPLE, headers })
      assert.equal(status, 200)
      assert.equal(answered['content-encoding'], undefined)
    })

    test('a header section of more than 16 KiB is 431', async () => {
      assert.equal((await ask({ path: EXAMPLE, headers: { 'x-long': 'a'.repeat(17_000) } })).status, 431)
      assert.equal((await ask({ path: EXAMPLE, headers: { 'x-long': 'a'.repeat(12_000) } })).status, 200)
    })

    test('who is not admitted is 403, before the message is read', async () => {
      assert.equal((await client(closed, { path: EXAMPLE })).status, 403)
      assert.equal((await client(closed, { path: get(vector('V24')) })).status, 403)
    })
  })
}

test('an HTTP/1.1 method that Node does not know is 501', async () => {
  for (const method of ['BREW', 'get']) assert.equal(await rawStatus(`${method} ${EXAMPLE} HTTP/1.1\r\nhost: localhost\r\n\r\n`), 501)
})

test('HTTP/1.1 refuses what could be read in two ways', async () => {
  for (const head of [
    `GET ${EXAMPLE} HTTP/1.1\r\n\r\n`,
    `GET ${EXAMPLE} HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n\r\n`,
    `GET ${EXAMPLE} HTTP/1.1\r\nhost : localhost\r\n\r\n`,
    `POST /dns-query HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
    `POST /dns-query HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3, 4\r\n\r\nabcd`,
    `POST /dns-query HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/dns-message\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n`,
  ]) {
    assert.equal(await rawStatus(head), 400, JSON.stringify(head))
  }
})

test('HTTP/1.1 answers pipelined requests in their order, also behind a GET with content', async () => {
  const one = `GET ${EXAMPLE} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\nGET /`
  const two = `GET /nowhere HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n`
  const text = await raw(one + two)
  assert.deepEqual(
    [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map((match) => match[1]),
    ['200', '404'],
  )
})

test('HTTP/1.1 answers what is due before it refuses what follows', async () => {
  const slow = `GET ${get(question({ name: 'slow.example' }))} HTTP/1.1\r\nhost: localhost\r\n\r\n`
  const text = await raw(`${slow}garbage\r\n\r\n`)
  assert.deepEqual(
    [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map((match) => match[1]),
    ['200', '400'],
  )
})

test('HTTP/1.1 keeps the connection after a refusal', async () => {
  const text = await raw(
    `GET /nowhere HTTP/1.1\r\nhost: localhost\r\n\r\nGET ${EXAMPLE} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n`,
  )
  assert.deepEqual(
    [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map((match) => match[1]),
    ['404', '200'],
  )
})

test('a HEAD with too long a header section has no content over HTTP/2 either', async () => {
  const { status, body } = await doh2(gateway, { method: 'HEAD', path: EXAMPLE, headers: { 'x-long': 'a'.repeat(17_000) } })
  assert.deepEqual([status, body.length], [431, 0])
})

test('HTTP/1.1 has no CONNECT', async () => {
  assert.equal(await rawStatus('CONNECT localhost:443 HTTP/1.1\r\nhost: localhost\r\n\r\n'), 405)
})

test('a client that never closes loses its connection after we have ended it', async () => {
  await using hasty = await runGateway([upstream.endpoint], {
    limits: { ...LIMITS, connectionsPerClient: 100, inFlightPerConnection: 100, idle: { streamMs: 1000, httpMs: 1000, quicMs: 1000 } },
  })
  for (const protocol of ['h2', 'http/1.1']) {
    // half-open, and deaf to the FIN
    const raw = connectTcp({ host: hasty.doh.host, port: hasty.doh.port, allowHalfOpen: true })
    const socket = connectTls({ socket: raw, servername: 'localhost', ca: hasty.ca, ALPNProtocols: [protocol] })
    await once(socket, 'secureConnect')
    if (protocol === 'h2') socket.write(Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), hex('000000040000000000')]))
    socket.on('error', () => {})
    socket.resume()
    await until(async () => (await metrics(hasty)).includes('atlas_connections{transport="doh2"} 0'))
    socket.destroy()
  }
})

test('a reset stream frees no work: the questions of one connection are bounded', async () => {
  const session = openHttp2(gateway)
  session.on('error', () => {})
  for (let i = 0; i < 400; i++) {
    const stream = session.request({ ':path': get(question({ name: `never${i}.example` })) })
    stream.on('error', () => {})
    stream.close(8)
  }
  await new Promise((resolve) => {
    session.ping(() => resolve(null))
  })
  const open = Number(/atlas_queries_open (\d+)/.exec(await metrics(gateway))?.[1])
  assert.ok(open <= 100, `${open} open`)
  session.destroy()
})

test('HTTP/1.1 takes an absolute target, whose authority counts', async () => {
  assert.equal(await rawStatus(`GET https://localhost${EXAMPLE} HTTP/1.1\r\nhost: evil.test\r\nconnection: close\r\n\r\n`), 200)
  assert.equal(await rawStatus(`GET https://evil.test${EXAMPLE} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n`), 421)
})

async function metrics({ admin }: TestGateway): Promise<string> {
  return (await fetch(`http://127.0.0.1:${admin.port}/metrics`)).text()
}

async function raw(request: string): Promise<string> {
  const socket = connectTls({
    host: gateway.doh.host,
    port: gateway.doh.port,
    servername: 'localhost',
    ca: gateway.ca,
    ALPNProtocols: ['http/1.1'],
  })
  socket.write(request)
  const chunks: Buffer[] = []
  for await (const chunk of socket) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('latin1')
}

async function rawStatus(request: string): Promise<number> {
  return Number(/^HTTP\/1\.1 (\d{3})/.exec(await raw(request))?.[1])
}
