import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { type Client, NO_KEEPALIVE, TRANSPORTS } from '../../dns/contracts.ts'
import { Failure } from '../../dns/failure.ts'
import { contentLengthOf, NO_CONTENT_LENGTH } from '../../net/fields.ts'
import { createServer, METHODS, STATUS_CODES } from '../../net/http.ts'
import { date } from '../../net/http-date.ts'
import type { OutputBudget } from '../../net/output-budget.ts'
import type { ConnectionSettings } from '../connection.ts'
import type { ServedConnection } from '../listener.ts'
import type { Peer } from '../stream-listener.ts'
import { Http1WebExchange } from '../web/http1-exchange.ts'
import { hasContent } from '../web/http1-head.ts'
import { Http1WebTunnel } from '../web/http1-tunnel.ts'
import type { Workload } from '../workload.ts'
import { type Admits, ConnectionClient } from './connection-client.ts'
import { type DohService, Exchange, type ExchangeFacts } from './exchange.ts'
import { expectsContinue } from './fields.ts'
import { MAX_HEADER_LENGTH, type RequestHead } from './request.ts'
import { answerHead, failureResponse, type PlainResponse } from './response.ts'

/** How long a client may take to send a header section (conformance H1-12), and a whole request. */
const HEADERS_TIMEOUT_MS = 5000
const REQUEST_TIMEOUT_MS = 15_000
const TIMEOUT_CHECK_MS = 1000
/** The same where requests may be uploads; the proxy ends those that do not move. */
const UPLOAD_TIMEOUT_MS = 600_000
/** How long a client may take no octet of a response that waits for it, as in HTTP/2. */
const STALL_MS = 30_000
/** RFC 9112 §9.3.2: pipelined requests of one connection that may wait for their turn. */
const MAX_PIPELINED = 100

interface ConnectionFacts extends ServedConnection {
  readonly origin: ConnectionClient
  readonly workload: Workload
  readonly altSvc: string | null
  /** Requests whose response is not complete. */
  responsesDue: number
  /** The request whose content is arriving. */
  reading: Exchange | null
  /** What follows the requests could not be parsed: said after the last response. */
  broken: Failure | null
  /** The next response is the last. */
  isDraining: boolean
}

/** DoH over HTTP/1.1 (RFC 9112) on Node's own implementation. */
export class Http1Front {
  readonly #service: DohService
  readonly #budget: OutputBudget
  readonly #server: Server
  readonly #connections = new WeakMap<Duplex, ConnectionFacts>()
  #draining = false

  constructor(service: DohService, { budget }: { budget: OutputBudget }) {
    this.#service = service
    this.#budget = budget
    this.#server = createServer({
      maxHeaderSize: MAX_HEADER_LENGTH,
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      connectionsCheckingInterval: TIMEOUT_CHECK_MS,
      // RFC 9110 §7.8: whoever asks for anything else stays with HTTP/1.1
      shouldUpgradeCallback: (request) => this.#service.rules.web !== null && isWebSocket(request),
    })
    this.#server.timeout = STALL_MS
    this.#server.on('timeout', (socket) => this.#onSilence(socket))
    this.#server.on('upgrade', (request, socket, head) => this.#onUpgrade(request, socket, head))
    const onRequest = (request: IncomingMessage, response: ServerResponse) => this.#onRequest(request, response)
    this.#server.on('request', onRequest)
    // RFC 9110 §10.1.1: Node would ask for content before we know whether it is wanted, and refuse what we disregard
    this.#server.on('checkContinue', onRequest)
    this.#server.on('checkExpectation', onRequest)
    // RFC 9110 §9.3.6: this is no proxy
    this.#server.on('connect', (_request, socket) => this.#refuse(socket, failureResponse(Failure.http_method)))
    this.#server.on('clientError', (error: NodeJS.ErrnoException, socket) => this.#onClientError(error, socket))
    // a server that never listens checks its timeouts only after this event (design §4)
    this.#server.emit('listening')
  }

  configure({ idleMs }: ConnectionSettings): void {
    this.#server.keepAliveTimeout = idleMs
    this.#server.requestTimeout = this.#service.rules.web === null ? REQUEST_TIMEOUT_MS : UPLOAD_TIMEOUT_MS
  }

  /** `altSvc`: the value of Alt-Svc, null for none. */
  serve(socket: Socket, peer: Peer, { altSvc, admits }: { altSvc: string | null; admits: Admits }): ServedConnection {
    const client: Client = { traits: TRANSPORTS.doh1, ...peer, keepalive: NO_KEEPALIVE }
    const connection: ConnectionFacts = {
      client,
      origin: new ConnectionClient(client, admits),
      workload: { questions: 0 },
      altSvc,
      responsesDue: 0,
      reading: null,
      broken: null,
      isDraining: false,
      // RFC 9112 §9.5: who is idle has to expect it
      drain: () => {
        connection.isDraining = true
        if (connection.responsesDue === 0) socket.end()
      },
      close: () => void socket.destroy(),
    }
    this.#connections.set(socket, connection)
    this.#server.emit('connection', socket)
    return connection
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
    const connection = this.#connections.get(socket)
    if (connection === undefined) {
      socket.destroy()
      return
    }
    if (this.#draining || connection.isDraining) response.setHeader('connection', 'close')
    if (connection.altSvc !== null) response.setHeader('alt-svc', connection.altSvc)
    const head = headOf(request)
    const exchange = new Http1Exchange(request, response, this.#budget, { ...connection, service: this.#service, method: head.method })
    connection.responsesDue++
    response.on('close', () => {
      connection.responsesDue--
      this.#service.abandon(exchange)
      exchange.release()
      if (connection.responsesDue > 0) return
      if (connection.broken !== null) this.#refuse(socket, failureResponse(connection.broken))
      else if (connection.isDraining) socket.end()
    })
    if (connection.responsesDue > MAX_PIPELINED) this.#service.fail(exchange, Failure.connection_limit)
    else if (countOf(request.rawHeaders, 'host') > 1) {
      // RFC 9112 §3.2; who names two hosts may mean two requests, so nothing more is read
      response.setHeader('connection', 'close')
      this.#service.fail(exchange, Failure.http_bad_request)
    } else {
      const place = this.#service.begin(exchange, head)
      if (place !== null) {
        place.web.serve(new Http1WebExchange(request, response, place))
        return
      }
    }
    if (!exchange.reading) {
      request.resume()
      return
    }
    connection.reading = exchange
    if (expectsContinue(request.headers.expect ?? '')) response.writeContinue()
    request.on('data', (chunk: Buffer) => this.#service.take(exchange, chunk, false))
    request.on('end', () => this.#service.contentEnded(exchange))
  }

  /** A WebSocket, which only the proxy has. */
  #onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const connection = this.#connections.get(socket)
    if (connection === undefined) {
      socket.destroy()
      return
    }
    // RFC 9112 §9.3.2: its response comes last, and what it asks for cannot wait
    if (connection.responsesDue > 0) {
      this.#service.dropped(Failure.http_bad_request)
      connection.broken = Failure.http_bad_request
      return
    }
    const exchange = new UpgradeExchange((response) => this.#refuse(socket, response), {
      ...connection,
      service: this.#service,
      method: 'GET',
    })
    if (countOf(request.rawHeaders, 'host') > 1) {
      this.#service.fail(exchange, Failure.http_bad_request)
      return
    }
    const place = this.#service.begin(exchange, headOf(request))
    if (place === null) return
    // from here on the proxy has the deadlines
    request.socket.setTimeout(0)
    place.web.serve(new Http1WebTunnel(request, socket, head, place))
  }

  /** For a while nothing has gone either way; between requests that is keepAliveTimeout. */
  #onSilence(socket: Socket): void {
    if ((this.#connections.get(socket)?.responsesDue ?? 0) === 0) socket.destroy()
    else if (socket.writableLength > 0) {
      this.#service.dropped(Failure.slow_reader)
      socket.destroy()
    }
  }

  /** What Node's parser refuses never becomes a request: it is answered here, and the connection ends (RFC 9112 §2.2). */
  #onClientError(error: NodeJS.ErrnoException & { rawPacket?: Buffer }, socket: Duplex): void {
    if (!socket.writable || error.code === 'ECONNRESET') {
      socket.destroy()
      return
    }
    const failure = parseFailure(error)
    this.#service.dropped(failure)
    const connection = this.#connections.get(socket)
    // RFC 9112 §9.3.2: responses come in the order of their requests, this one too
    if (connection?.reading?.reading) this.#service.dismiss(connection.reading, failure)
    else if (connection !== undefined && connection.responsesDue > 0) connection.broken = failure
    else this.#refuse(socket, failureResponse(failure))
  }

  /** Answers what never became a request, and ends the connection. */
  #refuse(socket: Duplex, { status, headers, body }: PlainResponse): void {
    if (!socket.writable) return
    const fields = Object.entries({ date: date(), connection: 'close', ...headers })
    socket.end(
      `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${fields.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`,
    )
  }
}

class Http1Exchange extends Exchange {
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  readonly #budget: OutputBudget
  /** Octets counted in the budget. */
  #held = 0

  constructor(request: IncomingMessage, response: ServerResponse, budget: OutputBudget, facts: ExchangeFacts) {
    super(facts)
    this.#request = request
    this.#response = response
    this.#budget = budget
  }

  override respond(message: Uint8Array, freshness: number): void {
    if (this.#response.destroyed) return
    const { status, headers } = answerHead(message.length, freshness)
    this.#response.writeHead(status, headers)
    this.#response.end(this.headOnly ? undefined : Buffer.from(message))
    this.#held = message.length
    if (this.#budget.take(message.length)) return
    this.service.dropped(Failure.output_limit)
    this.#request.socket.destroy()
  }

  /** The response has been sent, or never will be. */
  release(): void {
    this.#budget.give(this.#held)
    this.#held = 0
  }

  override awaitContent(): void {
    this.service.awaitContent(this)
  }

  override dismiss(response: PlainResponse): void {
    if (this.#response.destroyed) return
    // RFC 9112 §9.3: the connection is usable again only after the whole request has been read
    if (hasContent(this.#request) && !this.#request.complete) this.#response.setHeader('connection', 'close')
    this.#response.writeHead(response.status, response.headers)
    this.#response.end(this.headOnly ? undefined : response.body)
    this.#request.resume()
  }
}

/** A request for another protocol that gets an answer of ours, the last one of its connection. */
class UpgradeExchange extends Exchange {
  readonly #send: (response: PlainResponse) => void

  constructor(send: (response: PlainResponse) => void, facts: ExchangeFacts) {
    super(facts)
    this.#send = send
  }

  /** DNS is nothing to upgrade from. */
  override respond(): void {
    this.dismiss(failureResponse(Failure.http_bad_request))
  }

  override dismiss(response: PlainResponse): void {
    this.#send(response)
  }

  override awaitContent(): void {}
}

/** RFC 6455 §4.1; what has content first would have to be read to its end. */
function isWebSocket(request: IncomingMessage): boolean {
  return request.headers.upgrade?.toLowerCase() === 'websocket' && !hasContent(request)
}

function headOf(request: IncomingMessage): RequestHead {
  const { headers } = request
  return {
    method: request.method ?? '',
    target: request.url ?? '',
    authority: headers.host ?? '',
    contentType: headers['content-type'] ?? '',
    contentEncoding: headers['content-encoding'] ?? '',
    contentLength: contentLengthOf(headers['content-length'] ?? null) ?? NO_CONTENT_LENGTH,
    accept: headers.accept ?? '',
    forwardedFor: textOf(headers['x-forwarded-for']),
    forwarded: headers.forwarded ?? '',
    earlyData: textOf(headers['early-data']),
    protocol: '',
  }
}

/** Node joins most fields that come several times. */
function textOf(value: string | string[] | undefined): string {
  return Array.isArray(value) ? value.join(', ') : (value ?? '')
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
