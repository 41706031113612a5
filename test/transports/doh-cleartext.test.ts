import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect as connectHttp2 } from 'node:http2'
import { connect } from 'node:net'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, before, describe } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { loadConfig } from '../../gateway/config/load.ts'
import { doh1, doh2 } from '../harness/clients.ts'
import { prefixes, runGateway, type TestGateway, testConfig } from '../harness/gateway.ts'
import { aRecord, question, response } from '../harness/messages.ts'
import { dropped } from '../harness/metrics.ts'
import { dnsServer } from '../harness/servers.ts'

const QUESTION = question({ name: 'www.example.com' })
const PATH = `/dns-query?dns=${QUESTION.toString('base64url')}`
const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
const clear = [
  { endpoint: { host: '127.0.0.1', port: 0 }, access: null, proxyProtocol: null, clientCa: null, cleartext: true, byDefault: false },
]

let gateway: TestGateway
let upstream: Awaited<ReturnType<typeof dnsServer>>
/** Behind a proxy that is trusted; only 192.0.2.7 may ask. */
let behind: TestGateway

before(async () => {
  upstream = await dnsServer((query, reply) => reply(response(query, { answers: [aRecord()] })))
  const config = testConfig([upstream.endpoint])
  const listen = { ...config.listen, doh: clear }
  gateway = await runGateway([upstream.endpoint], { listen, timeouts: { ...config.timeouts, handshakeMs: 500 } })
  behind = await runGateway([upstream.endpoint], {
    listen,
    access: { dns: [], encrypted: prefixes('192.0.2.7'), tokenFile: null },
    doh: { ...config.doh, trustedProxies: prefixes('127.0.0.1') },
    limits: { ...config.limits, connectionsPerClient: 1 },
  })
})
after(async () => {
  await gateway[Symbol.asyncDispose]()
  await behind[Symbol.asyncDispose]()
  await upstream[Symbol.asyncDispose]()
})

/** Sends octets, in pieces of a size, and reads until the end. */
async function raw(text: string, pieces = text.length, { doh } = gateway): Promise<string> {
  const socket = connect({ host: doh.host, port: doh.port, noDelay: true })
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  for (let at = 0; at < text.length && !socket.destroyed; at += pieces) {
    socket.write(text.slice(at, at + pieces), 'latin1')
    await turn()
  }
  await once(socket, 'close')
  return Buffer.concat(chunks).toString('latin1')
}

const statuses = (text: string) => Array.from(text.matchAll(/HTTP\/1\.1 (\d{3})/g), ([, status]) => Number(status))

describe('without TLS', () => {
  test('HTTP/1.1 is served, pipelined and octet by octet', async () => {
    const requests = `GET ${PATH} HTTP/1.1\r\nhost: localhost\r\n\r\nGET ${PATH} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n`
    assert.deepEqual(statuses(await raw(requests)), [200, 200])
    assert.deepEqual(statuses(await raw(requests, 1)), [200, 200])
  })

  test('HTTP/2 is served with prior knowledge (RFC 9113 §3.3)', async () => {
    const session = connectHttp2(`http://localhost:${gateway.doh.port}`, {
      lookup: (_host, _options, done) => done(null, [{ address: '127.0.0.1', family: 4 }]),
    })
    const stream = session.request({ ':path': PATH })
    const [headers] = (await once(stream, 'response')) as [Record<string, unknown>]
    assert.equal(headers[':status'], 200)
    // there is no HTTP/3 here
    assert.equal(headers['alt-svc'], undefined)
    session.destroy()
  })

  test('a preface octet by octet is one, and one that turns into something else is HTTP/1.1', async () => {
    const settings = '\0\0\0\x04\0\0\0\0\0'
    const answer = await raw(`${PREFACE}${settings}\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0`, 1)
    assert.ok(answer.startsWith('\0\0'))
    assert.equal(answer.at(3), '\x04')
    assert.deepEqual(statuses(await raw('PRI * HTTP/1.1\r\nhost: localhost\r\n\r\n')), [400])
    assert.deepEqual(statuses(await raw('PRI * HTTP/2.0\r\n\r\nSM\r\n\r!')), [400])
  })

  test('nobody is upgraded to HTTP/2 (RFC 9113 §3.1)', async () => {
    const asked = `GET ${PATH} HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade, http2-settings, close\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\n`
    assert.deepEqual(statuses(await raw(asked)), [200])
  })

  test('who says nothing, or only begins to, has timeouts.handshake', async () => {
    const before = await dropped(gateway, 'http_body_timeout')
    for (const text of ['', 'P', 'PRI']) assert.equal(await raw(text), '')
    assert.equal(await dropped(gateway, 'http_body_timeout'), before + 3)
  })

  test('a foreign host is 421 here too', async () => {
    assert.deepEqual(statuses(await raw(`GET ${PATH} HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n`)), [421])
  })
})

describe('behind a trusted proxy', () => {
  const ask = (fields: string, method = 'GET') =>
    raw(`${method} ${PATH} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n${fields}\r\n`, undefined, behind)

  test('the access list is for whom the proxy names', async () => {
    assert.deepEqual(statuses(await ask('x-forwarded-for: 192.0.2.7\r\n')), [200])
    assert.deepEqual(statuses(await ask('x-forwarded-for: 192.0.2.8\r\n')), [403])
    assert.deepEqual(statuses(await ask('forwarded: for=192.0.2.7\r\n')), [200])
    assert.deepEqual(statuses(await ask('')), [403])
  })

  test('a contradiction is 400', async () => {
    assert.deepEqual(statuses(await ask('x-forwarded-for: 192.0.2.7\r\nforwarded: for=192.0.2.8\r\n')), [400])
  })

  test('early data is for what is safe (RFC 8470 §5.2)', async () => {
    const early = 'x-forwarded-for: 192.0.2.7\r\nearly-data: 1\r\n'
    assert.deepEqual(statuses(await ask(early)), [200])
    assert.deepEqual(statuses(await ask(`${early}content-type: application/dns-message\r\ncontent-length: 0\r\n`, 'POST')), [425])
  })

  test('the proxy may have any number of connections', async () => {
    const answers = await Promise.all(Array.from({ length: 5 }, () => ask('x-forwarded-for: 192.0.2.7\r\n')))
    assert.deepEqual(answers.flatMap(statuses), [200, 200, 200, 200, 200])
  })
})

test('a listener may change between TLS and cleartext while it serves', async () => {
  // without HTTP/3, whose port somebody else may take meanwhile
  const { doh, listen } = testConfig([upstream.endpoint])
  await using changing = await runGateway([upstream.endpoint], { doh: { ...doh, http3: false } })
  const { port } = changing.doh
  const entry = { endpoint: { host: '127.0.0.1', port }, access: null, proxyProtocol: null, clientCa: null, byDefault: false }
  assert.equal((await changing.reload({ listen: { ...listen, doh: [{ ...entry, cleartext: true }] } })).outcome, 'applied')
  const request = `GET ${PATH} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n`
  assert.deepEqual(statuses(await raw(request, undefined, changing)), [200])
  assert.equal((await changing.reload({ listen: { ...listen, doh: [{ ...entry, cleartext: false }] } })).outcome, 'applied')
  assert.equal((await doh1(changing, { path: PATH })).status, 200)
})

test('a message may be in the content, and the connection lives on', async () => {
  const head = `POST /dns-query HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/dns-message\r\ncontent-length: ${QUESTION.length}\r\n`
  const first = `${head}\r\n${QUESTION.toString('latin1')}`
  const last = `${head}connection: close\r\n\r\n${QUESTION.toString('latin1')}`
  assert.deepEqual(statuses(await raw(first + last)), [200, 200])
  assert.deepEqual(statuses(await raw(first + last, 1)), [200, 200])
})

test('HTTP/3 is only where TLS is, and announced only there', async () => {
  const listen = { ...testConfig([]).listen, doh: [...clear, ...clear.map((entry) => ({ ...entry, cleartext: false }))] }
  await using both = await runGateway([upstream.endpoint], { listen })
  const secure = both.gateway.facts.endpoints.doh[1]
  assert.ok(secure !== undefined)
  const request = `GET ${PATH} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n`
  const answer = await raw(request, undefined, both)
  assert.deepEqual(statuses(answer), [200])
  assert.doesNotMatch(answer, /alt-svc/i)
  const overTls = { ...both, doh: secure }
  for (const client of [doh1, doh2]) {
    assert.equal((await client(overTls, { path: PATH })).headers['alt-svc'], `h3=":${secure.port}"; ma=86400`)
  }
})

const outside = Object.values(networkInterfaces())
  .flatMap((addresses) => addresses ?? [])
  .find(({ family, internal }) => family === 'IPv4' && !internal)?.address

test('strangers are not served, and counted', { skip: outside === undefined }, async () => {
  const config = testConfig([upstream.endpoint])
  const listen = { ...config.listen, doh: clear.map((entry) => ({ ...entry, endpoint: { host: outside ?? '', port: 0 } })) }
  const request = `GET ${PATH} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n`
  await using strict = await runGateway([upstream.endpoint], {
    listen,
    doh: { ...config.doh, trustedProxies: prefixes('198.51.100.1') },
  })
  const refused = connect(strict.doh.port, strict.doh.host)
  // nothing is written: that the connection ends is the gateway's doing
  assert.deepEqual(await once(refused, 'close'), [false])
  const metrics = await (await fetch(`http://127.0.0.1:${strict.admin.port}/metrics`)).text()
  assert.match(metrics, /^atlas_drops_total\{reason="access_denied"\} 1$/m)
  const change = await strict.reload({ doh: { ...config.doh, trustedProxies: prefixes(outside ?? '') } })
  assert.equal(change.outcome, 'applied')
  assert.deepEqual(statuses(await raw(request, undefined, strict)), [200])
})

describe('the configuration', () => {
  const directory = mkdtempSync(join(tmpdir(), 'atlas-cleartext-'))
  after(() => rmSync(directory, { recursive: true }))
  const load = (content: string) => {
    writeFileSync(join(directory, 'atlas.yaml'), content)
    return loadConfig({ file: 'atlas.yaml', env: {}, cwd: directory })
  }

  for (const [shown, address] of [
    ['a public address', '192.0.2.1:8080'],
    ['every address', '0.0.0.0:8080'],
    ['every IPv6 address', '[::]:8080'],
  ] as const) {
    test(`takes no cleartext on ${shown} without trusted proxies, and says where`, () => {
      const entry = `listen:\n  doh:\n    - { address: "${address}", cleartext: true }\n`
      const where = 'atlas.yaml:3:7: listen.doh[0]'
      const message = `${where}: expected a loopback address, or the proxies that have TLS in doh.trustedProxies: received "${address}"`
      assert.throws(() => load(entry), { name: 'ConfigError', message })
      assert.equal(load(`${entry}doh: { trustedProxies: [192.0.2.9] }\n`).config.listen.doh[0]?.cleartext, true)
      assert.equal(load(entry.replace('true', 'false')).config.listen.doh[0]?.cleartext, false)
    })
  }

  test('takes it on loopback', () => {
    for (const address of ['127.0.0.1:8080', '127.9.9.9:8080', '[::1]:8080']) {
      assert.equal(load(`listen: { doh: [{ address: "${address}", cleartext: true }] }`).config.listen.doh[0]?.cleartext, true)
    }
  })
})
