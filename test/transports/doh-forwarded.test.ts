import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Agent, request as httpsRequest } from 'node:https'
import test, { after, before, describe } from 'node:test'
import type { Config } from '../../gateway/config/config.ts'
import { openHttp2 } from '../harness/clients.ts'
import { prefixes, runGateway, type TestGateway, testConfig } from '../harness/gateway.ts'
import { aRecord, question, response } from '../harness/messages.ts'
import { doh3 } from '../harness/quic.ts'
import { dnsServer } from '../harness/servers.ts'

const QUESTION = question({ name: 'www.example.com' })
const PATH = `/dns-query?dns=${QUESTION.toString('base64url')}`

/** Several lines where the value is a list. */
type Fields = Readonly<Record<string, string | string[]>>

/** One connection to the gateway. */
interface Connection extends Disposable {
  /** The status that a query gets. */
  get(fields?: Fields): Promise<number>
  post(fields?: Fields): Promise<number>
}

function overHttp1({ doh, ca }: TestGateway): Connection {
  const agent = new Agent({ keepAlive: true, maxSockets: 1, ca, servername: 'localhost' })
  let isFirst = true
  const send = async (method: string, fields: Fields, body: Buffer | null) => {
    const length = body === null ? {} : { 'content-length': String(body.length) }
    const headers = { host: `localhost:${doh.port}`, ...length, ...fields }
    const path = body === null ? PATH : '/dns-query'
    const request = httpsRequest({ host: doh.host, port: doh.port, agent, method, path, headers })
    request.end(body ?? undefined)
    const [answer] = (await once(request, 'response')) as [import('node:http').IncomingMessage]
    answer.resume()
    await once(answer, 'close')
    assert.equal(request.reusedSocket, !isFirst)
    isFirst = false
    return answer.statusCode ?? 0
  }
  return {
    get: (fields = {}) => send('GET', fields, null),
    post: (fields = {}) => send('POST', { 'content-type': 'application/dns-message', ...fields }, QUESTION),
    [Symbol.dispose]: () => agent.destroy(),
  }
}

function overHttp2(gateway: TestGateway): Connection {
  const session = openHttp2(gateway)
  // a refused connection: the request that waits for it rejects
  session.on('error', () => {})
  const send = async (method: string, fields: Fields, body: Buffer | null) => {
    const path = body === null ? PATH : '/dns-query'
    const stream = session.request({ ':method': method, ':path': path, ...fields }, { endStream: body === null })
    if (body !== null) stream.end(body)
    const [answer] = (await once(stream, 'response')) as [Record<string, unknown>]
    stream.resume()
    await once(stream, 'close')
    return Number(answer[':status'])
  }
  return {
    get: (fields = {}) => send('GET', fields, null),
    post: (fields = {}) => send('POST', { 'content-type': 'application/dns-message', ...fields }, QUESTION),
    [Symbol.dispose]: () => session.destroy(),
  }
}

const base = testConfig([])
const FRIEND = '192.0.2.7'
const STRANGER = '192.0.2.8'
/** Only FRIEND may ask, and one connection is all that a client may have. */
const strict: Partial<Config> = {
  access: { dns: [], encrypted: prefixes(FRIEND), tokenFile: null },
  doh: { ...base.doh, trustedProxies: prefixes('127.0.0.1') },
  limits: { ...base.limits, connectionsPerClient: 1 },
  log: { level: 'info', queries: { kind: 'share', share: 1 } },
}
/** The same for a peer that is no trusted proxy, and may ask itself. */
const distrusting: Partial<Config> = {
  ...strict,
  access: { dns: [], encrypted: prefixes('127.0.0.1'), tokenFile: null },
  doh: { ...base.doh, trustedProxies: prefixes('198.51.100.1') },
}

let upstream: Awaited<ReturnType<typeof dnsServer>>
before(async () => {
  upstream = await dnsServer((query, reply) => reply(response(query, { answers: [aRecord()] })))
})
after(() => upstream[Symbol.asyncDispose]())

for (const [name, open] of [
  ['HTTP/1.1', overHttp1],
  ['HTTP/2', overHttp2],
] as const) {
  describe(`a trusted proxy over ${name}`, () => {
    let gateway: TestGateway
    before(async () => {
      gateway = await runGateway([upstream.endpoint], strict)
    })
    after(() => gateway[Symbol.asyncDispose]())

    test('asks for whom it names, in each request anew', async () => {
      using connection = open(gateway)
      assert.equal(await connection.get({ 'x-forwarded-for': FRIEND }), 200)
      assert.equal(await connection.get({ 'x-forwarded-for': STRANGER }), 403)
      assert.equal(await connection.get({ forwarded: `for=${FRIEND};proto=https` }), 200)
      // itself, which may not ask
      assert.equal(await connection.get(), 403)
      assert.equal(await connection.post({ forwarded: `for="${FRIEND}:4711"` }), 200)
      assert.equal(await connection.post({ forwarded: `for="${STRANGER}:4711"` }), 403)
    })

    test('adds lines of its own, the last of which counts', async () => {
      using connection = open(gateway)
      assert.equal(await connection.get({ 'x-forwarded-for': [STRANGER, FRIEND] }), 200)
      assert.equal(await connection.get({ 'x-forwarded-for': [FRIEND, STRANGER] }), 403)
      assert.equal(await connection.get({ forwarded: [`for=${STRANGER}`, `for=${FRIEND}`] }), 200)
      assert.equal(await connection.get({ forwarded: [`for=${FRIEND}`, `for=${STRANGER}`] }), 403)
    })

    test('may not contradict itself', async () => {
      using connection = open(gateway)
      assert.equal(await connection.get({ 'x-forwarded-for': FRIEND, forwarded: `for=${STRANGER}` }), 400)
      assert.equal(await connection.get({ 'x-forwarded-for': FRIEND, forwarded: `for=${FRIEND}` }), 200)
    })

    test('takes only what is safe from early data (RFC 8470 §5.2)', async () => {
      using connection = open(gateway)
      const early = { 'x-forwarded-for': FRIEND, 'early-data': '1' }
      assert.equal(await connection.get(early), 200)
      assert.equal(await connection.post(early), 425)
      using next = open(gateway)
      assert.equal(await next.post({ 'x-forwarded-for': FRIEND }), 200)
    })

    test('may have any number of connections', async () => {
      using first = open(gateway)
      using second = open(gateway)
      assert.equal(await first.get({ 'x-forwarded-for': FRIEND }), 200)
      assert.equal(await second.get({ 'x-forwarded-for': FRIEND }), 200)
      assert.equal(await first.get({ 'x-forwarded-for': FRIEND }), 200)
    })

    test('is not who the query log names', async () => {
      using connection = open(gateway)
      gateway.log.length = 0
      await connection.get({ 'x-forwarded-for': FRIEND })
      const lines = gateway.log.filter((line) => line.includes('"query"')).map((line) => JSON.parse(line) as { client: string })
      assert.deepEqual(
        lines.map(({ client }) => client),
        [FRIEND],
      )
    })

    test('asks by the access list of the moment, not that of its connection', async () => {
      await using changing = await runGateway([upstream.endpoint], strict)
      using connection = open(changing)
      assert.equal(await connection.get({ 'x-forwarded-for': FRIEND }), 200)
      assert.equal((await changing.reload({ access: { dns: [], encrypted: prefixes(STRANGER), tokenFile: null } })).outcome, 'applied')
      assert.equal(await connection.get({ 'x-forwarded-for': FRIEND }), 403)
      assert.equal(await connection.get({ 'x-forwarded-for': STRANGER }), 200)
    })

    test('is one only while it is trusted', async () => {
      await using changing = await runGateway([upstream.endpoint], strict)
      using connection = open(changing)
      assert.equal(await connection.get({ 'x-forwarded-for': FRIEND }), 200)
      assert.equal((await changing.reload({ doh: { ...base.doh, trustedProxies: [] } })).outcome, 'applied')
      assert.equal(await connection.get({ 'x-forwarded-for': FRIEND }), 403)
    })
  })

  describe(`anybody else over ${name}`, () => {
    let gateway: TestGateway
    before(async () => {
      gateway = await runGateway([upstream.endpoint], distrusting)
    })
    after(() => gateway[Symbol.asyncDispose]())

    test('asks for itself, whatever it says (conformance D29), and has one connection', async () => {
      using first = open(gateway)
      assert.equal(await first.get({ 'x-forwarded-for': STRANGER }), 200)
      assert.equal(await first.get({ forwarded: `for=${STRANGER}` }), 200)
      assert.equal(await first.get({ 'x-forwarded-for': FRIEND, forwarded: `for=${STRANGER}` }), 200)
      assert.equal(await first.post({ 'early-data': '1' }), 200)
      using second = open(gateway)
      await assert.rejects(second.get({ 'x-forwarded-for': STRANGER }))
    })
  })
}

test('no proxy asks over HTTP/3: nobody is named there', async () => {
  const doh = { ...base.doh, trustedProxies: prefixes('127.0.0.1') }
  await using open = await runGateway([upstream.endpoint], { doh, access: { dns: [], encrypted: prefixes('127.0.0.1'), tokenFile: null } })
  const ask = async (gateway: TestGateway, headers: Record<string, string>) => (await doh3(gateway, { path: PATH, headers })).status
  assert.equal(await ask(open, { 'x-forwarded-for': STRANGER, forwarded: `for=${FRIEND}` }), 200)
  await using closed = await runGateway([upstream.endpoint], { doh, access: { dns: [], encrypted: prefixes(FRIEND), tokenFile: null } })
  assert.equal(await ask(closed, { 'x-forwarded-for': FRIEND }), 403)
})
