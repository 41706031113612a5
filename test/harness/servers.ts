import { createSocket, type RemoteInfo, type Socket as UdpSocket } from 'node:dgram'
import { once } from 'node:events'
import type { IncomingHttpHeaders } from 'node:http'
import {
  createSecureServer,
  type Http2SecureServer,
  type SecureServerOptions,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type TLSSocket, type TlsOptions, type Server as TlsServer } from 'node:tls'
import type { Endpoint } from '../../net/address.ts'
import { Deframer } from '../../net/framing.ts'
import { aRecord, response } from './messages.ts'

/** A DNS server made for one test: gets each query's bytes, answers by calling `reply`, as often as it likes. */
export type Handler = (query: Buffer, reply: (message: Uint8Array) => void, connection: { destroy(): void }) => void

/** Answers every question with an address; what answers names with "slow" in them goes to `hold`, to be sent later. */
export function holding(hold: (send: () => void) => void): Handler {
  return (query, reply) => {
    const send = () => reply(response(query, { answers: [aRecord()] }))
    if (query.includes('slow')) hold(send)
    else send()
  }
}

export interface TestServer extends AsyncDisposable {
  readonly endpoint: Endpoint
  /** Queries seen, in order; without those by which the gateway finds out whether it answers. */
  readonly queries: Buffer[]
  /** Connections accepted (TCP), or source ports seen (UDP). */
  readonly peers: Set<number>
  handler: Handler
}

/** Whether the gateway asks for itself: for the name servers of the root, or for a name that would come back if there was a loop. */
function isProbe(query: Buffer): boolean {
  const isForRoot = query[12] === 0 && query.readUInt16BE(13) === 2
  return isForRoot || (query[12] === 8 && query[21] === 32 && query[54] === 0)
}

export function frame(message: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([message.length >> 8, message.length & 0xff]), message])
}

export async function udpServer(handler: Handler, port = 0, host = '127.0.0.1'): Promise<TestServer> {
  const socket: UdpSocket = createSocket('udp4')
  socket.bind(port, host)
  await once(socket, 'listening')
  const queries: Buffer[] = []
  const peers = new Set<number>()
  const server: TestServer = {
    endpoint: { host, port: socket.address().port },
    queries,
    peers,
    handler,
    async [Symbol.asyncDispose]() {
      await new Promise<void>((resolve) => {
        socket.close(() => resolve())
      })
    },
  }
  socket.on('message', (message: Buffer, from: RemoteInfo) => {
    if (!isProbe(message)) {
      queries.push(message)
      peers.add(from.port)
    }
    server.handler(message, (reply) => socket.send(reply, from.port, from.address), { destroy: () => {} })
  })
  return server
}

export function tcpServer(handler: Handler, port = 0, host = '127.0.0.1'): Promise<StreamTestServer> {
  return streamServer(createServer(), { handler, port, host, event: 'connection' })
}

export interface StreamTestServer extends TestServer {
  /** Open. */
  readonly connections: ReadonlySet<Socket>
}

export interface TlsTestServer extends StreamTestServer {
  readonly listener: TlsServer
  /** Connections in the order of their handshakes. */
  readonly sockets: readonly TLSSocket[]
}

export async function tlsServer(handler: Handler, { port = 0, ...options }: TlsOptions & { port?: number }): Promise<TlsTestServer> {
  const listener = createTlsServer({ ALPNProtocols: ['dot'], ...options })
  const sockets: TLSSocket[] = []
  listener.on('secureConnection', (socket: TLSSocket) => sockets.push(socket))
  listener.on('tlsClientError', () => {})
  return Object.assign(await streamServer(listener, { handler, port, host: '127.0.0.1', event: 'secureConnection' }), { listener, sockets })
}

async function streamServer(
  listener: Server,
  { handler, port, host, event }: { handler: Handler; port: number; host: string; event: 'connection' | 'secureConnection' },
): Promise<StreamTestServer> {
  const sockets = new Set<Socket>()
  const queries: Buffer[] = []
  const peers = new Set<number>()
  listener.on(event, (socket: Socket) => {
    sockets.add(socket)
    peers.add(socket.remotePort ?? 0)
    // each answer is a write of its own: otherwise the second waits for the acknowledgement of the first, which takes 40 ms
    socket.setNoDelay(true)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
    const deframer = new Deframer()
    socket.on('data', (chunk: Buffer) => {
      deframer.push(chunk)
      for (let message = deframer.next(); message !== null; message = deframer.next()) {
        const query = Buffer.from(message)
        if (!isProbe(query)) queries.push(query)
        server.handler(query, (reply) => socket.write(frame(reply)), socket)
      }
    })
  })
  listener.listen(port, host)
  await once(listener, 'listening')
  const server: StreamTestServer = {
    endpoint: { host, port: (listener.address() as AddressInfo).port },
    queries,
    peers,
    connections: sockets,
    handler,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise<void>((resolve) => {
        listener.close(() => resolve())
      })
    },
  }
  return server
}

export interface HttpsTestServer extends TestServer {
  readonly listener: Http2SecureServer
  /** Connections in the order in which they were made. */
  readonly sessions: readonly ServerHttp2Session[]
  readonly requests: readonly IncomingHttpHeaders[]
  /** Serves a request; by default as the handler says. */
  serve: (stream: ServerHttp2Stream, query: Buffer) => void
}

/** DNS over HTTPS by GET over HTTP/2, made from Node's own. */
export async function httpsServer(
  handler: Handler,
  { port = 0, ...options }: SecureServerOptions & { port?: number },
): Promise<HttpsTestServer> {
  const listener = createSecureServer(options)
  const sockets = new Set<Socket>()
  const sessions: ServerHttp2Session[] = []
  const requests: IncomingHttpHeaders[] = []
  const queries: Buffer[] = []
  const peers = new Set<number>()
  listener.on('secureConnection', (socket: TLSSocket) => {
    sockets.add(socket)
    peers.add(socket.remotePort ?? 0)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
  })
  listener.on('tlsClientError', () => {})
  listener.on('sessionError', () => {})
  listener.on('session', (session: ServerHttp2Session) => sessions.push(session))
  listener.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    stream.on('error', () => {})
    requests.push(headers)
    const query = Buffer.from(new URL(String(headers[':path']), 'https://dns.example').searchParams.get('dns') ?? '', 'base64url')
    queries.push(query)
    server.serve(stream, query)
  })
  listener.listen(port, '127.0.0.1')
  await once(listener, 'listening')
  const server: HttpsTestServer = {
    endpoint: { host: '127.0.0.1', port: (listener.address() as AddressInfo).port },
    queries,
    peers,
    handler,
    listener,
    sessions,
    requests,
    serve: (stream, query) => {
      const reply = (message: Uint8Array): void => {
        if (stream.destroyed || stream.headersSent) return
        stream.respond({ ':status': 200, 'content-type': 'application/dns-message' })
        stream.end(message)
      }
      const { socket } = stream.session ?? {}
      server.handler(query, reply, { destroy: () => socket?.destroy() })
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise<void>((resolve) => {
        listener.close(() => resolve())
      })
    },
  }
  return server
}

/** A UDP and a TCP server on one port, as real resolvers have. */
export async function dnsServer(handler: Handler): Promise<{ udp: TestServer; tcp: TestServer; endpoint: Endpoint } & AsyncDisposable> {
  for (;;) {
    const tcp = await tcpServer(handler)
    try {
      const udp = await udpServer(handler, tcp.endpoint.port)
      return {
        udp,
        tcp,
        endpoint: tcp.endpoint,
        async [Symbol.asyncDispose]() {
          await udp[Symbol.asyncDispose]()
          await tcp[Symbol.asyncDispose]()
        },
      }
    } catch {
      // somebody else has the UDP port of that number: take another
      await tcp[Symbol.asyncDispose]()
    }
  }
}
