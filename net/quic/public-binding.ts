import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { isIPv6 } from 'node:net'
import type { Duplex } from 'node:stream'
import {
  type QuicBinding,
  type QuicClientOptions,
  type QuicEvent,
  type QuicEventSink,
  QuicEventType,
  type QuicNative,
  type QuicNativeClient,
  type QuicServerOptions,
} from './binding.ts'

/** The exported classes of the package, as far as they are used. */
export interface PublicModule {
  createQuicServer(options: object): PublicServer
  connectQuic(authority: string, options: object): PublicClientSession
}

interface PublicServer {
  on(event: 'session', listener: (session: PublicServerSession) => void): this
  on(event: 'error', listener: () => void): this
  listen(port: number, host: string): Promise<{ readonly port: number }>
  close(): Promise<void>
}

interface PublicSession {
  on(event: 'stream', listener: (stream: PublicStream) => void): this
  on(event: 'close', listener: (info: { readonly errorCode: number; readonly reason: string }) => void): this
  on(event: 'error', listener: () => void): this
  getMetrics(): { readonly rttMs: number; readonly packetsIn: number } | null
}

interface PublicServerSession extends PublicSession {
  readonly connHandle: number
  readonly remoteAddress: string
  readonly remotePort: number
  close(code: number): void
}

interface PublicClientSession extends PublicSession {
  on(event: 'connect', listener: () => void): this
  on(event: 'stream', listener: (stream: PublicStream) => void): this
  on(event: 'close', listener: (info: { readonly errorCode: number; readonly reason: string }) => void): this
  on(event: 'error', listener: () => void): this
  on(event: 'sessionTicket', listener: (ticket: Buffer) => void): this
  openStream(): PublicStream
  ping(): boolean
  close(code: number): Promise<void>
}

interface PublicStream extends Duplex {
  readonly id: number
  close(code: number): void
}

const RUNTIME = { runtimeMode: 'portable' }
const CLIENT_HANDLE = 0

/**
 * The fallback, for a build of the library without the native event interface: its documented stream objects, turned into
 * the same events. Twice the JavaScript time, no unidirectional streams (so no HTTP/3), and a stream that fails takes its
 * connection along, because its objects give no way to close it.
 */
export class PublicBinding implements QuicBinding {
  readonly opensUnidirectional = false
  readonly #module: PublicModule

  constructor(module: PublicModule) {
    this.#module = module
  }

  async listen(options: QuicServerOptions, address: { host: string; port: number }, sink: QuicEventSink) {
    await probe(address)
    const server = this.#module.createQuicServer({ ...options, ...RUNTIME })
    const sessions = new Map<number, Session>()
    server.on('error', () => {})
    server.on('session', (session) => {
      const handle = session.connHandle
      sessions.set(handle, new Session(handle, (code) => session.close(code), sink))
      const meta = { remoteAddr: session.remoteAddress, remotePort: session.remotePort }
      sink([eventOf(QuicEventType.NEW_SESSION, handle, { meta }), eventOf(QuicEventType.HANDSHAKE_COMPLETE, handle)])
      sessions.get(handle)?.follow(session)
      session.on('close', () => sessions.delete(handle))
    })
    const { port } = await server.listen(address.port, address.host)
    return {
      native: nativeOf(
        (handle) => sessions.get(handle),
        () => server.close(),
        sink,
      ),
      port,
    }
  }

  async connect(options: QuicClientOptions, server: { host: string; port: number; serverName: string }, sink: QuicEventSink) {
    const host = server.host.includes(':') ? `[${server.host}]` : server.host
    const client = this.#module.connectQuic(`${host}:${server.port}`, { ...options, ...RUNTIME, servername: server.serverName })
    const session = new Session(CLIENT_HANDLE, (code) => void client.close(code), sink)
    session.follow(client)
    session.opener = () => client.openStream()
    client.on('sessionTicket', (data) => sink([eventOf(QuicEventType.SESSION_TICKET, CLIENT_HANDLE, { data })]))
    client.on('connect', () => sink([eventOf(QuicEventType.HANDSHAKE_COMPLETE, CLIENT_HANDLE)]))
    const native = nativeOf(
      () => session,
      () => client.close(0),
      sink,
    )
    const openStream = (): number => {
      const stream = client.openStream()
      session.add(stream.id, stream)
      return stream.id
    }
    return {
      ...native,
      openStream,
      ping: () => void client.ping(),
      packetsReceived: () => client.getMetrics()?.packetsIn ?? 0,
    } satisfies QuicNativeClient
  }
}

/** A server object that cannot bind keeps the process alive for ever, so somebody else tries the address first. */
async function probe({ host, port }: { host: string; port: number }): Promise<void> {
  const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4')
  try {
    socket.bind(port, host)
    await once(socket, 'listening')
  } finally {
    socket.close()
  }
}

/** One connection of either side and its stream objects. */
class Session {
  readonly close: (code: number) => void
  rttMs: () => number = () => 0
  /** Of a client: a stream object for an id that has none yet. */
  opener: (() => PublicStream) | null = null
  readonly #handle: number
  readonly #sink: QuicEventSink
  readonly #streams = new Map<number, PublicStream>()

  constructor(handle: number, close: (code: number) => void, sink: QuicEventSink) {
    this.#handle = handle
    this.close = close
    this.#sink = sink
  }

  follow(session: PublicSession): void {
    this.rttMs = () => session.getMetrics()?.rttMs ?? 0
    session.on('error', () => {})
    session.on('stream', (stream) => this.add(stream.id, stream))
    session.on('close', ({ errorCode, reason }) =>
      this.#emit(QuicEventType.SESSION_CLOSE, -1, { meta: { errorCode, errorReason: reason } }),
    )
  }

  add(id: number, stream: PublicStream): void {
    this.#streams.set(id, stream)
    stream.on('data', (data: Buffer) => this.#emit(QuicEventType.DATA, id, { data }))
    stream.on('end', () => this.#emit(QuicEventType.FINISHED, id))
    stream.on('drain', () => this.#emit(QuicEventType.WRITE_READY, id))
    stream.on('error', (error) => this.#emit(QuicEventType.ERROR, id, { meta: { errorReason: error.message } }))
    stream.on('close', () => this.#streams.delete(id))
  }

  send({ stream: id, bytes, fin }: { stream: number; bytes: Uint8Array; fin: boolean }): boolean {
    const stream = this.#streams.get(id) ?? this.#open(id)
    if (stream === undefined || stream.destroyed) return true
    if (stream.writableNeedDrain) return false
    if (fin) stream.end(bytes)
    else stream.write(bytes)
    if (stream.writableNeedDrain) this.#emit(QuicEventType.STREAM_BLOCKED, id)
    return true
  }

  /** The library numbers its objects itself; here a stream keeps the id that it was asked for, whatever was refused before. */
  #open(id: number): PublicStream | undefined {
    if (this.opener === null) return undefined
    try {
      const stream = this.opener()
      this.add(id, stream)
      return stream
    } catch {
      // as the native interface says it, and when: after the call
      queueMicrotask(() => this.#emit(QuicEventType.ERROR, id, { meta: { errorReason: 'StreamLimit' } }))
      return undefined
    }
  }

  /** A stream that failed has destroyed its object, which then cannot be closed: the storm of errors ends with the connection. */
  closeStream(id: number, code: number): void {
    const stream = this.#streams.get(id)
    if (stream === undefined || stream.destroyed) this.close(code)
    else stream.close(code)
  }

  #emit(eventType: number, streamId: number, more: Partial<QuicEvent> = {}): void {
    this.#sink([{ ...more, eventType, streamId, connHandle: this.#handle }])
  }
}

function nativeOf(find: (handle: number) => Session | undefined, close: () => Promise<void>, sink: QuicEventSink): QuicNative {
  return {
    streamSend: (handle, message) => find(handle)?.send(message) ?? true,
    streamClose: (handle, stream, code) => find(handle)?.closeStream(stream, code),
    rttMs: (handle) => find(handle)?.rttMs() ?? 0,
    closeSession: (handle, code) => find(handle)?.close(code),
    acknowledge: () => {},
    requestShutdown: () => void close().then(() => sink([eventOf(QuicEventType.SHUTDOWN_COMPLETE, -1)])),
    join: () => {},
  }
}

function eventOf(eventType: number, connHandle: number, more: Partial<QuicEvent> = {}): QuicEvent {
  return { ...more, eventType, connHandle, streamId: -1 }
}
