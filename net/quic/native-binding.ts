import type {
  QuicBinding,
  QuicClientOptions,
  QuicEvent,
  QuicEventSink,
  QuicNative,
  QuicNativeClient,
  QuicServerOptions,
} from './binding.ts'

type NativeCallback = (error: Error | null, events: readonly QuicEvent[]) => void
type SessionMetrics = { readonly rttMs: number; readonly packetsIn: number }
type SendOutcome = { readonly status: number }

/** What the two native classes have in common. */
interface NativeThread {
  requestShutdown(): boolean
  ackEventBatch(count: number): void
  joinWorker(): void
}

interface NativeServer extends NativeThread {
  listen(port: number, host: string): { readonly port: number }
  streamSend(connection: number, stream: number, data: Buffer, fin: boolean): SendOutcome
  streamClose(connection: number, stream: number, code: number): boolean
  closeSession(connection: number, code: number, reason: string): boolean
  getSessionMetrics(connection: number): SessionMetrics
}

interface NativeClient extends NativeThread {
  connect(address: string, serverName: string): unknown
  openStream(): number
  streamSend(stream: number, data: Buffer, fin: boolean): SendOutcome
  streamClose(stream: number, code: number): boolean
  close(code: number, reason: string): boolean
  ping(): boolean
  getSessionMetrics(): SessionMetrics
}

export interface NativeClasses {
  readonly NativeQuicServer: new (options: object, callback: NativeCallback) => NativeServer
  readonly NativeQuicClient: new (options: object, callback: NativeCallback) => NativeClient
}

/** The `poll` driver; the library's `fast` one (io_uring) was slower with DNS-sized messages, and is missing in most containers. */
const RUNTIME = { runtimeMode: 'portable' }
const ACCEPTED = 0

/** One callback per batch of events: half the JavaScript time of the library's stream objects (design §5). */
export class NativeBinding implements QuicBinding {
  readonly opensUnidirectional = true
  readonly #classes: NativeClasses

  constructor(classes: NativeClasses) {
    this.#classes = classes
  }

  async listen(options: QuicServerOptions, address: { host: string; port: number }, sink: QuicEventSink) {
    const server = new this.#classes.NativeQuicServer({ ...options, ...RUNTIME }, (_error, events) => sink(events))
    const { port } = orRelease(server, () => server.listen(address.port, address.host))
    return { native: serverSide(server), port }
  }

  async connect(options: QuicClientOptions, server: { host: string; port: number; serverName: string }, sink: QuicEventSink) {
    const client = new this.#classes.NativeQuicClient({ ...options, ...RUNTIME }, (_error, events) => sink(events))
    const host = server.host.includes(':') ? `[${server.host}]` : server.host
    orRelease(client, () => client.connect(`${host}:${server.port}`, server.serverName))
    return clientSide(client)
  }
}

/** What has not started would keep the process alive until it is collected. */
function orRelease<T>(native: NativeThread, start: () => T): T {
  try {
    return start()
  } catch (error) {
    native.joinWorker()
    throw error
  }
}

function serverSide(server: NativeServer): QuicNative {
  return {
    ...threadOf(server),
    streamSend: (connection, { stream, bytes, fin }) => server.streamSend(connection, stream, asBuffer(bytes), fin).status === ACCEPTED,
    streamClose: (connection, stream, code) => void server.streamClose(connection, stream, code),
    closeSession: (connection, code) => void server.closeSession(connection, code, ''),
    rttMs: (connection) => metric(() => server.getSessionMetrics(connection).rttMs),
  }
}

function clientSide(client: NativeClient): QuicNativeClient {
  return {
    ...threadOf(client),
    openStream: () => client.openStream(),
    ping: () => pingOrNothing(client),
    packetsReceived: () => metric(() => client.getSessionMetrics().packetsIn),
    streamSend: (_, { stream, bytes, fin }) => client.streamSend(stream, asBuffer(bytes), fin).status === ACCEPTED,
    streamClose: (_, stream, code) => void client.streamClose(stream, code),
    closeSession: (_, code) => void client.close(code, ''),
    rttMs: () => metric(() => client.getSessionMetrics().rttMs),
  }
}

function threadOf(native: NativeThread): Pick<QuicNative, 'acknowledge' | 'requestShutdown' | 'join'> {
  return {
    acknowledge: (events) => native.ackEventBatch(events),
    requestShutdown: () => void native.requestShutdown(),
    join: () => native.joinWorker(),
  }
}

/** It throws for a connection that has just ended. */
function metric(read: () => number): number {
  try {
    return read()
  } catch {
    return 0
  }
}

/** As with metric(): the news that the connection has ended is on its way. */
function pingOrNothing(client: NativeClient): void {
  try {
    client.ping()
  } catch {}
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
}
