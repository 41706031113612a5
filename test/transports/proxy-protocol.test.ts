import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect as connectHttp2 } from 'node:http2'
import { connect, type Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import test, { after, before, describe } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { Failure } from '../../dns/failure.ts'
import type { ListenConfig } from '../../gateway/config/config.ts'
import type { Endpoint } from '../../net/address.ts'
import { Wheel } from '../../net/wheel.ts'
import { ProxiedConnection } from '../../transports/proxied-connection.ts'
import { exchange } from '../harness/clients.ts'
import { LIMITS, prefixes, runGateway, type TestGateway } from '../harness/gateway.ts'
import { aRecord, hex, question, response } from '../harness/messages.ts'
import { dropped as droppedOf, metric } from '../harness/metrics.ts'
import { dnsServer } from '../harness/servers.ts'
import { until } from '../harness/until.ts'

const QUERY = question({ name: 'www.example.com' })
const PATH = `/dns-query?dns=${QUERY.toString('base64url')}`
const listening = (...proxies: string[]): readonly ListenConfig[] => [
  {
    endpoint: { host: '127.0.0.1', port: 0 },
    access: null,
    proxyProtocol: prefixes(...proxies),
    clientCa: null,
    cleartext: false,
    byDefault: false,
  },
]
/** Of clients, not of load balancers. */
const ACCESS = { dns: prefixes('192.0.2.0/24'), encrypted: prefixes('192.0.2.0/24'), tokenFile: null }

let gateway: TestGateway
/** Trusts only a load balancer that is elsewhere. */
let wary: TestGateway
let upstream: Awaited<ReturnType<typeof dnsServer>>

async function start(proxies: string, limits = { connectionsPerClient: 100 }): Promise<TestGateway> {
  const places = listening(proxies)
  const idle = { streamMs: 5000, httpMs: 5000, quicMs: 5000 }
  return runGateway([upstream.endpoint], {
    listen: {
      dns: places,
      dot: places,
      doh: places,
      doq: [],
      admin: { endpoint: { host: '127.0.0.1', port: 0 }, tokenFile: null, hosts: [] },
    },
    access: ACCESS,
    limits: { ...LIMITS, ...limits, idle },
  })
}

before(async () => {
  upstream = await dnsServer((query, reply) => reply(response(query, { answers: [aRecord()] })))
  gateway = await start('127.0.0.0/8')
  wary = await start('198.51.100.0/24')
})
after(async () => {
  await gateway[Symbol.asyncDispose]()
  await wary[Symbol.asyncDispose]()
  await upstream[Symbol.asyncDispose]()
})

/** Version 2, for a client on IPv4. */
function header(address: string, family = '11'): Buffer {
  return Buffer.concat([
    hex(`0d0a0d0a000d0a515549540a 21 ${family} 000c`),
    Buffer.from(address.split('.').map(Number)),
    hex('7f000001 1234 0035'),
  ])
}
const line = (address: string) => Buffer.from(`PROXY TCP4 ${address} 127.0.0.1 4660 53\r\n`)
const LOCAL = hex('0d0a0d0a000d0a515549540a 20 00 0000')

async function dial({ host, port }: Endpoint, first: Uint8Array): Promise<Socket> {
  const socket = connect(port, host)
  socket.on('error', () => {})
  await once(socket, 'connect')
  socket.write(first)
  return socket
}

/** Behind `first`, TLS; null when the connection ends before that. */
async function secure(endpoint: Endpoint, first: Uint8Array, protocol: string, of = gateway): Promise<Socket | null> {
  const socket = connectTls({ socket: await dial(endpoint, first), servername: 'localhost', ca: of.ca, ALPNProtocols: [protocol] })
  socket.on('error', () => {})
  return new Promise((resolve) => {
    socket.once('secureConnect', () => resolve(socket))
    socket.once('close', () => resolve(null))
  })
}

const tcp = async (first: Uint8Array, of = gateway) => (await exchange(await dial(of.dns, first), QUERY)).kind
async function dot(first: Uint8Array, of = gateway): Promise<string> {
  const socket = await secure(of.dot, first, 'dot', of)
  return socket === null ? 'closed' : (await exchange(socket, QUERY)).kind
}
async function doh1(first: Uint8Array, of = gateway): Promise<string> {
  const socket = await secure(of.doh, first, 'http/1.1', of)
  if (socket === null) return 'closed'
  socket.write(`GET ${PATH} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n`)
  const text = Buffer.concat(await socket.toArray()).toString('latin1')
  return text.startsWith('HTTP/1.1 200 ') ? 'answer' : text.slice(9, 12)
}
async function doh2(first: Uint8Array, of = gateway): Promise<string> {
  const socket = await secure(of.doh, first, 'h2', of)
  if (socket === null) return 'closed'
  const session = connectHttp2('https://localhost', { createConnection: () => socket })
  const [headers] = (await once(session.request({ ':path': PATH }), 'response')) as [Record<string, unknown>]
  session.destroy()
  return headers[':status'] === 200 ? 'answer' : String(headers[':status'])
}

async function udp(first: Uint8Array, of = gateway): Promise<string> {
  const socket = createSocket('udp4')
  socket.connect(of.dns.port, of.dns.host)
  await once(socket, 'connect')
  const before = await drops(of)
  socket.send(Buffer.concat([first, QUERY]))
  const answered = once(socket, 'message').then(() => 'answer')
  const dropped = (async () => {
    await until(async () => (await drops(of)) !== before)
    return 'closed'
  })()
  const outcome = await Promise.race([answered, dropped])
  socket.close()
  return outcome
}

const dropped = (reason: string, of = gateway) => droppedOf(of, reason)
async function drops(of: TestGateway): Promise<number> {
  let sum = 0
  for (const reason of ['proxy_protocol_error', 'proxy_protocol_untrusted', 'access_denied']) sum += await dropped(reason, of)
  return sum
}

for (const [name, ask, refusal] of [
  ['TCP', tcp, 'closed'],
  ['TLS', dot, 'closed'],
  ['HTTP/1.1', doh1, '403'],
  ['HTTP/2', doh2, '403'],
  ['UDP', udp, 'closed'],
] as const) {
  describe(`the PROXY protocol in front of ${name}`, () => {
    const family = name === 'UDP' ? '12' : '11'

    test('says for whom it speaks, and the access list holds for that', async () => {
      assert.equal(await ask(header('192.0.2.7', family)), 'answer')
      assert.equal(await ask(header('198.51.100.7', family)), refusal)
      if (name !== 'UDP') assert.equal(await ask(line('192.0.2.7')), 'answer')
      if (name !== 'UDP') assert.equal(await ask(line('198.51.100.7')), refusal)
    })

    test('may say that the load balancer speaks for itself, which the access list does not have', async () => {
      assert.equal(await ask(LOCAL), refusal)
    })

    test('has to be there, whole and right', async () => {
      const before = await dropped('proxy_protocol_error')
      const wrong = header('192.0.2.7', family)
      wrong[12] = 0x31
      for (const first of [Buffer.alloc(0), wrong, header('192.0.2.7', name === 'UDP' ? '11' : '12')])
        assert.equal(await ask(first), 'closed')
      assert.equal((await dropped('proxy_protocol_error')) - before, 3)
    })

    test('is taken from nobody else', async () => {
      const before = await dropped('proxy_protocol_untrusted', wary)
      assert.equal(await ask(header('192.0.2.7', family), wary), 'closed')
      assert.equal((await dropped('proxy_protocol_untrusted', wary)) - before, 1)
    })
  })
}

test('a header may come octet by octet, and TLS right behind it', async () => {
  const { host, port } = gateway.dot
  const socket = connect(port, host)
  await once(socket, 'connect')
  socket.setNoDelay(true)
  for (const octet of header('192.0.2.7')) {
    socket.write(Uint8Array.of(octet))
    await turn()
  }
  const secured = connectTls({ socket, servername: 'localhost', ca: gateway.ca, ALPNProtocols: ['dot'] })
  assert.equal((await exchange(secured, QUERY)).kind, 'answer')
})

test('a load balancer that leaves before its header is whole is not waited for', async () => {
  const before = await drops(gateway)
  for (const place of [gateway.dns, gateway.dot, gateway.doh]) {
    for (const first of [Buffer.alloc(0), header('192.0.2.7').subarray(0, 10)]) {
      const socket = connect(place.port, place.host)
      const closed = once(socket, 'close')
      socket.resume().end(first)
      await closed
    }
  }
  assert.deepEqual([(await drops(gateway)) - before, await dropped('proxy_protocol_timeout')], [0, 0])
})

test('a header may take five seconds', () => {
  let now = 0
  const wheel = new Wheel(() => now)
  const counted: Failure[] = []
  const socket = new PassThrough() as unknown as Socket
  const onHeader = () => assert.fail('half of it')
  new ProxiedConnection(socket, {
    clock: () => now,
    wheel,
    timeoutMs: 5000,
    dropped: (failure) => void counted.push(failure),
    onHeader,
  }).start()
  socket.emit('data', header('192.0.2.7').subarray(0, 10))
  now = 4990
  wheel.advance(now)
  assert.equal(socket.destroyed, false)
  now = 5010
  wheel.advance(now)
  assert.deepEqual([socket.destroyed, counted], [true, [Failure.proxy_protocol_timeout]])
})

test('the limit of connections holds for clients, not for their load balancer', async () => {
  await using strict = await start('127.0.0.0/8', { connectionsPerClient: 1 })
  const first = await secure(strict.dot, header('192.0.2.1'), 'dot', strict)
  const second = await secure(strict.dot, header('192.0.2.2'), 'dot', strict)
  assert.ok(first !== null && second !== null)
  assert.equal(await dot(header('192.0.2.1'), strict), 'closed')
  assert.equal(await dropped('connection_limit', strict), 1)
  first.destroy()
  await until(async () => (await metric(strict, 'atlas_connections{transport="dot"}')) <= 1)
  assert.equal(await dot(header('192.0.2.1'), strict), 'answer')
  second.destroy()
})

test('a header on an address that has none is garbage', async () => {
  await using plain = await runGateway([upstream.endpoint])
  assert.equal(await dot(header('127.0.0.1'), plain), 'closed')
  assert.equal(await dropped('handshake_failed', plain), 1)
})

// conformance PX7
test('a header on plain TCP that has none announces a long message: nothing behind it is answered', async () => {
  const idle = { streamMs: 500, httpMs: 5000, quicMs: 5000 }
  await using plain = await runGateway([upstream.endpoint], { limits: { ...LIMITS, idle } })
  for (const first of [header('127.0.0.1'), line('127.0.0.1')]) assert.equal(await tcp(first, plain), 'closed')
  assert.equal(await metric(plain, 'atlas_queries_total{transport="tcp"}'), 0)
})

// conformance CK-11: a cookie for the load balancer would be one for everybody behind it
test('a DNS cookie belongs to the client that the header names', async () => {
  const CLIENT_COOKIE = '2464c4abcf10c957'
  const socket = createSocket('udp4')
  socket.connect(gateway.dns.port, gateway.dns.host)
  await once(socket, 'connect')
  const learn = async (address: string, cookie: string) => {
    const opt = `000a${(cookie.length / 2).toString(16).padStart(4, '0')}${cookie}`
    socket.send(Buffer.concat([header(address, '12'), question({ name: 'www.example.com', opt })]))
    const [reply] = (await once(socket, 'message')) as [Buffer]
    const at = reply.indexOf(hex('000a0018')) + 4
    return reply.toString('hex', at, at + 24)
  }
  const cookie = await learn('192.0.2.7', CLIENT_COOKIE)
  assert.equal(await learn('192.0.2.7', cookie), cookie)
  assert.notEqual(await learn('192.0.2.8', cookie), cookie)
  socket.close()
})
