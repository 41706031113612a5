import { constants, createServer, type IncomingHttpHeaders, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2'
import type { TLSSocket } from 'node:tls'
import { type Client, NO_KEEPALIVE, TRANSPORTS } from '../../dns/contracts.ts'
import { Failure } from '../../dns/failure.ts'
import { LiveSet } from '../../net/live-set.ts'
import type { ConnectionSettings } from '../connection.ts'
import type { ServedConnection } from '../listener.ts'
import type { Peer } from '../stream-listener.ts'
import type { Workload } from '../workload.ts'
import { type DohService, Exchange, type ExchangeFacts } from './exchange.ts'
import { MAX_HEADER_LENGTH, type RequestHead } from './request.ts'
import type { PlainResponse, ResponseHead } from './response.ts'

/** Above MAX_HEADER_LENGTH, so that a section that is too large can be answered with 431 instead of a reset. */
const ADVERTISED_HEADER_LIST = 8 * MAX_HEADER_LENGTH
/** How long a session that was told to end may take. */
const LINGER_MS = 2000
/** RFC 9113 §10.5.1: added for every field. */
const FIELD_OVERHEAD = 32

interface SessionFacts {
  readonly client: Client
  readonly workload: Workload
  /** For every response of the session. */
  readonly fields: Readonly<Record<string, string>>
  readonly settings: ConnectionSettings
  /** Null until it has begun. */
  session: ServerHttp2Session | null
}

/** DoH over HTTP/2 (RFC 9113) on Node's own implementation. */
export class Http2Front {
  readonly #service: DohService
  #settings: ConnectionSettings = { idleMs: 0, inFlight: 0 }
  readonly #server
  readonly #sessions = new LiveSet<ServerHttp2Session>()
  readonly #peers = new WeakMap<ServerHttp2Session, SessionFacts>()
  /** The connection that is being handed over: 'session' is emitted within the call. */
  #arriving: SessionFacts | null = null

  constructor(service: DohService) {
    this.#service = service
    this.#server = createServer()
    this.#server.on('session', (session) => this.#onSession(session))
    this.#server.on('stream', (stream, headers, _flags, raw) => this.#onStream(stream as ServerHttp2Stream, headers, raw))
    // malformed frames end the session; the reason is the client's
    this.#server.on('sessionError', () => {})
  }

  configure(settings: ConnectionSettings): void {
    this.#settings = settings
    this.#server.updateSettings({
      enablePush: false,
      maxConcurrentStreams: settings.inFlight,
      maxHeaderListSize: ADVERTISED_HEADER_LIST,
    })
  }

  /** `altSvc`: the value of Alt-Svc, null for none. */
  serve(socket: TLSSocket, peer: Peer, altSvc: string | null): ServedConnection {
    const facts: SessionFacts = {
      client: { traits: TRANSPORTS.doh2, ...peer, keepalive: NO_KEEPALIVE },
      workload: { questions: 0 },
      fields: altSvc === null ? {} : { 'alt-svc': altSvc },
      settings: this.#settings,
      session: null,
    }
    this.#arriving = facts
    this.#server.emit('connection', socket)
    this.#arriving = null
    return { client: facts.client, drain: () => facts.session?.close(), close: () => void socket.destroy() }
  }

  /** RFC 9113 §6.8: GOAWAY; streams that are open are answered. */
  drain(): void {
    for (const session of this.#sessions) session.close()
  }

  #onSession(session: ServerHttp2Session): void {
    if (this.#arriving !== null) {
      this.#arriving.session = session
      this.#peers.set(session, this.#arriving)
    }
    this.#sessions.add(session)
    session.setTimeout(this.#settings.idleMs)
    // GOAWAY first (RFC 9113 §9.1); a client that leaves streams open and takes nothing is cut off the second time
    session.on('timeout', () => {
      if (session.closed) {
        session.destroy()
        return
      }
      session.close()
      session.setTimeout(LINGER_MS)
    })
    session.on('close', () => this.#sessions.delete(session))
  }

  #onStream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, raw: readonly string[]): void {
    // a reset may arrive at any time
    stream.on('error', () => {})
    const peer = this.#peers.get(stream.session as ServerHttp2Session)
    if (peer === undefined || peer.workload.questions >= peer.settings.inFlight) {
      stream.close(constants.NGHTTP2_REFUSED_STREAM)
      return
    }
    const head = headOf(headers)
    const exchange = new Http2Exchange(stream, peer.fields, { ...peer, service: this.#service, method: head.method })
    stream.on('close', () => this.#service.abandon(exchange))
    if (headerLength(raw) > MAX_HEADER_LENGTH) {
      this.#service.fail(exchange, Failure.http_header_too_large)
      return
    }
    this.#service.begin(exchange, head)
    if (!exchange.reading) {
      stream.resume()
      return
    }
    stream.on('data', (chunk: Buffer) => this.#service.content(exchange, chunk))
    stream.on('end', () => this.#service.contentEnded(exchange))
  }
}

class Http2Exchange extends Exchange {
  readonly #stream: ServerHttp2Stream
  readonly #fields: SessionFacts['fields']

  constructor(stream: ServerHttp2Stream, fields: SessionFacts['fields'], facts: ExchangeFacts) {
    super(facts)
    this.#stream = stream
    this.#fields = fields
  }

  override respond(head: ResponseHead, content: Uint8Array): void {
    if (this.#stream.destroyed || this.#stream.closed) return
    this.#stream.respond({ ':status': head.status, ...head.headers, ...this.#fields }, { endStream: this.headOnly })
    if (!this.headOnly) this.#stream.end(Buffer.from(content))
  }

  override dismiss(response: PlainResponse): void {
    const stream = this.#stream
    if (stream.destroyed || stream.closed) return
    const bodiless = this.headOnly || response.body === ''
    stream.respond({ ':status': response.status, ...response.headers, ...this.#fields }, { endStream: bodiless })
    if (!bodiless) stream.end(response.body)
    // RFC 9113 §8.1: the rest of the request is not wanted
    if (!stream.endAfterHeaders && !stream.readableEnded) stream.once('finish', () => stream.close(constants.NGHTTP2_NO_ERROR))
    stream.resume()
  }
}

function headOf(headers: IncomingHttpHeaders): RequestHead {
  return {
    method: text(headers[':method']),
    target: text(headers[':path']),
    // RFC 9113 §8.3.1: :authority counts, Host only without it
    authority: text(headers[':authority'] ?? headers.host),
    contentType: text(headers['content-type']),
    contentEncoding: text(headers['content-encoding']),
    contentLength: text(headers['content-length']),
    accept: text(headers.accept),
  }
}

function text(value: string | string[] | undefined): string {
  return Array.isArray(value) ? value.join(',') : (value ?? '')
}

function headerLength(raw: readonly string[]): number {
  let length = 0
  for (const part of raw) length += part.length
  return length + (raw.length / 2) * FIELD_OVERHEAD
}
