import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import { type AddressInfo, connect, type Socket, createServer as tcpServer } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { type Client, NO_KEEPALIVE, TRANSPORTS } from '../../../dns/contracts.ts'
import { parseAddress } from '../../../net/address.ts'
import type { Field } from '../../../net/fields.ts'
import { Wheel } from '../../../net/wheel.ts'
import type { WebExchange, WebReceiver, WebRequest } from '../../../transports/web/exchange.ts'
import type { ProxyFailure } from '../../../transports/web/failures.ts'
import { Http1WebExchange } from '../../../transports/web/http1-exchange.ts'
import { Http1WebTunnel } from '../../../transports/web/http1-tunnel.ts'
import { ReverseProxy } from '../../../transports/web/proxy.ts'
import type { OriginObserver } from '../../../transports/web/reachability.ts'

export const CLIENT: Client = {
  traits: TRANSPORTS.doh2,
  address: '192.0.2.7',
  octets: parseAddress('192.0.2.7') as Uint8Array,
  port: 1234,
  holder: null,
  refusal: null,
  keepalive: NO_KEEPALIVE,
}

/** A proxy on a clock that is turned by hand, behind a front on HTTP/1.1. `origin`: its port on 127.0.0.1, or its URL. */
export async function runProxy(origin: number | URL, client = CLIENT) {
  let now = 0
  const counts: ProxyFailure[] = []
  /** What was said of the origin. */
  const states: string[] = []
  const wheel = new Wheel(() => now)
  const url = typeof origin === 'number' ? new URL(`http://127.0.0.1:${origin}`) : origin
  const observer: OriginObserver = {
    lost: (from, reason) => void states.push(`lost ${from}: ${reason}`),
    found: (from) => void states.push(`found ${from}`),
  }
  const count = (failure: ProxyFailure) => void counts.push(failure)
  const proxy = await ReverseProxy.open({ origin: url, clock: () => now, wheel, observer, count })
  const exchanges: WebExchange[] = []
  const serve = (exchange: WebExchange) => {
    exchanges.push(exchange)
    proxy.serve(exchange)
  }
  const front = createServer({ shouldUpgradeCallback: ({ headers }) => headers.upgrade !== undefined }, (message, response) =>
    serve(new Http1WebExchange(message, response, { client, authority: message.headers.host ?? '', target: message.url ?? '' })),
  )
  front.on('upgrade', (message, socket, head) =>
    serve(new Http1WebTunnel(message, socket, head, { client, authority: message.headers.host ?? '', target: message.url ?? '' })),
  )
  const port = await listen(front)
  return {
    port,
    proxy,
    wheel,
    counts,
    states,
    exchanges,
    advance: (ms: number) => {
      now += ms
      wheel.advance(now)
    },
    async [Symbol.asyncDispose]() {
      await proxy.close()
      front.closeAllConnections()
      front.close()
    },
  }
}

export type TestProxy = Awaited<ReturnType<typeof runProxy>>

export async function runOrigin(handler: RequestListener) {
  const server = createServer(handler)
  const port = await listen(server)
  return {
    port,
    server,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
    },
  }
}

/** An origin that keeps what it gets, octet by octet, and answers what it is told to. */
export async function rawOrigin(onOctets: (connection: RawConnection) => void = () => {}, allowHalfOpen = false) {
  const connections: RawConnection[] = []
  const server = tcpServer({ allowHalfOpen }, (socket) => {
    const connection: RawConnection = { socket, text: '', closed: false }
    connections.push(connection)
    socket.on('error', () => {})
    socket.on('close', () => {
      connection.closed = true
    })
    socket.on('data', (chunk) => {
      connection.text += chunk.toString('latin1')
      onOctets(connection)
    })
  })
  const start = async (at: number) => {
    server.listen(at, '127.0.0.1')
    await once(server, 'listening')
    return (server.address() as AddressInfo).port
  }
  const stop = async () => {
    for (const { socket } of connections) socket.destroy()
    if (!server.listening) return
    server.close()
    await once(server, 'close')
  }
  const port = await start(0)
  return { port, connections, stop, start: () => start(port), [Symbol.asyncDispose]: stop }
}

export interface RawConnection {
  readonly socket: Socket
  /** What it has sent so far. */
  text: string
  closed: boolean
}

/** A client that writes octets as they are. */
export async function rawClient(port: number, text = '', allowHalfOpen = false): Promise<RawConnection> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen })
  const connection: RawConnection = { socket, text: '', closed: false }
  socket.on('error', () => {})
  socket.on('data', (chunk) => {
    connection.text += chunk.toString('latin1')
  })
  socket.on('close', () => {
    connection.closed = true
  })
  await once(socket, 'connect')
  socket.write(text, 'latin1')
  return connection
}

/** Waits, turn by turn, for what other sockets of this process bring about. */
export async function until(condition: () => boolean, what = String(condition)): Promise<void> {
  const end = performance.now() + 10_000
  while (!condition()) {
    assert.ok(performance.now() < end, `Cannot wait longer: expected: ${what}`)
    await turn()
  }
}

/** Gives everything that is under way on loopback the time to arrive: many turns of the event loop in which nothing changes. */
export async function quiet(measure: () => number): Promise<number> {
  for (let still = 0, last = measure(); still < 400; still++) {
    await turn()
    const value = measure()
    if (value !== last) still = 0
    last = value
  }
  return measure()
}

async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** An exchange of which the test is the client. */
export class FakeExchange implements WebExchange {
  readonly request: WebRequest
  receiver: WebReceiver | null = null
  status = 0
  fields: readonly Field[] = []
  readonly interim: [status: number, fields: readonly Field[]][] = []
  readonly chunks: Uint8Array[] = []
  trailers: readonly Field[] = []
  ended = false
  /** The head was all there is. */
  endedByHead = false
  aborted = false
  consumedOctets = 0
  /** What write() says. */
  takesMore = true

  constructor(request: Partial<WebRequest> = {}) {
    this.request = {
      method: 'GET',
      target: '/',
      authority: 'dns.example',
      fields: [],
      client: CLIENT,
      version: '2',
      protocol: null,
      hasContent: false,
      ...request,
    }
  }

  get content(): string {
    return Buffer.concat(this.chunks).toString('latin1')
  }

  value(name: string): string | undefined {
    return this.fields.find((field) => field[0] === name)?.[1]
  }

  receive(receiver: WebReceiver): void {
    this.receiver = receiver
  }

  consumed(octets: number): void {
    this.consumedOctets += octets
  }

  respond(status: number, fields: readonly Field[], end: boolean): void {
    assert.equal(this.status, 0, 'one response only')
    this.status = status
    this.fields = fields
    this.ended = this.endedByHead = end
  }

  inform(status: number, fields: readonly Field[]): void {
    this.interim.push([status, fields])
  }

  write(chunk: Uint8Array): boolean {
    assert.ok(this.status > 0 && !this.ended && !this.aborted)
    this.chunks.push(chunk)
    return this.takesMore
  }

  end(trailers: readonly Field[]): void {
    assert.ok(this.status > 0 && !this.ended && !this.aborted)
    this.trailers = trailers
    this.ended = true
  }

  abort(): void {
    assert.ok(!this.ended && !this.aborted)
    this.aborted = true
  }
}
