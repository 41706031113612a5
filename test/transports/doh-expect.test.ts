import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import type { AddressInfo } from 'node:net'
import test, { after, before, describe } from 'node:test'
import { DOH_TCP_CLIENTS, openHttp2 } from '../harness/clients.ts'
import { runGateway, type TestGateway } from '../harness/gateway.ts'
import { aRecord, question, response } from '../harness/messages.ts'
import { http3Request, openHttp3 } from '../harness/quic.ts'
import { dnsServer } from '../harness/servers.ts'
import { frame } from '../net/http3/bytes.ts'

const QUESTION = question({ name: 'www.example.com' })
const EXPECTING = { 'content-type': 'application/dns-message', expect: '100-Continue' }

let gateway: TestGateway
let upstream: Awaited<ReturnType<typeof dnsServer>>
const origin = createServer(async (request, reply) => {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  reply.end(`${request.headers.expect} ${Buffer.concat(chunks).toString()}`)
})

before(async () => {
  upstream = await dnsServer((query, reply) => reply(response(query, { answers: [aRecord()] })))
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

/** What came before the content was sent, and behind it. */
interface Heard {
  readonly first: number
  readonly status: number
  readonly body: Buffer
}

async function overHttp1(path: string, content: Uint8Array, headers: Record<string, string> = EXPECTING): Promise<Heard> {
  const { port, host } = gateway.doh
  const request = httpsRequest({
    host,
    port,
    servername: 'localhost',
    ca: gateway.ca,
    agent: false,
    method: 'POST',
    path,
    headers: { host: 'localhost', ...headers },
  })
  request.flushHeaders()
  const answered = once(request, 'response')
  const first = await Promise.race([once(request, 'continue').then(() => 100), answered.then(([{ statusCode }]) => statusCode as number)])
  request.end(content)
  const [answer] = (await answered) as [IncomingMessage]
  return { first, status: answer.statusCode ?? 0, body: Buffer.concat(await answer.toArray()) }
}

async function overHttp2(path: string, content: Uint8Array, headers: Record<string, string> = EXPECTING): Promise<Heard> {
  const session = openHttp2(gateway)
  const stream = session.request({ ':method': 'POST', ':path': path, ...headers })
  const answered = once(stream, 'response') as Promise<[Record<string, unknown>]>
  const first = await Promise.race([once(stream, 'continue').then(() => 100), answered.then(([fields]) => Number(fields[':status']))])
  stream.end(content)
  const [fields] = await answered
  const body = Buffer.concat(await stream.toArray())
  session.destroy()
  return { first, status: Number(fields[':status']), body }
}

describe('an expectation (RFC 9110 §10.1.1)', () => {
  for (const [version, send] of [
    ['HTTP/1.1', overHttp1],
    ['HTTP/2', overHttp2],
  ] as const) {
    test(`content is asked for over ${version}`, async () => {
      const { first, status, body } = await send('/dns-query', QUESTION)
      assert.deepEqual([first, status, body.subarray(0, 2)], [100, 200, QUESTION.subarray(0, 2)])
    })

    test(`content is not asked for over ${version} when the request is refused`, async () => {
      const { first, status } = await send('/dns-query', QUESTION, { ...EXPECTING, 'content-type': 'text/plain' })
      assert.deepEqual([first, status], [415, 415])
    })

    test(`content is asked for over ${version} by the proxy, and the origin not bothered`, async () => {
      const { first, status, body } = await send('/upload', Buffer.from('content'))
      assert.deepEqual([first, status, body.toString()], [100, 200, 'undefined content'])
    })
  }

  for (const [version, client] of DOH_TCP_CLIENTS) {
    test(`is disregarded over ${version} by DNS when anything else is expected, and 417 by the proxy`, async () => {
      const headers = { ...EXPECTING, expect: 'something' }
      const ask = async (path: string) => (await client(gateway, { method: 'POST', path, headers, body: QUESTION })).status
      assert.deepEqual([await ask('/dns-query'), await ask('/upload')], [200, 417])
    })
  }

  test('content is asked for over HTTP/3', async () => {
    await using client = await openHttp3(gateway)
    const stream = client.send(http3Request('POST', '/dns-query', ...Object.entries(EXPECTING)), false)
    const interim = await client.over(stream, ({ bytes }) => bytes.length > 0)
    // HEADERS of 2 + 1 octets: no prefix, then entry 63 of the static table, ":status: 100" (RFC 9204 appendix A)
    assert.deepEqual([interim?.fin, interim?.bytes.toString('hex')], [false, '01040000ff00'])
    client.connection.send(stream, frame(0, QUESTION), true)
    const whole = await client.over(stream)
    assert.deepEqual([whole?.fin, whole?.bytes.includes(QUESTION.subarray(2, 4))], [true, true])
  })
})
