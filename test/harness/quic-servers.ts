import type { Endpoint } from '../../net/address.ts'
import type { Field } from '../../net/fields.ts'
import type { Http3Request } from '../../net/http3/fields.ts'
import { type MessageHandler, MessageReader, REQUEST } from '../../net/http3/message-reader.ts'
import { encodeMessage } from '../../net/http3/message-writer.ts'
import { CONTROL_PREAMBLE } from '../../net/http3/own-control.ts'
import { FIRST_SERVER_UNIDIRECTIONAL, type QuicConnection, type QuicHandler, type QuicIdentity, type QuicListener } from '../../net/quic.ts'
import { engine } from './quic.ts'
import { frame, type Handler, type TestServer } from './servers.ts'

/** One question on one stream, and the means to react to it in any way. */
export interface Asked {
  readonly query: Buffer
  readonly stream: number
  readonly quic: QuicConnection
  /** HTTP/3 only. */
  readonly request: Http3Request | null
  readonly server: QuicTestServer
}

export interface QuicServerOptions {
  readonly protocol: 'doq' | 'h3'
  readonly identity: QuicIdentity
  readonly port?: number
  /** Open at a time on one connection. */
  readonly streams?: number
  readonly connections?: number
  react(asked: Asked): void
}

/** A server on the port that does with each question what a test says. */
export class QuicTestServer implements TestServer {
  readonly queries: Buffer[] = []
  /** Connections that were established, by number. */
  readonly peers = new Set<number>()
  readonly links: ServedConnection[] = []
  readonly options: QuicServerOptions
  handler: Handler = () => {}
  react: (asked: Asked) => void
  readonly #listener: QuicListener

  private constructor(options: QuicServerOptions, listener: QuicListener) {
    this.options = options
    this.react = options.react
    this.#listener = listener
  }

  static async start(options: QuicServerOptions): Promise<QuicTestServer> {
    let server: QuicTestServer | null = null
    const listener = await engine().listen({
      name: options.protocol,
      endpoint: { host: '127.0.0.1', port: options.port ?? 0 },
      protocol: options.protocol,
      identity: options.identity,
      limits: { idleMs: 10_000, streams: options.streams ?? 1000, window: 1_048_576 },
      connections: options.connections ?? 100,
      acceptor: { arrived: (quic) => (server === null ? null : new ServedConnection(server, quic)) },
    })
    server = new QuicTestServer(options, listener)
    return server
  }

  get endpoint(): Endpoint {
    return this.#listener.endpoint
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#listener.close()
  }
}

export class ServedConnection implements QuicHandler {
  readonly quic: QuicConnection
  readonly resets: { stream: number; code: number }[] = []
  readonly closedWith = Promise.withResolvers<number>()
  isClosed = false
  readonly #server: QuicTestServer
  readonly #input = new Map<number, Buffer>()

  constructor(server: QuicTestServer, quic: QuicConnection) {
    this.#server = server
    this.quic = quic
  }

  established(): void {
    this.#server.links.push(this)
    this.#server.peers.add(this.#server.links.length)
    if (this.#server.options.protocol === 'h3') this.quic.send(FIRST_SERVER_UNIDIRECTIONAL, Buffer.from(CONTROL_PREAMBLE), false)
  }

  received(stream: number, bytes: Uint8Array, fin: boolean): void {
    if ((stream & 3) !== 0) return
    const input = Buffer.concat([this.#input.get(stream) ?? Buffer.alloc(0), bytes])
    this.#input.set(stream, input)
    if (!fin) return
    this.#input.delete(stream)
    const { query, request } = this.#server.options.protocol === 'doq' ? { query: input.subarray(2), request: null } : readRequest(input)
    this.#server.queries.push(query)
    this.#server.react({ query, stream, request, quic: this.quic, server: this.#server })
  }

  reset(stream: number, code: number): void {
    this.resets.push({ stream, code })
  }

  stalled(): void {}

  closed({ code }: { code: number }): void {
    this.isClosed = true
    this.closedWith.resolve(code)
  }
}

function readRequest(bytes: Buffer): { query: Buffer; request: Http3Request } {
  let request: Http3Request | null = null
  const content: Buffer[] = []
  const handler: MessageHandler<Http3Request> = {
    onHeaders: (head) => {
      request = head
    },
    onHeadersTooLarge: () => {},
    onData: (chunk) => void content.push(Buffer.from(chunk)),
    onEnd: () => {},
  }
  const error = new MessageReader(REQUEST, handler).push(bytes, true)
  if (error !== null || request === null)
    throw new Error(`Cannot read request: error ${error?.code.toString(16)}: received ${bytes.toString('hex')}`)
  return { query: Buffer.concat(content), request }
}

/** A response with a DNS message. */
export function http3Answer(
  message: Uint8Array,
  { status = '200', fields = [] }: { status?: string; fields?: readonly Field[] } = {},
): Buffer {
  const type: readonly Field[] = fields.some(([name]) => name === 'content-type') ? [] : [['content-type', 'application/dns-message']]
  return encodeMessage([[':status', status], ...type, ['content-length', String(message.length)], ...fields], message)
}

/** Answers with whatever server.handler gives as its reply. */
export function replying({ query, stream, quic, server }: Asked): void {
  const encoded = (message: Uint8Array): Buffer => (server.options.protocol === 'doq' ? frame(message) : http3Answer(message))
  server.handler(query, (message) => quic.send(stream, encoded(message), true), { destroy: () => quic.close(0) })
}
