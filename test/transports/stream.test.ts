import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import test, { after, before, describe } from 'node:test'
import { connect as tlsConnect } from 'node:tls'
import type { Config } from '../../gateway/config/config.ts'
import { Deframer } from '../../net/framing.ts'
import { openTcp, openTls } from '../harness/clients.ts'
import { LIMITS, runGateway, type TestGateway, TLS, testConfig } from '../harness/gateway.ts'
import { aRecord, question, record, response, vector } from '../harness/messages.ts'
import { dnsServer, frame } from '../harness/servers.ts'

const OPENERS = { tcp: openTcp, dot: openTls } as const
const IMPATIENT: Partial<Config> = {
  limits: { ...LIMITS, connectionsPerClient: 5, inFlightPerConnection: 100, idle: { streamMs: 1000, httpMs: 1000, quicMs: 1000 } },
}

let upstream: Awaited<ReturnType<typeof dnsServer>>
let gateway: TestGateway
let impatient: TestGateway
/** Answers held back for names that begin with "slow". */
let held: (() => void)[] = []

before(async () => {
  upstream = await dnsServer((query, reply) => {
    const send = () => reply(response(query, { answers: [aRecord()] }))
    if (query.includes('slow')) held.push(send)
    else if (query.includes('big')) reply(response(query, { flags: 0x8380 }))
    else send()
  })
  upstream.tcp.handler = (query, reply) => {
    const texts = Array.from({ length: 500 }, () => record({ type: 16, rdata: Buffer.concat([Buffer.from([100]), Buffer.alloc(100)]) }))
    const send = () => reply(response(query, { answers: texts }))
    // a thousand questions at once go over TCP (ADR 26), and those that come soon after them
    if (query.includes('slow')) held.push(send)
    else send()
  }
  gateway = await runGateway([upstream.endpoint])
  impatient = await runGateway([upstream.endpoint], IMPATIENT)
})
after(async () => {
  await gateway[Symbol.asyncDispose]()
  await impatient[Symbol.asyncDispose]()
  await upstream[Symbol.asyncDispose]()
})

/** Collects messages until `count` have come or the connection ends. */
async function collect(socket: Socket, count: number): Promise<Buffer[]> {
  const deframer = new Deframer()
  const messages: Buffer[] = []
  return new Promise((resolve) => {
    socket.on('data', (chunk: Buffer) => {
      deframer.push(chunk)
      for (let message = deframer.next(); message !== null; message = deframer.next()) messages.push(Buffer.from(message))
      if (messages.length >= count) resolve(messages)
    })
    socket.on('error', () => {})
    socket.on('close', () => resolve(messages))
    socket.on('end', () => resolve(messages))
  })
}

/** Reads the lengths of TLS records off what passes by. */
function recordLengths(): (chunk: Buffer) => number[] {
  let rest = Buffer.alloc(0)
  return (chunk) => {
    rest = Buffer.concat([rest, chunk])
    const lengths: number[] = []
    while (rest.length >= 5 && rest.length >= 5 + rest.readUInt16BE(3)) {
      lengths.push(rest.readUInt16BE(3))
      rest = rest.subarray(5 + rest.readUInt16BE(3))
    }
    return lengths
  }
}

const ids = (messages: readonly Buffer[]) => messages.map((message) => message.readUInt16BE(0))

for (const [name, open] of Object.entries(OPENERS)) {
  describe(`over ${name}`, () => {
    test('a thousand queries in one write are all answered', async () => {
      const socket = await open(gateway)
      const wanted = Array.from({ length: 1000 }, (_, id) => id)
      socket.write(Buffer.concat(wanted.map((id) => frame(question({ name: `n${id}.example`, id })))))
      const messages = await collect(socket, 1000)
      assert.deepEqual(
        ids(messages).toSorted((a, b) => a - b),
        wanted,
      )
      socket.destroy()
    })

    test('two queries under one id are both answered', async () => {
      const socket = await open(gateway)
      socket.write(Buffer.concat([frame(vector('V02')), frame(vector('V02'))]))
      assert.deepEqual(ids(await collect(socket, 2)), [0x1234, 0x1234])
      socket.destroy()
    })

    test('a slow query does not delay a fast one', async () => {
      held = []
      const socket = await open(gateway)
      socket.write(Buffer.concat([frame(question({ name: 'slow.example', id: 1 })), frame(question({ name: 'fast.example', id: 2 }))]))
      assert.deepEqual(ids(await collect(socket, 1)), [2])
      for (const send of held) send()
      assert.deepEqual(ids(await collect(socket, 1)), [1])
      socket.destroy()
    })

    test('a query that comes octet by octet is answered', async () => {
      const socket = await open(gateway)
      const reply = collect(socket, 1)
      for (const octet of frame(vector('V01'))) {
        await new Promise((resolve) => {
          socket.write(Buffer.from([octet]), resolve)
        })
      }
      assert.equal((await reply).length, 1)
      socket.destroy()
    })

    test('a length shorter than a header ends the connection, after what is due', async () => {
      for (const bad of ['0000', '00051234567890']) {
        const socket = await open(gateway)
        socket.write(Buffer.concat([frame(vector('V02')), Buffer.from(bad, 'hex'), frame(vector('V02'))]))
        assert.equal((await collect(socket, 3)).length, 1)
        socket.destroy()
      }
    })

    test('a FIN is no cancellation', async () => {
      held = []
      const socket = await open(gateway)
      socket.end(Buffer.concat([frame(question({ name: 'fast.example', id: 1 })), frame(question({ name: 'slow.example', id: 2 }))]))
      const first = await collect(socket, 1)
      assert.deepEqual(ids(first), [1])
      for (const send of held) send()
      assert.deepEqual(ids(await collect(socket, 1)), [2])
      await once(socket, 'close')
    })

    test('a FIN behind more queries than may be in flight still gets them all answered', async () => {
      const socket = await open(gateway)
      socket.end(Buffer.concat(Array.from({ length: 500 }, (_, id) => frame(question({ name: 'a.example', id })))))
      assert.equal((await collect(socket, 501)).length, 500)
    })

    test('a malformed message among others is answered with FORMERR', async () => {
      const socket = await open(gateway)
      socket.write(Buffer.concat([vector('V02'), vector('V24'), vector('V02')].map(frame)))
      const messages = await collect(socket, 3)
      assert.deepEqual(messages.map((message) => (message[3] ?? 0) & 15).toSorted(), [0, 0, 1])
      socket.destroy()
    })

    test('more than ten malformed messages end the connection', async () => {
      const patient = await open(gateway)
      patient.write(Buffer.concat([...Array.from({ length: 10 }, () => vector('V24')), vector('V02')].map(frame)))
      assert.equal((await collect(patient, 11)).length, 11)
      patient.destroy()
      const socket = await open(gateway)
      socket.write(Buffer.concat(Array.from({ length: 50 }, () => frame(vector('V24')))))
      const messages = await collect(socket, 51)
      assert.ok(messages.length >= 11 && messages.length < 50, String(messages.length))
    })

    test('a client that vanishes disturbs nobody', async () => {
      held = []
      const socket = await open(gateway)
      socket.write(frame(question({ name: 'slow.example' })))
      const other = await open(gateway)
      other.write(frame(vector('V02')))
      await collect(other, 1)
      if (name === 'tcp') socket.resetAndDestroy()
      else socket.destroy()
      for (const send of held) send()
      other.write(frame(vector('V02')))
      assert.equal((await collect(other, 1)).length, 1)
      other.destroy()
    })

    test('a client that does not read is made to wait, and gets everything once it does', async () => {
      const socket = await open(gateway)
      const queries = Array.from({ length: 300 }, (_, id) => frame(question({ name: 'big.example', type: 16, id })))
      socket.pause()
      socket.write(Buffer.concat(queries))
      const other = await open(gateway)
      other.write(frame(vector('V02')))
      assert.equal((await collect(other, 1)).length, 1)
      const all = collect(socket, 300)
      socket.resume()
      const messages = await all
      assert.equal(messages.length, 300)
      assert.ok(messages.every((message) => message.length > 50_000))
      socket.destroy()
      other.destroy()
    })

    test('the idle time counts from the last complete message, not from the last octet', async () => {
      const socket = await open(impatient)
      socket.write(frame(vector('V02')))
      await collect(socket, 1)
      const started = performance.now()
      const dribble = setInterval(() => socket.write(Buffer.from([0xff])), 100)
      await once(socket, 'close')
      clearInterval(dribble)
      const ms = performance.now() - started
      assert.ok(ms > 800 && ms < 4500, `${ms} ms`)
    })

    test('a connection with an open query is not idle', async () => {
      held = []
      const socket = await open(impatient)
      socket.write(frame(question({ name: 'slow.example' })))
      const reply = collect(socket, 1)
      setTimeout(() => {
        for (const send of held) send()
      }, 1500)
      assert.equal((await reply).length, 1)
      socket.destroy()
    })

    test('a client has no more connections than it may', async () => {
      const sockets = await Promise.all(Array.from({ length: 5 }, () => open(impatient)))
      const refused = connect(name === 'tcp' ? impatient.dns.port : impatient.dot.port, '127.0.0.1')
      refused.on('error', () => {})
      refused.resume()
      await once(refused, 'close')
      const [first] = sockets
      first?.destroy()
      if (first !== undefined) await once(first, 'close')
      for (const socket of sockets) socket.destroy()
    })
  })
}

describe('over dot', () => {
  const tls = (options: object) =>
    tlsConnect({ host: gateway.dot.host, port: gateway.dot.port, servername: 'localhost', ca: gateway.ca, ...options })

  test('an ALPN list without dot is refused with alert 120', async () => {
    const socket = tls({ ALPNProtocols: ['h2'] })
    const [error] = (await once(socket, 'error')) as [Error & { code?: string }]
    assert.match(error.message, /no_application_protocol|alert number 120/i)
  })

  test('no ALPN, no server name and an unknown one are accepted', async () => {
    for (const options of [{}, { servername: '' }, { servername: 'unknown.test' }]) {
      const socket = tls({ ...options, checkServerIdentity: () => undefined })
      await once(socket, 'secureConnect')
      socket.write(frame(vector('V02')))
      assert.equal((await collect(socket, 1)).length, 1)
      socket.destroy()
    }
  })

  test('TLS 1.2 is refused unless it is switched on', async () => {
    const socket = tls({ maxVersion: 'TLSv1.2' })
    const [error] = (await once(socket, 'error')) as [Error]
    assert.match(error.message, /protocol version|alert number 70/i)
    await using lenient = await runGateway([upstream.endpoint], { tls: { ...TLS, minVersion: 'TLSv1.2' } })
    const accepted = tlsConnect({
      host: lenient.dot.host,
      port: lenient.dot.port,
      servername: 'localhost',
      ca: lenient.ca,
      maxVersion: 'TLSv1.2',
    })
    await once(accepted, 'secureConnect')
    assert.equal(accepted.getProtocol(), 'TLSv1.2')
    accepted.destroy()
  })

  test('sessions are resumed', async () => {
    const first = tls({})
    const [session] = (await once(first, 'session')) as [Buffer]
    first.destroy()
    const second = tls({ session })
    await once(second, 'secureConnect')
    assert.ok(second.isSessionReused())
    second.destroy()
  })

  test('a few answers at once have a record each, for clients that take one message a time; many share them, then and later', async () => {
    const records: number[] = []
    const tap = createServer((client) => {
      const server = connect(gateway.dot.port, gateway.dot.host)
      client.pipe(server).pipe(client)
      const lengths = recordLengths()
      server.on('data', (chunk: Buffer) => records.push(...lengths(chunk)))
    })
    await once(tap.listen(0, '127.0.0.1'), 'listening')
    const socket = tls({ port: (tap.address() as AddressInfo).port })
    await once(socket, 'session')
    for (const [count, least, most, opt] of [
      [2, 2, 2, '000c0000'],
      [12, 12, 12, '000c0000'],
      [100, 1, 10, '000c0000'],
      [3, 3, 3, ''],
      [100, 1, 10, ''],
    ] as const) {
      records.length = 0
      const wanted = Array.from({ length: count }, (_, id) => frame(question({ id, name: 'localhost', opt })))
      socket.write(Buffer.concat(wanted))
      assert.equal((await collect(socket, count)).length, count)
      assert.ok(records.length >= least && records.length <= most, `${records.length} records for ${count} answers`)
    }
    socket.destroy()
    tap.close()
  })

  test('DNS without TLS gets no DNS back', async () => {
    const socket = connect(gateway.dot.port, gateway.dot.host)
    socket.write(frame(vector('V01')))
    const chunks: Buffer[] = []
    socket.on('data', (chunk: Buffer) => chunks.push(chunk))
    socket.on('error', () => {})
    await once(socket, 'close')
    assert.ok(!Buffer.concat(chunks).includes(vector('V01').subarray(12)))
  })

  test('a handshake that stalls is given up', async () => {
    await using hasty = await runGateway([upstream.endpoint], { timeouts: { ...testConfig([]).timeouts, handshakeMs: 300 } })
    const socket = connect(hasty.dot.port, hasty.dot.host)
    socket.write(Buffer.from('1603010200010001fc0303', 'hex'))
    socket.on('error', () => {})
    socket.resume()
    await once(socket, 'close')
  })
})

test('TLS on the plain port gets no TLS back', async () => {
  const socket = tlsConnect({ host: impatient.dns.host, port: impatient.dns.port, servername: 'localhost' })
  await once(socket, 'error')
})
