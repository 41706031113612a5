import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { connect as tlsConnect } from 'node:tls'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Config } from '../../gateway/config/config.ts'
import type { Endpoint } from '../../net/address.ts'
import { CLIENTS } from './clients.ts'
import { LIMITS, runGateway, type TestGateway, testConfig, upstreamConfig } from './gateway.ts'
import { aRecord, question, record, response } from './messages.ts'
import { type Scrape, untilMetrics } from './metrics.ts'
import { dnsServer, type Handler } from './servers.ts'

const MEBIBYTE = 1_048_576
/** Octets of the records behind a name with "big" in it: more than one answer fits into a segment, fewer than into a page of the cache. */
const BIG_OCTETS = 7000
/** RFC 6895 §3.1: for private use, so that any octets are well-formed. */
export const OPAQUE = 65_280

export interface FaultStand extends AsyncDisposable {
  readonly gateway: TestGateway
  readonly upstream: Awaited<ReturnType<typeof dnsServer>>
  /** Answers that the upstream owes: those to names with "slow" in them. */
  readonly owed: (() => void)[]
}

/** A handshake may take long where the test is not about that: this machine may have much else to do. */
export const FAULT_TIMEOUTS: Config['timeouts'] = { queryMs: 30_000, handshakeMs: 20_000, drainMs: 5000 }

/** A gateway for clients that mean harm, with short deadlines and room for their connections, and a resolver behind it. */
export async function openFaultStand(rest: Partial<Config> = {}): Promise<FaultStand> {
  const owed: (() => void)[] = []
  const handler: Handler = (query, reply) => {
    const answers = query.includes('big') ? [record({ type: OPAQUE, rdata: Buffer.alloc(BIG_OCTETS) })] : [aRecord()]
    const send = () => reply(response(query, { answers }))
    if (query.includes('slow')) owed.push(send)
    else send()
  }
  const upstream = await dnsServer(handler)
  const { listen, doh } = testConfig([])
  const gateway = await runGateway([], {
    listen: { ...listen, doq: [] },
    doh: { ...doh, http3: false },
    upstreams: [upstreamConfig(upstream.endpoint, { name: 'resolver', protocol: 'tcp' })],
    limits: { ...LIMITS, connectionsPerClient: 5000, idle: { streamMs: 1500, httpMs: 1500, quicMs: 1500 } },
    timeouts: FAULT_TIMEOUTS,
    log: { level: 'fatal', queries: { kind: 'share', share: 0 } },
    ...rest,
  })
  return {
    gateway,
    upstream,
    owed,
    async [Symbol.asyncDispose]() {
      await gateway[Symbol.asyncDispose]()
      await upstream[Symbol.asyncDispose]()
    },
  }
}

/** Calls `open` so many times, one after the other: with gateway and client on one thread nothing else is faster. */
export async function openMany<T>(count: number, open: (index: number) => Promise<T>): Promise<T[]> {
  const opened: T[] = []
  for (let index = 0; index < count; index++) opened.push(await open(index))
  return opened
}

export interface ClientManners {
  /** It does not end its side when the gateway has ended its own. */
  readonly neverEnds?: boolean
}

/** A bare connection: whatever becomes of it is no error, and nothing of it is read unless somebody does. */
export async function openBare({ host, port }: Endpoint, { neverEnds = false }: ClientManners = {}): Promise<Socket> {
  const socket = connect({ port, host, allowHalfOpen: neverEnds })
  socket.on('error', () => {})
  await once(socket, 'connect')
  socket.setNoDelay(true)
  return socket
}

/** Resolves when a connection has ended, however that was. */
export function ended(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.once('close', () => resolve())
  })
}

/** A connection of a client, and the TCP below it, which can be reset. */
export interface FaultClient {
  readonly raw: Socket
  readonly stream: Socket
}

export interface SecureManners extends ClientManners {
  readonly endpoint: Endpoint
  readonly protocol: string
}

export async function openSecure({ ca }: TestGateway, { endpoint, protocol, ...manners }: SecureManners): Promise<FaultClient> {
  const raw = await openBare(endpoint, manners)
  const stream = tlsConnect({ socket: raw, servername: 'localhost', ca, ALPNProtocols: [protocol] })
  stream.on('error', () => {})
  await once(stream, 'secureConnect')
  return { raw, stream }
}

async function openPlain({ dns }: TestGateway, manners: ClientManners = {}): Promise<FaultClient> {
  const raw = await openBare(dns, manners)
  return { raw, stream: raw }
}

/** Length-prefixed DNS, by transport. */
export const STREAMS = {
  tcp: openPlain,
  dot: (gateway: TestGateway, manners: ClientManners = {}) => openSecure(gateway, { ...manners, endpoint: gateway.dot, protocol: 'dot' }),
} as const

/** What a TLS client says first to a gateway. */
export async function clientHello(): Promise<Buffer> {
  const server = createServer()
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  const client = tlsConnect({ host: '127.0.0.1', port, servername: 'localhost', ALPNProtocols: ['dot'] })
  client.on('error', () => {})
  const [socket] = (await once(server, 'connection')) as [Socket]
  const [hello] = (await once(socket, 'data')) as [Buffer]
  client.destroy()
  socket.destroy()
  server.close()
  return hello
}

/** Their connections live on when their clients have gone, so that nobody could say when nothing is left. */
const OVER_QUIC = new Set(['doq', 'doh3'])
let asked = 0

/** Clients that mean well, one on every transport but QUIC: each is answered, whatever others do meanwhile. */
export async function assertOthersAreAnswered(gateway: TestGateway): Promise<void> {
  for (const { name, send } of CLIENTS.filter(({ name }) => !OVER_QUIC.has(name))) {
    const { kind } = await send(gateway, question({ name: `other${asked++}.example` }))
    assert.equal(kind, 'answer', name)
  }
}

/** Waits until the gateway has nothing left of any client; then what it has counted. */
export async function untilNothingIsLeft(gateway: TestGateway): Promise<Scrape> {
  return untilMetrics(gateway, (now) => now.sum('atlas_connections') === 0 && now.value('atlas_queries_open') === 0, 'nothing is left')
}

/** What was dropped in between, by reason. */
export function dropsBetween(before: Scrape, after: Scrape): Record<string, number> {
  const changes = Object.entries(after.drops).map(([reason, count]) => [reason, count - (before.drops[reason] ?? 0)] as const)
  return Object.fromEntries(changes.filter(([, change]) => change > 0))
}

const collectGarbage = (() => {
  setFlagsFromString('--expose-gc')
  return runInNewContext('gc') as () => void
})()

/** Mebibytes that this process holds, of gateway and clients together: what is garbage is not among them. */
export function heldMebibytes(): number {
  collectGarbage()
  const { heapUsed, external } = process.memoryUsage()
  return (heapUsed + external) / MEBIBYTE
}
