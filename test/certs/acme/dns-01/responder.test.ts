import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect } from 'node:net'
import test, { type TestContext } from 'node:test'
import { aliasTarget } from '../../../../certs/acme/dns-01/record.ts'
import { createDnsSolver } from '../../../../certs/acme/dns-01/solver.ts'
import type { TransportMeter } from '../../../../dns/contracts.ts'
import { parseNameText } from '../../../../dns/text-name.ts'
import { dnsClient } from '../../../../gateway/assembly/dns-client.ts'
import { DnsZoneServer } from '../../../../gateway/assembly/zone-server.ts'
import { createLog } from '../../../../gateway/log.ts'
import { hex, type QuestionParts, question, vector, wireName } from '../../../harness/messages.ts'
import { frame } from '../../../harness/servers.ts'
import { challengeFor, dependencies, txtOf } from './challenges.ts'

const ZONE = 'acme.example.net'
const CHALLENGE = challengeFor('www.example.net')
const NAME = `www.example.net.${ZONE}`
const LISTEN = [{ host: '127.0.0.1', port: 0 }]

async function responder(t: TestContext) {
  const dropped: string[] = []
  const meter: TransportMeter = {
    connectionOpened: () => {},
    connectionClosed: () => {},
    handshake: () => {},
    dropped: ({ code }) => dropped.push(code),
  }
  let now = 1_000_000
  const zoneServer = new DnsZoneServer({ clock: () => now, meter: () => meter, log: createLog('fatal') })
  const host = { name: 'dns.example.net' }
  const open = (rest: { zone?: string; listen?: typeof LISTEN } = {}) =>
    createDnsSolver({ kind: 'responder', zone: ZONE, listen: LISTEN, ...rest }, dependencies({ zoneServer, nameServer: () => host.name }))
  const solver = await open()
  t.after(() => solver.close())
  const [endpoint = { host: '', port: 0 }] = zoneServer.endpoints
  // where the kernel chooses the port it may choose again
  const over = async (transport: 'udp' | 'tcp', message: Uint8Array): Promise<Message> =>
    read(Buffer.from(await dnsClient[transport](zoneServer.endpoints[0] ?? endpoint, message, AbortSignal.timeout(5000))))
  const ask = (name: string, type: number, rest: Partial<QuestionParts> = {}) => over('udp', question({ name, type, flags: 0, ...rest }))
  return { solver, host, open, zoneServer, endpoint, over, ask, dropped, advance: (ms: number) => (now += ms) }
}

interface Message {
  readonly bytes: Buffer
  readonly flags: number
  readonly rcode: number
  /** Question, answers, authorities, additionals. */
  readonly counts: readonly number[]
  /** All TXT values in it. */
  readonly texts: readonly string[]
}

function read(bytes: Buffer): Message {
  const flags = bytes.readUInt16BE(2)
  // TXT, IN, TTL 1, 44 octets, of which 43 are a string
  const parts = bytes.toString('latin1').split(hex('0010 0001 00000001 002c 2b').toString('latin1'))
  const texts = parts.slice(1).map((part) => part.slice(0, 43))
  return { bytes, flags, rcode: flags & 15, counts: [4, 6, 8, 10].map((at) => bytes.readUInt16BE(at)), texts }
}

const [A, NS, SOA, TXT, DS, CAA, ANY, AXFR, IXFR] = [1, 2, 6, 16, 43, 257, 255, 252, 251]
/** QR, AA; no RA. */
const AUTHORITATIVE = 0x8400

test('a pending challenge is shown with AA and without RA, at the name that the alias leads to', async (t) => {
  const { solver, ask, over } = await responder(t)
  assert.equal(aliasTarget('www.example.net', ZONE), NAME)
  const wildcard = challengeFor('www.example.net', 'other')
  await solver.present(CHALLENGE)
  assert.deepEqual((await ask(NAME, TXT)).texts, [txtOf(CHALLENGE)])
  await solver.present(wildcard)
  const both = await ask(NAME, TXT)
  assert.deepEqual(both.texts, [txtOf(CHALLENGE), txtOf(wildcard)])
  assert.deepEqual([both.flags, both.counts], [AUTHORITATIVE, [1, 2, 0, 0]])
  // RD is copied, and means nothing; letters keep their case (0x20)
  const mixed = await over('tcp', question({ name: NAME.toUpperCase(), type: TXT, flags: 0x0100, opt: '' }))
  assert.deepEqual([mixed.flags, mixed.counts], [AUTHORITATIVE | 0x0100, [1, 2, 0, 1]])
  assert.ok(mixed.bytes.includes(wireName(NAME.toUpperCase())))
  await solver.remove(CHALLENGE)
  assert.deepEqual((await ask(NAME, TXT)).texts, [txtOf(wildcard)])
  await solver.remove(wildcard)
  assert.deepEqual((await ask(NAME, TXT)).counts, [1, 0, 1, 0])
})

test('the apex has SOA and NS; all names in the zone exist, with nothing but challenges', async (t) => {
  const { solver, host, ask } = await responder(t)
  await solver.present(CHALLENGE)
  const soa = await ask(ZONE, SOA)
  assert.deepEqual([soa.flags, soa.counts], [AUTHORITATIVE, [1, 1, 0, 0]])
  assert.ok(soa.bytes.includes(Buffer.concat([wireName('dns.example.net'), wireName(`hostmaster.${ZONE}`)])))
  const ns = await ask(ZONE, NS)
  assert.deepEqual(ns.counts, [1, 1, 0, 0])
  assert.ok(ns.bytes.subarray(-17).equals(wireName('dns.example.net')))
  host.name = 'ns.example.org'
  assert.ok((await ask(ZONE, NS)).bytes.subarray(-16).equals(wireName('ns.example.org')), 'it is called something else by now')
  // RFC 9156: names on the way are asked for by other types; RFC 8020: what is not there yet denies nothing below it
  const empty: readonly (readonly [string, number])[] = [
    ...[A, TXT, DS, CAA].map((type) => [ZONE, type] as const),
    ...['net', 'example.net', 'nothing', `_.${NAME.replace(`.${ZONE}`, '')}`].flatMap((name) =>
      [A, NS, TXT, CAA].map((type) => [`${name}.${ZONE}`, type] as const),
    ),
    ...[A, NS, SOA, CAA].map((type) => [NAME, type] as const),
  ]
  for (const [name, type] of empty) {
    const { flags, counts, bytes } = await ask(name, type)
    assert.deepEqual([flags, counts], [AUTHORITATIVE, [1, 0, 1, 0]], `${name} ${type}`)
    // RFC 2308 §5: forgotten after a second: the TTL of the SOA record, and its MINIMUM
    assert.ok(bytes.includes(Buffer.concat([wireName(ZONE), hex('0006000100000001')])))
    assert.equal(bytes.readUInt32BE(bytes.length - 4), 1)
  }
})

test('what is not in the zone is refused, and so is what is not served', async (t) => {
  const { ask, over } = await responder(t)
  for (const name of ['example.net', 'net', '', 'xacme.example.net', 'example.org']) {
    const { flags, counts } = await ask(name, TXT)
    assert.deepEqual([flags, counts], [0x8005, [1, 0, 0, 0]], name)
  }
  for (const type of [AXFR, IXFR]) {
    assert.equal((await ask(ZONE, type)).flags, 0x8005)
    assert.equal((await over('tcp', question({ name: ZONE, type, flags: 0 }))).flags, 0x8005)
  }
  // CHAOS, and every other class
  assert.equal((await ask('version.bind', TXT, { class: 3 })).rcode, 5)
  assert.equal((await ask(ZONE, SOA, { class: 255 })).rcode, 5)
  // RFC 8482: over UDP, ask again over TCP; there one of what is there
  assert.deepEqual((await ask(ZONE, ANY)).flags & 0x0200, 0x0200)
  const any = await over('tcp', question({ name: ZONE, type: ANY, flags: 0 }))
  assert.deepEqual([any.flags, any.counts], [AUTHORITATIVE, [1, 1, 0, 0]])
})

test('bad messages are answered as everywhere, without RA', async (t) => {
  const { over, endpoint } = await responder(t)
  const reactions: readonly [string, number][] = [
    ['V06', 1],
    ['V09', 1],
    ['V10', 1],
    ['V05', 1],
    ['V27', 1],
    ['V36', 1],
    ['V22', 4],
    ['V23', 4],
  ]
  for (const [id, rcode] of reactions) {
    const reply = await raw(endpoint, vector(id))
    assert.deepEqual([reply.readUInt16BE(2) & 0x000f, reply.readUInt16BE(2) & 0x0480], [rcode, 0], id)
  }
  // BADVERS: the rest of its RCODE is in the OPT record
  const badVersion = await raw(endpoint, vector('V04'))
  assert.equal(badVersion.readUInt8(badVersion.length - 6), 1)
  assert.deepEqual((await over('udp', question({ name: ZONE, type: SOA, opt: '' }))).counts, [1, 1, 0, 1])
})

/** What comes back over UDP. */
async function raw({ host, port }: { host: string; port: number }, ...messages: readonly Uint8Array[]): Promise<Buffer> {
  const socket = createSocket('udp4')
  const received = once(socket, 'message')
  for (const message of messages) socket.send(message, port, host)
  const [reply] = (await received) as [Buffer]
  socket.close()
  return reply
}

test('what cannot be answered is met with silence, and the next question with its answer', async (t) => {
  const { endpoint, dropped } = await responder(t)
  // a response, a fragment of a header, nothing at all: the first answer is that to the last message
  const reply = await raw(endpoint, vector('V12'), hex('12340100'), Buffer.alloc(0), question({ name: ZONE, type: SOA, id: 0x4711 }))
  assert.equal(reply.readUInt16BE(0), 0x4711)
  assert.deepEqual(dropped.toSorted(), ['message_too_short', 'message_too_short', 'not_a_query'])
})

test('who asks too much over UDP is told to ask over TCP now and then; that is counted', async (t) => {
  const { endpoint, dropped, advance } = await responder(t)
  const socket = createSocket('udp4')
  t.after(() => socket.close())
  socket.bind()
  await once(socket, 'listening')
  const flags: number[] = []
  socket.on('message', (message) => flags.push(message.readUInt16BE(2)))
  const query = question({ name: ZONE, type: SOA, flags: 0 })
  for (let sent = 0; sent < 200; sent++) {
    socket.send(query, endpoint.port, endpoint.host)
    await new Promise((resolve) => setImmediate(resolve))
  }
  while (flags.length + dropped.length < 200) await new Promise((resolve) => setImmediate(resolve))
  assert.ok(flags.filter((each) => each === AUTHORITATIVE).length <= 51)
  assert.ok(flags.some((each) => (each & 0x0200) !== 0))
  assert.ok(dropped.every((code) => code === 'rate_limited') && dropped.length >= 70, String(dropped.length))
  advance(10_000)
  assert.equal((await raw(endpoint, query)).readUInt16BE(2), AUTHORITATIVE)
})

test('connections are bounded, and questions on one are answered in one go', async (t) => {
  const { endpoint, dropped } = await responder(t)
  const open = async () => {
    const socket = connect(endpoint.port, endpoint.host)
    t.after(() => socket.destroy())
    socket.on('error', () => {})
    await once(socket, 'connect')
    return socket
  }
  const sockets = []
  for (let i = 0; i < 10; i++) sockets.push(await open())
  // they are in once they are answered
  for (const socket of sockets) {
    socket.write(Buffer.concat([frame(question({ name: ZONE, type: SOA })), frame(question({ name: NAME, type: TXT }))]))
    await once(socket, 'data')
  }
  const eleventh = await open()
  await once(eleventh, 'close')
  assert.deepEqual(dropped, ['connection_limit'])
  // no length that is shorter than a header marks where the next message begins
  const [first] = sockets
  assert.ok(first)
  first.write(hex('0001 00'))
  await once(first, 'end')
  assert.ok(dropped.includes('frame_too_short'))
})

test('several solvers may have the same zone and the same addresses, and each takes away only its own', async (t) => {
  const { solver, open, zoneServer, endpoint, ask } = await responder(t)
  const second = await open({ listen: [endpoint] })
  const other = await open({ zone: 'other.example.org', listen: [endpoint] })
  const mine = challengeFor('www.example.net', 'mine')
  await Promise.all([solver.present(CHALLENGE), second.present(CHALLENGE), second.present(mine), other.present(CHALLENGE)])
  assert.deepEqual((await ask('www.example.net.other.example.org', TXT)).texts, [txtOf(CHALLENGE)])
  await second.remove(CHALLENGE)
  assert.deepEqual((await ask(NAME, TXT)).texts, [txtOf(CHALLENGE), txtOf(mine)])
  await other.close()
  assert.equal((await ask('www.example.net.other.example.org', TXT)).rcode, 5)
  await solver.close()
  assert.deepEqual((await ask(NAME, TXT)).texts.includes(txtOf(mine)), true)
  await second.close()
  assert.deepEqual(zoneServer.endpoints, [])
})

test('an address that somebody else has is said so, and nothing is left behind', async (t) => {
  const { open, ask } = await responder(t)
  const socket = createSocket('udp4')
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  t.after(() => socket.close())
  const { port } = socket.address()
  await assert.rejects(open({ zone: 'other.example.org', listen: [{ host: '127.0.0.1', port }] }), { code: 'ATLAS_LISTEN' })
  // of the two halves TCP could be bound
  const client = connect(port, '127.0.0.1')
  t.after(() => client.destroy())
  await assert.rejects(once(client, 'connect'), { code: 'ECONNREFUSED' })
  assert.equal((await ask('other.example.org', SOA)).rcode, 5)
  assert.equal((await ask(ZONE, SOA)).flags, AUTHORITATIVE)
})

test('aliasTarget() is a name for every name and zone', async (t) => {
  const label = 'a'.repeat(60)
  const long = [label, label, label, 'net'].join('.')
  const zone = `${label}.${label}.net`
  assert.match(aliasTarget(long, zone), new RegExp(`^[0-9a-f]{32}\\.${zone}$`))
  assert.notEqual(aliasTarget(long, zone), aliasTarget(`b${long.slice(1)}`, zone))
  assert.ok(parseNameText(aliasTarget(long, zone)))
  const { open } = await responder(t)
  const solver = await open({ zone })
  t.after(() => solver.close())
  await solver.present(challengeFor(long))
  await assert.rejects(open({ zone: [label, label, label, label.slice(0, 50)].join('.') }), { message: /expected at most 220 characters/ })
})
