import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request as http, type IncomingHttpHeaders, type RequestListener, type RequestOptions } from 'node:http'
import { text } from 'node:stream/consumers'
import test, { describe } from 'node:test'
import { FakeExchange, rawClient, rawOrigin, runOrigin, runProxy, type TestProxy, until } from './harness.ts'

interface Page {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly rawHeaders: readonly string[]
  readonly body: string
  readonly trailers: NodeJS.Dict<string>
}

async function fetchPage({ port }: { port: number }, options: RequestOptions, body?: string | Buffer): Promise<Page> {
  const request = http({ port, host: '127.0.0.1', agent: false, ...options })
  request.end(body)
  const [response] = await once(request, 'response')
  const content = await text(response)
  const { statusCode: status, headers, rawHeaders, trailers } = response
  return { status, headers, rawHeaders, body: content, trailers }
}

async function between(handler: RequestListener, use: (proxy: TestProxy) => Promise<void>): Promise<void> {
  await using origin = await runOrigin(handler)
  await using proxy = await runProxy(origin.port)
  await use(proxy)
  await until(() => proxy.proxy.size === 0 && proxy.wheel.size === 0, 'nothing left over')
}

/** Answers with what it was asked. */
const echo: RequestListener = async (request, response) => {
  const body = await text(request)
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify({ method: request.method, url: request.url, headers: request.headers, raw: request.rawHeaders, body }))
}

describe('a page', () => {
  test('is asked of the origin as the client asks, and comes back as it is', () =>
    between(echo, async (proxy) => {
      const { status, headers, body } = await fetchPage(proxy, {
        path: '/a%20b/../c?d=%00&e',
        headers: { host: 'dns.example', 'x-own': 'é' },
      })
      assert.equal(status, 200)
      assert.equal(headers['content-type'], 'application/json')
      assert.equal(headers.via, '1.1 atlas')
      const seen = JSON.parse(body)
      assert.equal(seen.method, 'GET')
      assert.equal(seen.url, '/a%20b/../c?d=%00&e')
      assert.equal(seen.headers.host, 'dns.example')
      assert.equal(seen.headers['x-own'], 'é')
      assert.equal(seen.headers.via, '1.1 atlas')
      assert.equal(seen.headers.forwarded, 'for=192.0.2.7;host="dns.example";proto=https')
      assert.deepEqual(proxy.counts, [])
    }))

  test('takes content with and without a length', () =>
    between(echo, async (proxy) => {
      for (const headers of [{ 'content-length': '11' }, { 'transfer-encoding': 'chunked' }]) {
        const { body } = await fetchPage(proxy, { method: 'POST', path: '/', headers }, 'hello world')
        assert.equal(JSON.parse(body).body, 'hello world')
      }
      for (const method of ['PUT', 'PATCH', 'DELETE', 'QUERY', 'PROPFIND']) {
        const { body } = await fetchPage(proxy, { method, path: '/', headers: { 'content-length': '3' } }, 'abc')
        assert.deepEqual([JSON.parse(body).method, JSON.parse(body).body], [method, 'abc'])
      }
    }))

  test('is large in both directions', () =>
    between(
      (request, response) => void request.pipe(response),
      async (proxy) => {
        const body = Buffer.alloc(3_000_000, 'atlas')
        const page = await fetchPage(proxy, { method: 'POST', path: '/' }, body)
        assert.equal(page.body, body.toString())
      },
    ))

  test('has no content for HEAD, with 204 and with 304 (RFC 9112 §6.3)', () =>
    between(
      (request, response) => {
        response.statusCode = Number(request.url?.slice(1))
        if (response.statusCode === 200) response.setHeader('content-length', '1000')
        response.end()
      },
      async (proxy) => {
        const head = await fetchPage(proxy, { method: 'HEAD', path: '/200' })
        assert.deepEqual([head.status, head.headers['content-length'], head.body], [200, '1000', ''])
        for (const [method, target] of [
          ['HEAD', '/200'],
          ['GET', '/204'],
          ['GET', '/304'],
        ] as const) {
          const exchange = new FakeExchange({ method, target })
          proxy.proxy.serve(exchange)
          await until(() => exchange.ended)
          assert.ok(exchange.endedByHead)
        }
        for (const status of [204, 304]) {
          const page = await fetchPage(proxy, { path: `/${status}` })
          assert.deepEqual(
            [page.status, page.headers['content-length'], page.headers['transfer-encoding'], page.body],
            [status, undefined, undefined, ''],
          )
        }
      },
    ))

  test('keeps redirects, cookies and codings', () =>
    between(
      (_request, response) => {
        const cookies = ['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2']
        const dropped = ['Alt-Svc', 'h3=":9"', 'Connection', 'x-own', 'X-Own', '1']
        response.writeHead(302, ['Location', 'http://elsewhere.example/', ...cookies, 'Content-Encoding', 'gzip', ...dropped])
        response.end('no gzip')
      },
      async (proxy) => {
        const { status, headers, body } = await fetchPage(proxy, { path: '/', headers: { 'accept-encoding': 'br' } })
        assert.equal(status, 302)
        assert.equal(headers.location, 'http://elsewhere.example/')
        assert.deepEqual(headers['set-cookie'], ['a=1', 'b=2'])
        assert.equal(headers['content-encoding'], 'gzip')
        assert.equal(headers['alt-svc'], undefined)
        assert.equal(headers['x-own'], undefined)
        assert.equal(body, 'no gzip')
      },
    ))

  test('brings its trailers', () =>
    between(
      (_request, response) => {
        response.writeHead(200, { trailer: 'x-sum' })
        response.write('ab')
        response.addTrailers({ 'x-sum': '7', 'content-type': 'text/html' })
        response.end()
      },
      async (proxy) => {
        const { body, trailers } = await fetchPage(proxy, { path: '/' })
        assert.equal(body, 'ab')
        assert.deepEqual({ ...trailers }, { 'x-sum': '7' })
      },
    ))

  test('may be streamed: what there is arrives before there is more', () =>
    between(
      (request, response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' })
        response.flushHeaders()
        request.on('data', (chunk) => response.write(`echo ${chunk}`))
        request.on('end', () => response.end())
      },
      async (proxy) => {
        const client = await rawClient(proxy.port, 'POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n')
        await until(() => client.text.includes('echo one'))
        client.socket.write('3\r\ntwo\r\n0\r\n\r\n')
        await until(() => client.text.includes('echo two'))
        await until(() => client.text.endsWith('0\r\n\r\n'))
      },
    ))
})

describe('what only HTTP/2 shows', () => {
  test('cookies in pieces become one line, early hints come through', () =>
    between(
      (request, response) => {
        response.writeEarlyHints({ link: '</a.css>; rel=preload' })
        response.end(request.headers.cookie)
      },
      async ({ proxy }) => {
        const exchange = new FakeExchange({
          fields: [
            ['cookie', 'a=1'],
            ['cookie', 'b=2'],
          ],
        })
        proxy.serve(exchange)
        await until(() => exchange.ended)
        assert.equal(exchange.content, 'a=1; b=2')
        assert.deepEqual(exchange.interim, [
          [
            103,
            [
              ['link', '</a.css>; rel=preload'],
              ['via', '1.1 atlas'],
            ],
          ],
        ])
      },
    ))

  test('who expects 100-continue gets it from us, and the origin never hears of it (RFC 9110 §10.1.1)', () =>
    between(echo, async ({ proxy }) => {
      const exchange = new FakeExchange({ method: 'POST', hasContent: true, fields: [['expect', '100-Continue']] })
      proxy.serve(exchange)
      assert.deepEqual(exchange.interim, [[100, []]])
      exchange.receiver?.onData(Buffer.from('abc'))
      exchange.receiver?.onEnd([['x-trailer', '1']])
      await until(() => exchange.ended)
      const seen = JSON.parse(exchange.content)
      assert.deepEqual([seen.body, seen.headers.expect], ['abc', undefined])
    }))

  test('content that ends at once has length 0', () =>
    between(echo, async ({ proxy }) => {
      const exchange = new FakeExchange({ method: 'POST', hasContent: true })
      proxy.serve(exchange)
      exchange.receiver?.onEnd([])
      await until(() => exchange.ended)
      assert.equal(JSON.parse(exchange.content).headers['content-length'], '0')
    }))
})

describe('what is not for the origin', () => {
  const refused = async (request: ConstructorParameters<typeof FakeExchange>[0], status: number, count: string | null) => {
    await using origin = await rawOrigin()
    await using proxy = await runProxy(origin.port)
    const exchange = new FakeExchange(request)
    proxy.proxy.serve(exchange)
    await until(() => exchange.ended)
    assert.equal(exchange.status, status)
    assert.deepEqual(proxy.counts, count === null ? [] : [count])
    assert.equal(proxy.proxy.size, 0)
    assert.equal(origin.connections.length, 0)
    return exchange
  }

  test('methods and protocols', async () => {
    await refused({ method: 'CONNECT' }, 501, 'proxy_not_implemented')
    await refused({ method: 'TRACE' }, 501, 'proxy_not_implemented')
    await refused({ method: 'CONNECT', protocol: 'connect-udp' }, 501, 'proxy_not_implemented')
    await refused({ version: '1.1', protocol: 'h2c' }, 501, 'proxy_not_implemented')
    await refused({ version: '1.1', method: 'POST', protocol: 'websocket' }, 501, 'proxy_not_implemented')
    await refused({ method: 'GET', protocol: 'websocket' }, 501, 'proxy_not_implemented')
  })

  test('what cannot be written in HTTP/1.1', async () => {
    for (const target of ['', 'x', '/a b', '/a\r\nx: y', '/\xe9', 'http://a/', '*']) await refused({ target }, 400, 'proxy_bad_request')
    for (const method of ['', 'GET /x', 'G\r\n']) await refused({ method }, 400, 'proxy_bad_request')
    await refused({ fields: [['x', 'a\x01b']] }, 400, 'proxy_bad_request')
    await refused({ authority: 'a\x7fb' }, 400, 'proxy_bad_request')
    await refused({ hasContent: true, method: 'POST', fields: [['content-length', '+5']] }, 400, 'proxy_bad_request')
    await refused(
      {
        hasContent: true,
        method: 'POST',
        fields: [
          ['content-length', '5'],
          ['content-length', '6'],
        ],
      },
      400,
      'proxy_bad_request',
    )
  })

  test('expectations, loops, too much content', async () => {
    await refused({ fields: [['expect', 'the unexpected']] }, 417, 'proxy_expectation')
    await refused({ fields: [['via', '2 atlas, 1.1 atlas, 1.1 atlas, 1.1 atlas']] }, 508, 'proxy_loop')
    await refused({ hasContent: true, method: 'POST', fields: [['content-length', '67108865']] }, 413, 'proxy_too_large')
  })

  test('OPTIONS that is meant for us (RFC 9110 §7.6.2, §9.3.7)', async () => {
    await refused({ method: 'OPTIONS', target: '*' }, 204, null)
    await refused({ method: 'OPTIONS', fields: [['max-forwards', '0']] }, 204, null)
  })

  test('the refusal says so in words, but not to HEAD', async () => {
    const exchange = await refused({ fields: [['expect', 'x']] }, 417, 'proxy_expectation')
    assert.equal(exchange.value('content-type'), 'text/plain; charset=utf-8')
    assert.equal(exchange.value('content-length'), String(exchange.content.length))
    assert.equal((await refused({ method: 'HEAD', fields: [['expect', 'x']] }, 417, 'proxy_expectation')).content, '')
  })
})
