import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { parseAddress } from '../../../net/address.ts'
import { CLIENT, FakeExchange, quiet, type RawConnection, rawClient, rawOrigin, runOrigin, runProxy, until } from './harness.ts'

const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'
const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'

/** Answers each request without content. */
function answer(octets: string) {
  return ({ text, socket }: RawConnection) => void (text.endsWith('\r\n\r\n') && socket.write(octets, 'latin1'))
}

describe('an origin that is of no use', () => {
  test('502 when nobody listens there', async () => {
    const origin = await rawOrigin()
    await origin[Symbol.asyncDispose]()
    await using proxy = await runProxy(origin.port)
    const exchange = new FakeExchange({ method: 'POST', hasContent: true })
    proxy.proxy.serve(exchange)
    await until(() => exchange.ended && proxy.proxy.size === 0)
    assert.equal(exchange.status, 502)
    assert.deepEqual(proxy.counts, ['proxy_unreachable'])
    assert.equal(proxy.wheel.size, 0)
  })

  test('it is said once that it is lost, and once that it is there again, at most every minute', async () => {
    await using origin = await rawOrigin(answer(OK))
    await using proxy = await runProxy(origin.port)
    const ask = async () => {
      const exchange = new FakeExchange()
      proxy.proxy.serve(exchange)
      await until(() => exchange.ended && proxy.proxy.size === 0)
      return exchange.status
    }
    await origin.stop()
    assert.deepEqual([await ask(), await ask()], [502, 502])
    await origin.start()
    assert.deepEqual([await ask(), await ask()], [200, 200])
    const url = `http://127.0.0.1:${origin.port}`
    const once = [`lost ${url}: connect ECONNREFUSED 127.0.0.1:${origin.port}`, `found ${url}`]
    assert.deepEqual(proxy.states, once)
    await origin.stop()
    assert.equal(await ask(), 502)
    assert.deepEqual(proxy.states, once)
    proxy.advance(60_000)
    assert.equal(await ask(), 502)
    assert.deepEqual(proxy.states, [...once, once[0]])
  })

  test('502 when it closes without an answer', async () => {
    await using origin = await rawOrigin(({ socket }) => socket.end())
    await using proxy = await runProxy(origin.port)
    const exchange = new FakeExchange()
    proxy.proxy.serve(exchange)
    await until(() => exchange.ended)
    assert.equal(exchange.status, 502)
    assert.deepEqual(proxy.counts, ['proxy_unreachable'])
  })

  test('502 when it sends content in a coding that nobody takes off (RFC 9112 §6.1)', async () => {
    await using origin = await rawOrigin(answer('HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n'))
    await using proxy = await runProxy(origin.port)
    const exchange = new FakeExchange()
    proxy.proxy.serve(exchange)
    await until(() => exchange.ended && proxy.proxy.size === 0)
    assert.equal(exchange.status, 502)
    assert.deepEqual(proxy.counts, ['proxy_bad_response'])
  })

  test('504 when it does not answer in 30 s, and interim responses are no answer', async () => {
    await using origin = await rawOrigin(answer('HTTP/1.1 103 Early Hints\r\n\r\n'))
    await using proxy = await runProxy(origin.port)
    const exchange = new FakeExchange()
    proxy.proxy.serve(exchange)
    await until(() => exchange.interim.length === 1)
    proxy.advance(20_000)
    origin.connections[0]?.socket.write('HTTP/1.1 103 Early Hints\r\n\r\n')
    await until(() => exchange.interim.length === 2)
    proxy.advance(9_980)
    assert.equal(exchange.status, 0)
    proxy.advance(20)
    assert.equal(exchange.status, 504)
    assert.deepEqual(proxy.counts, ['proxy_timeout'])
    await until(() => (origin.connections[0]?.closed ?? false) && proxy.proxy.size === 0)
  })

  test('cuts the response off when it stops in the middle', async () => {
    await using origin = await rawOrigin(answer('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc'))
    await using proxy = await runProxy(origin.port)
    const client = await rawClient(proxy.port, GET)
    await until(() => client.text.endsWith('abc'))
    proxy.advance(29_980)
    origin.connections[0]?.socket.write('d')
    await until(() => client.text.endsWith('abcd'))
    proxy.advance(29_980)
    assert.ok(!client.closed)
    proxy.advance(20)
    await until(() => client.closed)
    assert.deepEqual(proxy.counts, ['proxy_cut_off'])
    await until(() => origin.connections[0]?.closed ?? false)
  })

  test('cuts the response off when it breaks', async () => {
    for (const framing of [
      'content-length: 9\r\n\r\nabc',
      'transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n',
      'transfer-encoding: chunked\r\n\r\n3\r\nabc\r\nx',
    ]) {
      await using origin = await rawOrigin(answer(`HTTP/1.1 200 OK\r\n${framing}`))
      await using proxy = await runProxy(origin.port)
      const exchange = new FakeExchange()
      proxy.proxy.serve(exchange)
      await until(() => exchange.content === 'abc')
      origin.connections[0]?.socket.end()
      await until(() => exchange.aborted)
      assert.deepEqual(proxy.counts, ['proxy_cut_off'])
    }
  })
})

describe('a client that is of no use', () => {
  test('408 when its content does not come in 30 s', async () => {
    await using origin = await rawOrigin()
    await using proxy = await runProxy(origin.port)
    const client = await rawClient(proxy.port, 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc')
    await until(() => origin.connections[0]?.text.endsWith('abc') ?? false)
    proxy.advance(29_980)
    client.socket.write('d')
    await until(() => origin.connections[0]?.text.endsWith('abcd') ?? false)
    proxy.advance(29_980)
    assert.equal(client.text, '')
    proxy.advance(20)
    await until(() => client.text.includes('\r\n\r\n'))
    assert.match(client.text, /^HTTP\/1\.1 408 .*\r\nconnection: close\r\n/is)
    assert.deepEqual(proxy.counts, ['proxy_request_timeout'])
    await until(() => origin.connections[0]?.closed ?? false)
  })

  test('413 when it sends more than 64 MiB', async () => {
    let received = 0
    await using origin = await runOrigin((request) => void request.on('data', (chunk) => (received += chunk.length)).on('error', () => {}))
    await using proxy = await runProxy(origin.port)
    const exchange = new FakeExchange({ method: 'POST', hasContent: true })
    proxy.proxy.serve(exchange)
    const chunk = new Uint8Array(1024 * 1024)
    for (let i = 0; i < 64; i++) {
      exchange.receiver?.onData(chunk)
      await until(() => exchange.consumedOctets === (i + 1) * chunk.length)
    }
    await until(() => received === 64 * chunk.length)
    assert.equal(exchange.status, 0)
    exchange.receiver?.onData(new Uint8Array(1))
    assert.equal(exchange.status, 413)
    assert.deepEqual(proxy.counts, ['proxy_too_large'])
    await until(() => proxy.proxy.size === 0)
    assert.equal(received, 64 * chunk.length)
  })

  test('takes its request along when it goes, before and after the head', async () => {
    for (const octets of ['', 'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc']) {
      await using origin = await rawOrigin(answer(octets))
      await using proxy = await runProxy(origin.port)
      const client = await rawClient(proxy.port, GET)
      await until(() => origin.connections[0]?.text.endsWith('\r\n\r\n') === true && client.text.endsWith('abc') === (octets !== ''))
      client.socket.destroy()
      await until(() => origin.connections[0]?.closed === true && proxy.proxy.size === 0)
      assert.deepEqual(proxy.counts, [])
      assert.equal(proxy.wheel.size, 0)
    }
  })
})

describe('places', () => {
  const clientAt = (address: string) => ({ ...CLIENT, address, octets: parseAddress(address) ?? assert.fail() })

  test('128 for a client, 256 in all, then 503; who waits for the origin keeps nobody else waiting', async () => {
    const waiting: RawConnection[] = []
    await using origin = await rawOrigin((connection) => void waiting.push(connection))
    await using proxy = await runProxy(origin.port)
    const open = (address: string) => {
      const exchange = new FakeExchange({ client: clientAt(address) })
      proxy.proxy.serve(exchange)
      return exchange
    }
    const first = Array.from({ length: 128 }, () => open('192.0.2.1'))
    const busy = open('192.0.2.1')
    assert.deepEqual([busy.status, busy.value('retry-after')], [503, '1'])
    for (let i = 0; i < 128; i++) assert.equal(open('192.0.2.2').status, 0)
    assert.equal(open('192.0.2.3').status, 503)
    assert.deepEqual(proxy.counts, ['proxy_busy', 'proxy_busy'])
    await until(() => waiting.length === 256, 'each is asked for')
    first[0]?.receiver?.onAborted()
    await until(() => proxy.proxy.size < 256)
    const next = open('192.0.2.3')
    await until(() => {
      for (const { socket } of waiting.splice(0)) if (!socket.destroyed) socket.write(OK)
      return proxy.proxy.size === 0
    }, 'all are served')
    assert.deepEqual([first[127]?.content, next.content, first[0]?.status], ['ok', 'ok', 0])
    await until(() => proxy.wheel.size === 0)
  })

  test('are those of an IPv6 /64 together', async () => {
    await using origin = await rawOrigin()
    await using proxy = await runProxy(origin.port)
    const statuses = Array.from({ length: 130 }, (_, i) => {
      const exchange = new FakeExchange({ client: clientAt(`2001:db8::${i.toString(16)}`) })
      proxy.proxy.serve(exchange)
      return exchange.status
    })
    assert.deepEqual(statuses.slice(127), [0, 503, 503])
    const other = new FakeExchange({ client: clientAt('2001:db8:0:1::1') })
    proxy.proxy.serve(other)
    assert.equal(other.status, 0)
  })

  test('when it closes, what is open ends, and nothing is taken', async () => {
    await using origin = await rawOrigin()
    await using proxy = await runProxy(origin.port)
    const exchange = new FakeExchange()
    proxy.proxy.serve(exchange)
    await until(() => origin.connections[0]?.text.endsWith('\r\n\r\n') ?? false)
    await proxy.proxy.close()
    assert.equal(exchange.status, 503)
    const late = new FakeExchange()
    proxy.proxy.serve(late)
    assert.equal(late.status, 503)
    assert.deepEqual([proxy.proxy.size, proxy.wheel.size], [0, 0])
    await until(() => origin.connections[0]?.closed ?? false)
  })
})

describe('a proxy that drains', () => {
  test('ends with its last response', async () => {
    await using origin = await rawOrigin()
    await using proxy = await runProxy(origin.port)
    const exchange = new FakeExchange()
    proxy.proxy.serve(exchange)
    await until(() => origin.connections[0]?.text.endsWith('\r\n\r\n') ?? false)
    const drained = proxy.proxy.drain(60_000)
    origin.connections[0]?.socket.write(OK)
    await drained
    assert.deepEqual([exchange.status, exchange.content, exchange.ended], [200, 'ok', true])
    const late = new FakeExchange()
    proxy.proxy.serve(late)
    assert.equal(late.status, 503)
  })

  test('waits no longer than it may', async () => {
    await using origin = await rawOrigin()
    await using proxy = await runProxy(origin.port)
    const exchange = new FakeExchange()
    proxy.proxy.serve(exchange)
    await proxy.proxy.drain(1)
    assert.deepEqual([exchange.status, proxy.proxy.size, proxy.wheel.size], [503, 0, 0])
  })
})

describe('nobody is read faster than the other end takes it', () => {
  const endless = (connection: RawConnection) => {
    const { socket } = connection
    if (socket.bytesWritten > 0) return
    socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n')
    const chunk = Buffer.alloc(65_536)
    const fill = () => {
      while (!socket.destroyed && socket.write(chunk));
    }
    socket.on('drain', fill)
    fill()
  }

  test('the origin, by a client on HTTP/2', async () => {
    await using origin = await rawOrigin(endless)
    await using proxy = await runProxy(origin.port)
    const exchange = new FakeExchange()
    exchange.takesMore = false
    proxy.proxy.serve(exchange)
    const received = () => exchange.chunks.reduce((sum, { length }) => sum + length, 0)
    await until(() => received() > 0)
    const before = await quiet(received)
    assert.ok(before <= 65_536, `${before}`)
    exchange.receiver?.onDrain()
    await until(() => received() > before)
    const after = await quiet(received)
    assert.ok(after <= before + 65_536, `${after}`)
    // the client takes nothing for 30 s
    proxy.advance(30_000)
    assert.ok(exchange.aborted)
    assert.deepEqual(proxy.counts, ['proxy_cut_off'])
  })

  test('the origin, by a client on HTTP/1.1', async () => {
    await using origin = await rawOrigin(endless)
    await using proxy = await runProxy(origin.port)
    const client = await rawClient(proxy.port, GET)
    client.socket.pause()
    const written = () => origin.connections[0]?.socket.bytesWritten ?? 0
    await until(() => written() > 0)
    const before = await quiet(written)
    assert.ok(before < 32_000_000, `${before}`)
    client.socket.resume()
    await until(() => written() > before + 32_000_000)
  })

  test('two responses may drain each other', async () => {
    await using origin = await rawOrigin(endless)
    await using proxy = await runProxy(origin.port)
    const [one, other] = [new FakeExchange(), new FakeExchange()]
    one.takesMore = other.takesMore = false
    for (const exchange of [one, other]) proxy.proxy.serve(exchange)
    await until(() => one.chunks.length > 0 && other.chunks.length > 0)
    const drain = (from: FakeExchange, to: FakeExchange) => {
      const write = from.write.bind(from)
      from.write = (chunk) => {
        if (from.chunks.length < 50) to.receiver?.onDrain()
        return write(chunk)
      }
    }
    drain(one, other)
    drain(other, one)
    one.receiver?.onDrain()
    await until(() => one.chunks.length >= 50 && other.chunks.length >= 49)
    assert.deepEqual(proxy.counts, [])
  })

  test('the client, by the origin', async () => {
    await using origin = await rawOrigin(({ socket }) => void socket.pause())
    await using proxy = await runProxy(origin.port)
    const exchange = new FakeExchange({ method: 'POST', hasContent: true })
    proxy.proxy.serve(exchange)
    let sent = 0
    const chunk = new Uint8Array(16_384)
    const feed = () => {
      // as its window lets it
      while (sent - exchange.consumedOctets < 65_536 && exchange.status === 0) {
        sent += chunk.length
        exchange.receiver?.onData(chunk)
      }
      return sent
    }
    const before = await quiet(feed)
    assert.ok(before < 32_000_000, `${before}`)
    assert.equal(exchange.status, 0)
    origin.connections[0]?.socket.removeAllListeners('data').resume()
    await until(() => feed() > before + 32_000_000)
    exchange.receiver?.onAborted()
  })

  test('a client on HTTP/1.1, by who receives it', async () => {
    await using origin = await rawOrigin(({ socket }) => void socket.pause())
    await using proxy = await runProxy(origin.port)
    const client = await rawClient(proxy.port, 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60000000\r\n\r\n')
    const chunk = Buffer.alloc(65_536)
    const fill = () => {
      while (client.socket.bytesWritten < 59_000_000 && client.socket.write(chunk));
    }
    client.socket.on('drain', fill)
    fill()
    const written = () => client.socket.bytesWritten
    const before = await quiet(written)
    assert.ok(before < 40_000_000, `${before}`)
    origin.connections[0]?.socket.removeAllListeners('data').resume()
    await until(() => written() >= 59_000_000)
  })
})
