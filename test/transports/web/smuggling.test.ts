import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { FakeExchange, type RawConnection, rawClient, rawOrigin, runProxy, until } from './harness.ts'

const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'

/** The octets that the origin has to get. */
function head(line: string, { version = '1.1', connection = 'keep-alive', fields = '', framing = '' } = {}): string {
  return (
    `${line} HTTP/1.1\r\nhost: a\r\nconnection: ${connection}\r\n${fields}via: ${version} atlas\r\n` +
    'x-forwarded-for: 192.0.2.7\r\nx-forwarded-host: a\r\nx-forwarded-proto: https\r\nforwarded: for=192.0.2.7;host="a";proto=https\r\n' +
    `${framing}\r\n`
  )
}

/** Answers each time that what has come ends as a message. */
function answering(ends: (text: string) => boolean, answer = OK) {
  return (connection: RawConnection) => {
    if (ends(connection.text)) connection.socket.write(answer, 'latin1')
  }
}

async function ask({ port }: { port: number }, octets: string, done = 'ok'): Promise<RawConnection> {
  const client = await rawClient(port, octets)
  await until(() => client.text.endsWith(done) || client.closed)
  return client
}

describe('what the origin gets', () => {
  test('is one message after the other on a kept connection', async () => {
    await using origin = await rawOrigin(answering((text) => text.endsWith('\r\n\r\n')))
    await using proxy = await runProxy(origin.port)
    const client = await ask(proxy, 'GET /1 HTTP/1.1\r\nHost: a\r\n\r\n')
    client.text = ''
    client.socket.write('GET /2 HTTP/1.1\r\nHost: a\r\nX-A: 1\r\n\r\n')
    await until(() => client.text.endsWith('ok'))
    assert.equal(origin.connections.length, 1)
    assert.equal(origin.connections[0]?.text, head('GET /1') + head('GET /2', { fields: 'x-a: 1\r\n' }))
  })

  test('of a GET with content is the content too, and nothing follows it on that connection', async () => {
    await using origin = await rawOrigin(answering((text) => text.endsWith('GET /evil HTTP/1.1\r\n\r\n') || text.endsWith('https\r\n\r\n')))
    await using proxy = await runProxy(origin.port)
    const client = await ask(proxy, 'GET /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 22\r\n\r\nGET /evil HTTP/1.1\r\n\r\n')
    client.text = ''
    client.socket.write('GET /2 HTTP/1.1\r\nHost: a\r\n\r\n')
    await until(() => client.text.endsWith('ok'))
    assert.equal(origin.connections.length, 2)
    assert.equal(origin.connections[0]?.text, `${head('GET /1', { framing: 'content-length: 22\r\n' })}GET /evil HTTP/1.1\r\n\r\n`)
    assert.equal(origin.connections[1]?.text, head('GET /2'))
  })

  test('is framed anew, whatever Connection says about the framing', async () => {
    await using origin = await rawOrigin(answering((text) => text.endsWith('abcde')))
    await using proxy = await runProxy(origin.port)
    await ask(proxy, 'POST /1 HTTP/1.1\r\nHost: a\r\nConnection: content-length\r\nContent-Length: 5\r\n\r\nabcde')
    assert.equal(origin.connections[0]?.text, `${head('POST /1', { framing: 'content-length: 5\r\n' })}abcde`)
  })

  test('is in chunks when there is no length', async () => {
    await using origin = await rawOrigin(answering((text) => text.endsWith('\r\n0\r\n\r\n')))
    await using proxy = await runProxy(origin.port)
    const client = await rawClient(proxy.port, 'POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n')
    await until(() => origin.connections[0]?.text.endsWith('ab') ?? false)
    client.socket.write('3\r\n0\r\n\r\n0\r\nX-Trailer: 3\r\n\r\n')
    await until(() => client.text.endsWith('ok'))
    const chunks = '2\r\nab\r\n3\r\n0\r\n\r\n0\r\n\r\n'
    assert.equal(origin.connections[0]?.text, head('POST /1', { framing: 'transfer-encoding: chunked\r\n' }) + chunks)
  })

  test('is nothing where the framing is ambiguous (RFC 9112 §6.3)', async () => {
    await using origin = await rawOrigin()
    await using proxy = await runProxy(origin.port)
    for (const framing of [
      'Content-Length: 5\r\nTransfer-Encoding: chunked',
      'Content-Length: 5\r\nContent-Length: 6',
      'Content-Length: 5, 6',
      'Content-Length: -5',
      'Content-Length : 5',
      'Transfer-Encoding: xchunked',
      'Transfer-Encoding: chunked, identity',
      'Transfer-Encoding:\x0bchunked',
    ]) {
      const client = await rawClient(
        proxy.port,
        `POST / HTTP/1.1\r\nHost: a\r\n${framing}\r\n\r\n0\r\n\r\nGET /evil HTTP/1.1\r\nHost: a\r\n\r\n`,
      )
      await until(() => client.closed || client.text !== '')
      assert.match(client.text, /^HTTP\/1\.1 (400|501) /, framing)
      client.socket.destroy()
    }
    assert.equal(origin.connections.map(({ text }) => text).join(''), '')
  })

  test('never ends as a message when the client goes before its end', async () => {
    for (const [framing, content] of [
      ['Content-Length: 5', 'abc'],
      ['Transfer-Encoding: chunked', '5\r\nabc'],
    ]) {
      await using origin = await rawOrigin(answering((text) => text.endsWith('https\r\n\r\n')))
      await using proxy = await runProxy(origin.port)
      const client = await rawClient(proxy.port, `POST /1 HTTP/1.1\r\nHost: a\r\n${framing}\r\n\r\n${content}`)
      await until(() => origin.connections[0]?.text.endsWith('abc') ?? false)
      client.socket.destroy()
      await until(() => origin.connections[0]?.closed ?? false)
      assert.match(origin.connections[0]?.text ?? '', /abc$/)
      await ask(proxy, 'GET /2 HTTP/1.1\r\nHost: a\r\n\r\n')
      assert.equal(origin.connections[1]?.text, head('GET /2'))
      assert.deepEqual(proxy.counts, [])
    }
  })

  test('is not more and not less than the length that HTTP/2 declares', async () => {
    for (const [first, second] of [
      ['abc', 'defgh'],
      ['abcdef', null],
      ['abc', null],
      [null, null],
    ] as const) {
      await using origin = await rawOrigin()
      await using proxy = await runProxy(origin.port)
      const exchange = new FakeExchange({ method: 'POST', authority: 'a', fields: [['content-length', '5']], hasContent: true })
      proxy.proxy.serve(exchange)
      if (first !== null) exchange.receiver?.onData(Buffer.from(first))
      if (first === 'abc') await until(() => origin.connections[0]?.text.endsWith('abc') ?? false)
      if (second !== null) exchange.receiver?.onData(Buffer.from(second))
      exchange.receiver?.onEnd([])
      await until(() => exchange.ended && proxy.proxy.size === 0)
      assert.equal(exchange.status, 400)
      assert.deepEqual(proxy.counts, ['proxy_bad_request'])
      await until(() => origin.connections.every(({ closed }) => closed))
      const text = origin.connections.map((connection) => connection.text).join('')
      assert.ok(['', `${head('POST /', { version: '2', framing: 'content-length: 5\r\n' })}abc`].includes(text), text)
    }
  })
})

describe('what the client gets', () => {
  const bad = async (octets: string, count: string, target = 'GET /') => {
    await using origin = await rawOrigin(answering((text) => text.endsWith('https\r\n\r\n'), octets))
    await using proxy = await runProxy(origin.port)
    const client = await ask(proxy, `${target} HTTP/1.1\r\nHost: a\r\n\r\n`, 'forwarded.\n')
    assert.match(client.text, /^HTTP\/1\.1 502 /, octets)
    assert.deepEqual(proxy.counts, [count])
    await until(() => origin.connections.every(({ closed }) => closed))
  }

  test('is a failure when the response is ambiguous', async () => {
    await bad('HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc', 'proxy_bad_response')
    await bad('HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n', 'proxy_bad_response')
    await bad('HTTP/1.1 200 OK\r\nx y: 1\r\n\r\n', 'proxy_bad_response')
    await bad('HTTP/1.1 200 OK\r\nx: a\x01b\r\n\r\n', 'proxy_bad_response')
    await bad(`HTTP/1.1 200 OK\r\nx: ${'a'.repeat(17_000)}\r\n\r\n`, 'proxy_bad_response')
    await bad('220 smtp.example ESMTP\r\n', 'proxy_bad_response')
  })

  test('is never what another client was answered', async () => {
    let answers = 0
    const evil = 'HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil'
    await using origin = await rawOrigin((connection) => {
      if (connection.text.endsWith('\r\n\r\n')) connection.socket.write(answers++ === 0 ? OK + evil : OK)
    })
    await using proxy = await runProxy(origin.port)
    const first = await ask(proxy, 'GET /1 HTTP/1.1\r\nHost: a\r\n\r\n')
    const second = await ask(proxy, 'GET /2 HTTP/1.1\r\nHost: a\r\n\r\n')
    for (const { text } of [first, second]) assert.doesNotMatch(text, /evil/)
    assert.equal(origin.connections.length, 2)
  })

  test('is no content where there must be none, and that connection is not used again', async () => {
    for (const [line, method] of [
      ['204 No Content\r\ncontent-length: 4', 'GET'],
      ['304 Not Modified\r\ncontent-length: 4', 'GET'],
      ['200 OK\r\ncontent-length: 4', 'HEAD'],
    ]) {
      await using origin = await rawOrigin(answering((text) => text.endsWith('\r\n\r\n'), `HTTP/1.1 ${line}\r\n\r\nevil`))
      await using proxy = await runProxy(origin.port)
      const client = await ask(proxy, `${method} /1 HTTP/1.1\r\nHost: a\r\n\r\n`, '\r\n\r\n')
      client.socket.write(`${method} /2 HTTP/1.1\r\nHost: a\r\n\r\n`)
      await until(() => client.text.split('HTTP/1.1').length === 3 && client.text.endsWith('\r\n\r\n'))
      assert.doesNotMatch(client.text, /evil/)
      assert.equal(origin.connections.length, 2)
    }
  })
})
