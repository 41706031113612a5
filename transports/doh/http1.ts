import { createServer, type IncomingMessage, METHODS, type Server, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { type Client, NO_KEEPALIVE, TRANSPORTS } from '../../dns/contracts.ts'
import { Failure } from '../../dns/failure.ts'
import type { Peer } from '../stream-listener.ts'
import { type DohService, Exchange } from './exchange.ts'
import { MAX_HEADER_LENGTH, type RequestHead } from './request.ts'
import { failureResponse, type PlainResponse, type ResponseHead } from './response.ts'

/** How long a client may take to send a header section (conformance H1-12), and a whole request. */
const HEADERS_TIMEOUT_MS = 5000
const REQUEST_TIMEOUT_MS = 15_000
const TIMEOUT_CHECK_MS = 1000
/** RFC 9112 §9.3.2: pipelined requests of one connection that may wait for their turn. */
const MAX_PIPELINED = 100

export interface Http1Settings {
  readonly idleMs: number
}

/** DoH over HTTP/1.1 (RFC 9112) on Node's own implementation. */
export class Http1Front {
  readonly #service: DohService
  readonly #server: Server
  readonly #clients = new WeakMap<Duplex, Client>()
  readonly #pipelined = new WeakMap<Duplex, number>()
  #draining = false

  constructor(service: DohService, settings: Http1Settings) {
    this.#service = service
    this.#server = createServer({
      maxHeaderSize: MAX_HEADER_LENGTH,
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      connectionsCheckingInterval: TIMEOUT_CHECK_MS,
      keepAliveTimeout: settings.idleMs,
    })
    this.#server.on('request', (request, response) => this.#onRequest(request, response))
    this.#server.on('clientError', (error: NodeJS.ErrnoException, socket) => this.#onClientError(error, socket))
    // a server that never listens checks its timeouts only after this event (design §4)
    this.#server.emit('listening')
  }

  serve(socket: TLSSocket, peer: Peer): void {
    this.#clients.set(socket, { traits: TRANSPORTS.doh1, ...peer, keepalive: NO_KEEPALIVE })
    this.#server.emit('connection', socket)
  }

  drain(): void {
    this.#draining = true
    this.#server.closeIdleConnections()
  }

  close(): void {
    this.#server.close()
    this.#server.closeAllConnections()
  }

  #onRequest(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request
    const client = this.#clients.get(socket)
    if (client === undefined) {
      socket.destroy()
      return
    }
    if (this.#draining) response.setHeader('connection', 'close')
    const head = headOf(request)
    const exchange = new Http1Exchange(request, response, { client, service: this.#service, method: head.method })
    response.on('close', () => {
      this.#count(socket, -1)
      this.#service.abandon(exchange)
    })
    if (this.#count(socket, 1) > MAX_PIPELINED) this.#service.fail(exchange, Failure.connection_limit)
    // RFC 9112 §3.2
    else if (countOf(request.rawHeaders, 'host') > 1) this.#service.fail(exchange, Failure.http_bad_request)
    else this.#service.begin(exchange, head)
    if (!exchange.reading) {
      request.resume()
      return
    }
    request.on('data', (chunk: Buffer) => this.#service.content(exchange, chunk))
    request.on('end', () => this.#service.contentEnded(exchange))
  }

  #count(socket: Socket, change: number): number {
    const count = (this.#pipelined.get(socket) ?? 0) + change
    this.#pipelined.set(socket, count)
    return count
  }

  /** What Node's parser refuses never becomes a request: it is answered here, and the connection ends (RFC 9112 §2.2). */
  #onClientError(error: NodeJS.ErrnoException & { rawPacket?: Buffer }, socket: Duplex): void {
    if (!socket.writable || error.code === 'ECONNRESET') {
      socket.destroy()
      return
    }
    const { status, headers, body } = failureResponse(parseFailure(error))
    const fields = Object.entries({ date: new Date().toUTCString(), connection: 'close', ...headers })
    socket.end(`HTTP/1.1 ${status} \r\n${fields.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`)
  }
}

class Http1Exchange extends Exchange {
  readonly #request: IncomingMessage
  readonly #response: ServerResponse

  constructor(request: IncomingMessage, response: ServerResponse, facts: { client: Client; service: DohService; method: string }) {
    super(facts.client, facts.service, facts.method)
    this.#request = request
    this.#response = response
  }

  override respond(head: ResponseHead, content: Uint8Array): void {
    if (this.#response.destroyed) return
    this.#response.writeHead(head.status, head.headers)
    this.#response.end(this.headOnly ? undefined : Buffer.from(content))
  }

  override dismiss(response: PlainResponse): void {
    if (this.#response.destroyed) return
    // RFC 9112 §9.3: the connection is usable again only after the whole request has been read
    if (!this.#request.complete) this.#response.setHeader('connection', 'close')
    this.#response.writeHead(response.status, response.headers)
    this.#response.end(this.headOnly ? undefined : response.body)
    this.#request.resume()
  }
}

function headOf(request: IncomingMessage): RequestHead {
  const { headers } = request
  return {
    method: request.method ?? '',
    target: request.url ?? '',
    authority: headers.host ?? '',
    contentType: headers['content-type'] ?? '',
    contentEncoding: headers['content-encoding'] ?? '',
    contentLength: headers['content-length'] ?? '',
    accept: headers.accept ?? '',
  }
}

function countOf(rawHeaders: readonly string[], name: string): number {
  let count = 0
  for (let i = 0; i < rawHeaders.length; i += 2) if (rawHeaders[i]?.toLowerCase() === name) count++
  return count
}

/** RFC 9110 §9.1: a method name is any token; one that Node does not know is a parse error for it, and 501 for us. */
function parseFailure(error: NodeJS.ErrnoException & { rawPacket?: Buffer }): Failure {
  if (error.code === 'HPE_HEADER_OVERFLOW') return Failure.http_header_too_large
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') return Failure.http_body_timeout
  const method = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+) [^ ]+ HTTP\/1\.[01]\r\n/.exec(error.rawPacket?.toString('latin1', 0, 2048) ?? '')?.[1]
  return error.code === 'HPE_INVALID_METHOD' && method !== undefined && !METHODS.includes(method)
    ? Failure.http_unknown_method
    : Failure.http_bad_request
}
