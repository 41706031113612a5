import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request } from 'node:http'
import { type AddressInfo, connect, createServer } from 'node:net'
import test, { describe, type TestContext } from 'node:test'
import type { Challenge } from '../../../certs/acme/challenge.ts'
import { HttpChallenges, HttpSolver } from '../../../certs/acme/http-01.ts'
import { type Endpoint, formatEndpoint } from '../../../net/address.ts'
import { challengeFor } from '../../harness/challenges.ts'
import { ended, openBare } from '../../harness/faults.ts'
import { freePort } from '../../harness/real.ts'

const PREFIX = '/.well-known/acme-challenge/'

/** An address that nobody has at the moment: with port 0 the solver would have another one each time. */
async function freeEndpoint(): Promise<Endpoint> {
  return { host: '127.0.0.1', port: await freePort() }
}

function solverAt(t: TestContext, ...endpoints: Endpoint[]): HttpSolver {
  const solver = new HttpSolver(new HttpChallenges(), endpoints)
  t.after(() => solver.close())
  return solver
}

async function presented(t: TestContext): Promise<{ endpoint: Endpoint; challenge: Challenge; solver: HttpSolver }> {
  const endpoint = await freeEndpoint()
  const solver = solverAt(t, endpoint)
  const challenge = challengeFor('dns.example.net')
  await solver.present(challenge)
  return { endpoint, challenge, solver }
}

interface Reply {
  readonly status: number
  readonly type: string | undefined
  readonly connection: string | undefined
  readonly length: string | undefined
  readonly text: string
}

async function ask({ host, port }: Endpoint, path: string, { method = 'GET', name = 'dns.example.net' } = {}): Promise<Reply> {
  const sent = request({ host, port, path, method, headers: { host: name }, agent: false }).end()
  const [response] = (await once(sent, 'response')) as [import('node:http').IncomingMessage]
  const text = Buffer.concat(await response.toArray()).toString()
  const { 'content-type': type, 'content-length': length, connection } = response.headers
  return { status: response.statusCode ?? 0, type, connection, length, text }
}

/** Everything that comes back until the connection ends. */
async function raw(endpoint: Endpoint, text: string): Promise<string> {
  const socket = await openBare(endpoint)
  const said: Buffer[] = []
  socket.on('data', (chunk: Buffer) => said.push(chunk))
  socket.write(text)
  await ended(socket)
  return Buffer.concat(said).toString('latin1')
}

async function isOpen({ host, port }: Endpoint): Promise<boolean> {
  const socket = connect(port, host)
  return new Promise((resolve) => {
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

describe('http-01', () => {
  test('answers with the key authorization while the challenge is pending, under whatever name', async (t) => {
    const { endpoint, challenge, solver } = await presented(t)
    const path = `${PREFIX}${challenge.token}`
    for (const name of ['dns.example.net', '192.0.2.1', '[2001:db8::1]', `dns.example.net:${endpoint.port}`]) {
      assert.deepEqual(await ask(endpoint, path, { name }), {
        status: 200,
        type: 'application/octet-stream',
        connection: 'close',
        length: String(challenge.keyAuthorization.length),
        text: challenge.keyAuthorization,
      })
    }
    assert.equal((await ask(endpoint, `http://dns.example.net${path}`)).text, challenge.keyAuthorization)
    const head = await ask(endpoint, path, { method: 'HEAD' })
    assert.deepEqual([head.status, head.length, head.text], [200, String(challenge.keyAuthorization.length), ''])
    await solver.remove(challenge)
    assert.equal(await isOpen(endpoint), false)
  })

  test('answers nothing else, and repeats nothing of the request', async (t) => {
    const { endpoint, challenge } = await presented(t)
    const { token } = challenge
    const refused = [
      '/',
      PREFIX,
      `${PREFIX}unknown`,
      `${PREFIX}${token}/`,
      `${PREFIX}${token}?x`,
      `${PREFIX}${token}%00`,
      `${PREFIX}../acme-challenge/${token}`,
      `/x/..${PREFIX}${token}`,
      `/${PREFIX}${token}`,
      `${PREFIX}${token.slice(0, -1)}`,
      `${PREFIX}constructor`,
      `${PREFIX}<script>alert(1)</script>`,
      `${PREFIX.toUpperCase()}${token}`,
    ]
    const expected = { status: 404, type: 'application/octet-stream', connection: 'close', length: '10', text: 'not found\n' }
    for (const path of refused) assert.deepEqual(await ask(endpoint, path), expected, path)
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE']) {
      assert.deepEqual(
        await ask(endpoint, `${PREFIX}${token}`, { method }),
        { ...expected, status: 405, length: '19', text: 'method not allowed\n' },
        method,
      )
    }
  })

  test('answers one request of a connection, whatever comes behind it', async (t) => {
    const { endpoint, challenge } = await presented(t)
    const get = `GET ${PREFIX}${challenge.token} HTTP/1.1\r\nhost: a\r\n\r\n`
    for (const rest of [get, 'garbage\r\n\r\n', '\0'.repeat(100)]) {
      const said = await raw(endpoint, get + rest)
      assert.equal(said.split('HTTP/1.1 ').length, 2, rest)
      assert.ok(said.startsWith('HTTP/1.1 200 ') && said.endsWith(challenge.keyAuthorization), rest)
    }
  })

  test('ends what is no HTTP, and header sections that are too long', async (t) => {
    const { endpoint, challenge } = await presented(t)
    assert.match(await raw(endpoint, '\x16\x03\x01\x02\x00\x01'), /^HTTP\/1\.1 400 Bad Request\r\n/)
    const long = `GET ${PREFIX}${challenge.token} HTTP/1.1\r\nhost: a\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`
    assert.match(await raw(endpoint, long), /^HTTP\/1\.1 431 /)
    assert.match(await raw(endpoint, `GET /${'a'.repeat(20_000)} HTTP/1.1\r\nhost: a\r\n\r\n`), /^HTTP\/1\.1 431 /)
    assert.match(await raw(endpoint, `GET ${PREFIX}${challenge.token} HTTP/1.1\r\n\r\n`), /^HTTP\/1\.1 400 /)
  })

  test('waits for nobody for ever', async (t) => {
    const endpoint = await freeEndpoint()
    const solver = new HttpSolver(new HttpChallenges({ patienceMs: 50, checkMs: 10 }), [endpoint])
    t.after(() => solver.close())
    const challenge = challengeFor('dns.example.net')
    await solver.present(challenge)
    const get = `GET ${PREFIX}${challenge.token} HTTP/1.1\r\nhost: a\r\n`
    const [silent, slow, unfinished] = await Promise.all([openBare(endpoint), openBare(endpoint), openBare(endpoint)])
    // one that comes octet by octet, so that it is never idle
    slow.write('GET /')
    const trickle = setInterval(() => slow.write('x'), 5)
    unfinished.write(get)
    await Promise.all([silent, slow, unfinished].map((socket) => ended(socket.resume())))
    clearInterval(trickle)
    assert.equal((await ask(endpoint, `${PREFIX}${challenge.token}`)).status, 200)
  })

  test('ends with remove(), whoever is there still', async (t) => {
    const { endpoint, challenge, solver } = await presented(t)
    const socket = await openBare(endpoint)
    socket.write('GET / HTTP/1.1\r\n')
    const gone = ended(socket.resume())
    await solver.remove(challenge)
    await gone
  })

  test('turns away whoever comes when it has 256 connections', async (t) => {
    const { endpoint, challenge } = await presented(t)
    const idle = await Promise.all(Array.from({ length: 256 }, () => openBare(endpoint)))
    assert.equal(await raw(endpoint, `GET ${PREFIX}${challenge.token} HTTP/1.1\r\nhost: a\r\n\r\n`), '')
    const [first] = idle
    first?.destroy()
    while (!(await raw(endpoint, `GET ${PREFIX}${challenge.token} HTTP/1.1\r\nhost: a\r\n\r\n`)).includes('200'));
    for (const socket of idle) socket.destroy()
  })

  test('has one listener at an address for all certificates, as long as one of them needs it', async (t) => {
    const [one, two] = [await freeEndpoint(), await freeEndpoint()]
    const challenges = new HttpChallenges()
    const first = new HttpSolver(challenges, [one, two])
    const second = new HttpSolver(challenges, [two])
    t.after(() => Promise.all([first.close(), second.close()]))
    const [a, b, c] = [challengeFor('a.example'), challengeFor('b.example'), challengeFor('c.example')]
    await Promise.all([first.present(a), first.present(b), second.present(c)])
    for (const { token, keyAuthorization } of [a, b, c]) assert.equal((await ask(two, PREFIX + token)).text, keyAuthorization)
    await first.remove(a)
    assert.equal((await ask(two, PREFIX + a.token)).status, 404)
    assert.equal((await ask(one, PREFIX + b.token)).status, 200)
    await first.close()
    assert.deepEqual([await isOpen(one), await isOpen(two)], [false, true])
    // given up and wanted again at once
    await Promise.all([second.remove(c), first.present(a)])
    assert.equal((await ask(two, PREFIX + a.token)).text, a.keyAuthorization)
  })

  test('says which address it cannot have, and what to do; nothing is left of it after remove()', async (t) => {
    const taken = createServer()
    await once(taken.listen(0, '127.0.0.1'), 'listening')
    const { port } = taken.address() as AddressInfo
    const [free, busy] = [await freeEndpoint(), { host: '127.0.0.1', port }]
    const solver = solverAt(t, free, busy)
    const challenge = challengeFor('dns.example.net')
    const message =
      `Cannot listen for http-01 on ${formatEndpoint(busy)}: the address is in use by another process; ` +
      'tls.acme.http may name other addresses, to which port 80 is forwarded'
    await assert.rejects(solver.present(challenge), { code: 'ATLAS_LISTEN', message })
    await solver.remove(challenge)
    assert.equal(await isOpen(free), false)
    await once(taken.close(), 'close')
    await solver.present(challenge)
    for (const endpoint of [free, busy]) assert.equal((await ask(endpoint, PREFIX + challenge.token)).status, 200)
  })
})
