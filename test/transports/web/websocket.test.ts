import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { parseAddress } from '../../../net/address.ts'
import type { Field } from '../../../net/fields.ts'
import type { ReverseProxy } from '../../../transports/web/proxy.ts'
import { acceptOf } from '../../../transports/web/websocket.ts'
import { CLIENT, FakeExchange, quiet, type RawConnection, rawClient, rawOrigin, runProxy, until } from './harness.ts'

/** RFC 6455 §1.3. */
const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='
const ASK = `GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ${KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n`
const WS: readonly Field[] = [
  ['sec-websocket-version', '13'],
  ['sec-websocket-protocol', 'chat'],
  ['sec-websocket-key', KEY],
]

function keyOf({ text }: RawConnection): string {
  return /^sec-websocket-key: (.*)\r$/m.exec(text)?.[1] ?? ''
}

function accepted(connection: RawConnection, extra = ''): string {
  return `HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: ${acceptOf(keyOf(connection))}\r\n${extra}\r\n`
}

/** Accepts, and sends back what comes then. */
function echo(connection: RawConnection): void {
  const { socket, text } = connection
  const [head, ...content] = text.split('\r\n\r\n')
  if (content.length === 0) return
  if (socket.bytesWritten === 0) socket.write(accepted(connection, 'sec-websocket-protocol: chat\r\n'))
  if (content[0] !== '') socket.write(`echo ${content[0]}`)
  connection.text = `${head}\r\n\r\n`
}

function tunnel(fields = WS): FakeExchange {
  return new FakeExchange({ method: 'CONNECT', protocol: 'websocket', target: '/ws', authority: 'a', fields })
}

test('the answer to a key is the one of RFC 6455 §1.3', () => {
  assert.equal(acceptOf(KEY), 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=')
})

describe('WebSocket on HTTP/1.1', () => {
  test('goes through in both directions', async () => {
    await using origin = await rawOrigin(echo)
    await using proxy = await runProxy(origin.port)
    const client = await rawClient(proxy.port, ASK)
    await until(() => client.text.endsWith('\r\n\r\n'))
    assert.equal(
      client.text,
      'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n' +
        `sec-websocket-accept: ${acceptOf(KEY)}\r\nsec-websocket-protocol: chat\r\nvia: 1.1 atlas\r\n\r\n`,
    )
    assert.match(origin.connections[0]?.text ?? '', /^GET \/ws HTTP\/1\.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n/)
    client.socket.write('one')
    await until(() => client.text.endsWith('echo one'))
    client.socket.write('two')
    await until(() => client.text.endsWith('echo two'))
    client.socket.end()
    await until(() => client.closed && proxy.proxy.size === 0 && proxy.wheel.size === 0)
    assert.deepEqual(proxy.counts, [])
  })

  test('takes along what comes with the request', async () => {
    await using origin = await rawOrigin(echo)
    await using proxy = await runProxy(origin.port)
    const client = await rawClient(proxy.port, `${ASK}early`)
    await until(() => client.text.endsWith('echo early'))
  })

  test('is a usual response when the origin will not have it', async () => {
    const body = 'content-length: 2\r\n\r\nno'
    for (const status of ['403 Forbidden', '200 OK', '426 Upgrade Required']) {
      await using origin = await rawOrigin(({ socket }) => void socket.write(`HTTP/1.1 ${status}\r\n${body}`))
      await using proxy = await runProxy(origin.port)
      const client = await rawClient(proxy.port, ASK)
      await until(() => client.closed)
      assert.ok(client.text.startsWith(`HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-length: 2\r\n`), client.text)
      assert.ok(client.text.endsWith('\r\n\r\nno'))
      await until(() => proxy.proxy.size === 0)
    }
  })

  test('is refused with a malformed key, and for other protocols', async () => {
    await using origin = await rawOrigin()
    await using proxy = await runProxy(origin.port)
    for (const [from, to, status] of [
      [KEY, 'short', 400],
      [KEY, `${KEY}\r\nSec-WebSocket-Key: ${KEY}`, 400],
      ['Upgrade: WebSocket', 'Upgrade: h2c', 501],
    ] as const) {
      const client = await rawClient(proxy.port, ASK.replace(from, to))
      await until(() => client.closed)
      assert.ok(client.text.startsWith(`HTTP/1.1 ${status} `), client.text)
    }
    assert.equal(origin.connections.length, 0)
  })
})

describe('WebSocket on HTTP/2 (RFC 8441)', () => {
  test('is one on HTTP/1.1 for the origin, with a key of ours', async () => {
    await using origin = await rawOrigin(echo)
    await using proxy = await runProxy(origin.port)
    const exchange = tunnel()
    proxy.proxy.serve(exchange)
    exchange.receiver?.onData(Buffer.from('early'))
    await until(() => exchange.content === 'echo early')
    assert.equal(exchange.status, 200)
    assert.deepEqual(
      exchange.fields.map(([name]) => name),
      ['sec-websocket-protocol', 'date', 'via'],
    )
    const [connection] = origin.connections
    assert.match(connection?.text ?? '', /^GET \/ws HTTP\/1\.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n/)
    assert.equal(connection?.text.match(/sec-websocket-key/g)?.length, 1)
    assert.notEqual(connection && keyOf(connection), KEY)
    exchange.receiver?.onEnd([])
    await until(() => exchange.ended && proxy.proxy.size === 0 && proxy.wheel.size === 0)
    assert.ok(exchange.consumedOctets === 5 && !exchange.aborted)
  })

  test('is only what the origin has really agreed to', async () => {
    const wrong: ((connection: RawConnection) => string)[] = [
      () => 'HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\npage',
      (connection) => accepted(connection).replace(/accept: ..../, 'accept: AAAA'),
      (connection) => accepted(connection).replace(/sec-websocket-accept: .*\r\n/, ''),
      (connection) => accepted(connection).replace('upgrade: websocket', 'upgrade: h2c'),
      (connection) => accepted(connection).replace('upgrade: websocket\r\n', ''),
    ]
    for (const answer of wrong) {
      await using origin = await rawOrigin((connection) => void connection.socket.write(answer(connection)))
      await using proxy = await runProxy(origin.port)
      const exchange = tunnel()
      proxy.proxy.serve(exchange)
      await until(() => exchange.ended && proxy.proxy.size === 0)
      assert.equal(exchange.status, 502)
      assert.deepEqual(proxy.counts, ['proxy_bad_response'])
      await until(() => origin.connections[0]?.closed ?? false)
    }
  })

  test('is refused like any other request', async () => {
    await using origin = await rawOrigin(({ socket }) => void socket.write('HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno'))
    await using proxy = await runProxy(origin.port)
    const exchange = tunnel()
    proxy.proxy.serve(exchange)
    await until(() => exchange.ended && proxy.proxy.size === 0)
    assert.deepEqual([exchange.status, exchange.content], [403, 'no'])
  })
})

describe('a tunnel', () => {
  const open = async (onOctets: (connection: RawConnection) => void, takesMore = true) => {
    const origin = await rawOrigin(onOctets, true)
    const proxy = await runProxy(origin.port)
    const exchange = tunnel()
    exchange.takesMore = takesMore
    proxy.proxy.serve(exchange)
    await until(() => exchange.status === 200)
    const connection = origin.connections[0] as RawConnection
    return {
      proxy,
      exchange,
      connection,
      async [Symbol.asyncDispose]() {
        await proxy[Symbol.asyncDispose]()
        await origin[Symbol.asyncDispose]()
      },
    }
  }
  /** Nothing is left of it. */
  const gone = ({ proxy }: Awaited<ReturnType<typeof open>>) => until(() => proxy.proxy.size === 0 && proxy.wheel.size === 0, 'it is gone')
  const accept = (connection: RawConnection) => void (connection.socket.bytesWritten === 0 && connection.socket.write(accepted(connection)))

  test('closes each direction by itself', async () => {
    await using parts = await open(accept)
    const { exchange, connection } = parts
    exchange.receiver?.onEnd([])
    await until(() => connection.socket.readableEnded)
    connection.socket.write('still')
    await until(() => exchange.content === 'still')
    assert.ok(!exchange.ended)
    connection.socket.end()
    await until(() => exchange.ended)
    await gone(parts)
  })

  test('lets the client speak when the origin has ended', async () => {
    await using parts = await open(accept)
    const { exchange, connection } = parts
    connection.socket.end('bye')
    await until(() => exchange.ended)
    assert.equal(exchange.content, 'bye')
    exchange.receiver?.onData(Buffer.from('still'))
    await until(() => connection.text.endsWith('still'))
    exchange.receiver?.onEnd([])
    await gone(parts)
    assert.ok(!exchange.aborted)
  })

  test('ends with either end', async () => {
    await using first = await open(accept)
    first.exchange.receiver?.onAborted()
    await until(() => first.connection.socket.readableEnded)
    await gone(first)
    assert.ok(!first.exchange.aborted)
    await using second = await open(accept)
    second.connection.socket.resetAndDestroy()
    await until(() => second.exchange.aborted)
    await gone(second)
  })

  test('ends when nothing has moved for 10 minutes, or for 30 s when one end has closed', async () => {
    await using first = await open(accept)
    first.proxy.advance(599_980)
    first.exchange.receiver?.onData(Buffer.from('x'))
    first.proxy.advance(599_980)
    assert.ok(!first.exchange.aborted)
    first.proxy.advance(20)
    assert.ok(first.exchange.aborted)
    await until(() => first.connection.socket.readableEnded)
    await gone(first)
    await using second = await open(accept)
    second.exchange.receiver?.onEnd([])
    second.proxy.advance(29_980)
    assert.ok(!second.exchange.aborted)
    second.proxy.advance(20)
    assert.ok(second.exchange.aborted)
    await gone(second)
  })

  for (const [how, end] of [
    ['closes', (proxy: ReverseProxy) => proxy.close()],
    ['drains: nothing tells a client to leave', (proxy: ReverseProxy) => proxy.drain(60_000)],
  ] as const) {
    test(`ends when the proxy ${how}`, async () => {
      await using parts = await open(accept)
      await end(parts.proxy.proxy)
      assert.ok(parts.exchange.aborted)
      await until(() => parts.connection.socket.readableEnded)
      await gone(parts)
    })
  }

  test('is not opened by a proxy that drains', async () => {
    await using origin = await rawOrigin()
    await using proxy = await runProxy(origin.port)
    const page = new FakeExchange()
    proxy.proxy.serve(page)
    await until(() => origin.connections[0]?.text.endsWith('\r\n\r\n') ?? false)
    const drained = proxy.proxy.drain(60_000)
    const late = tunnel()
    proxy.proxy.serve(late)
    assert.equal(late.status, 503)
    origin.connections[0]?.socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')
    await drained
    assert.equal(page.content, 'ok')
  })

  test('holds no more than the other end takes', async () => {
    await using parts = await open((connection) => {
      const { socket } = connection
      if (socket.bytesWritten > 0) return
      socket.write(accepted(connection))
      const fill = () => {
        while (!socket.destroyed && socket.write(Buffer.alloc(65_536)));
      }
      socket.on('drain', fill)
      socket.pause()
      fill()
    }, false)
    const { exchange } = parts
    const received = () => exchange.chunks.reduce((sum, { length }) => sum + length, 0)
    let sent = 0
    const feed = () => {
      while (sent - exchange.consumedOctets < 65_536) {
        sent += 16_384
        exchange.receiver?.onData(new Uint8Array(16_384))
      }
      return sent + received()
    }
    const total = await quiet(feed)
    assert.ok(total < 32_000_000, `${total}`)
    const before = sent
    parts.connection.socket.removeAllListeners('data').resume()
    exchange.takesMore = true
    exchange.receiver?.onDrain()
    await until(() => feed() > total + 32_000_000 && sent > before)
    exchange.receiver?.onAborted()
    await gone(parts)
  })

  test('has a place: 32 for a client', async () => {
    await using origin = await rawOrigin(accept)
    await using proxy = await runProxy(origin.port)
    const all = Array.from({ length: 33 }, () => tunnel())
    for (const exchange of all) proxy.proxy.serve(exchange)
    assert.equal(all[32]?.status, 503)
    await until(() => all.slice(0, 32).every(({ status }) => status === 200))
    const other = new FakeExchange({ ...tunnel().request, client: { ...CLIENT, octets: parseAddress('192.0.2.8') ?? assert.fail() } })
    proxy.proxy.serve(other)
    await until(() => other.status === 200)
    // tunnels take no place from pages, and no connection
    all[0]?.receiver?.onAborted()
    await until(() => proxy.proxy.size === 32)
    const again = tunnel()
    proxy.proxy.serve(again)
    await until(() => again.status === 200)
  })
})
