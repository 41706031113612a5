import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { type Client, NO_KEEPALIVE, TRANSPORTS } from '../../dns/contracts.ts'
import { Failure } from '../../dns/failure.ts'
import { createServer, STATUS_CODES } from '../../net/http.ts'
import { date } from '../../net/http-date.ts'
import { LiveCount } from '../../net/live-count.ts'
import type { OutputBudget } from '../../net/output-budget.ts'
import type { AccessTerms } from '../access.ts'
import type { ConnectionSettings } from '../connection.ts'
import type { ServedConnection } from '../listener.ts'
import type { ServedPeer } from '../served-peer.ts'
import { Http1WebExchange } from '../web/http1-exchange.ts'
import { hasContent } from '../web/http1-head.ts'
import { Http1WebTunnel } from '../web/http1-tunnel.ts'
import { noWork, type Workload } from '../workload.ts'
import { ConnectionClient } from './connection-client.ts'
import { type DohService, Exchange, type ExchangeFacts, type PagePlace, SAFE_METHODS } from './exchange.ts'
import { countOf, expectsContinue, headOf, isLast, isWebSocket, parseFailure } from './http1-request.ts'
import { MAX_HEADER_LENGTH } from './request.ts'
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
  readonly socket: Socket
  /** Responses that are not complete, in the order of their requests, and whose they are. */
  readonly due: Map<ServerResponse, Http1Exchange>
  /** The request whose content is arriving: who hears that it cannot be read. */
  reading: Exchange | Http1WebExchange | null
  /** One of `due` changes something at the origin. */
  hasUnsafe: boolean
  /** It is, or may become, a tunnel. */
  tunnel: Http1WebTunnel | null
  /** What follows the requests could not be parsed: said after the last response. */
  broken: Failure | null
  /** The next response is the last. */
  isDraining: boolean
  /** What follows is not read any more: it is answered on another connection. */
  isOver: boolean
}

/** DoH over HTTP/1.1 (RFC 9112) on Node's own implementation. */
export class Http1Front {
  readonly #service: DohService
  readonly #budget: OutputBudget
  readonly #server: Server
  readonly #connections = new Map<Duplex, ConnectionFacts>()
  /** Responses that are not complete. */
  readonly #due = new LiveCount()

  constructor(service: DohService, { budget }: { budget: OutputBudget }) {
    this.#service = service
    this.#budget = budget
    this.#server = createServer({
      maxHeaderSize: MAX_HEADER_LENGTH,
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      connectionsCheckingInterval: TIMEOUT_CHECK_MS,
      // RFC 9110 §7.8: whoever asks for anything else stays with HTTP/1.1
      shouldUpgradeCallback: (request) => this.#service.rules.web !== null && isWebSocket(request) && this.#isFree(request.socket),
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
    this.#server.on('connect', (request, socket) => {
      this.#watch(request.socket)
      this.#service.dropped(Failure.http_method)
      const connection = this.#connections.get(socket)
      // RFC 9112 §9.3.2
      if (connection !== undefined && connection.due.size > 0) connection.broken = Failure.http_method
      else this.#refuse(socket, failureResponse(Failure.http_method))
    })
    this.#server.on('clientError', (error: NodeJS.ErrnoException, socket) => this.#onClientError(error, socket))
    // a server that never listens checks its timeouts only after this event (design §4)
    this.#server.emit('listening')
  }

  configure({ idleMs }: ConnectionSettings): void {
    this.#server.keepAliveTimeout = idleMs
    this.#server.requestTimeout = this.#service.rules.web === null ? REQUEST_TIMEOUT_MS : UPLOAD_TIMEOUT_MS
  }

  /** `altSvc`: the value of Alt-Svc, null for none. */
  serve(socket: Socket, peer: ServedPeer, { altSvc, terms }: { altSvc: string | null; terms: AccessTerms }): ServedConnection {
    const client: Client = { traits: TRANSPORTS.doh1, ...peer, keepalive: NO_KEEPALIVE }
    const connection: ConnectionFacts = {
      client,
      origin: new ConnectionClient(client, terms),
      workload: noWork(),
      altSvc,
      socket,
      due: new Map(),
      reading: null,
      hasUnsafe: false,
      tunnel: null,
      broken: null,
      isDraining: false,
      isOver: false,
      get held() {
        return socket.writableLength
      },
      drain: () => drain(connection),
      close: () => void socket.destroy(),
    }
    this.#connections.set(socket, connection)
    socket.once('close', () => {
      this.#connections.delete(socket)
      // Node says nothing of those that wait for their turn
      for (const response of connection.due.keys()) this.#answered(connection, response)
    })
    this.#server.emit('connection', socket)
    return connection
  }

  drain(): void {
    for (const connection of this.#connections.values()) connection.drain()
  }

  /** Resolves when the responses that are due have been sent, or after `deadlineMs`. */
  async sent(deadlineMs: number): Promise<void> {
    await this.#due.emptied(deadlineMs)
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
    // it is not answered here: Node discards what follows
    if (connection.isOver) return
    if (connection.isDraining || isLast(request)) response.setHeader('connection', 'close')
    if (connection.altSvc !== null) response.setHeader('alt-svc', connection.altSvc)
    const head = headOf(request)
    const exchange = new Http1Exchange(request, response, this.#budget, { ...connection, service: this.#service, method: head.method })
    const isFirst = connection.due.size === 0
    connection.due.set(response, exchange)
    this.#due.increase()
    response.on('close', () => this.#answered(connection, response))
    if (connection.due.size > MAX_PIPELINED) this.#service.fail(exchange, Failure.connection_limit)
    else if (countOf(request.rawHeaders, 'host') > 1) {
      // RFC 9112 §3.2; who names two hosts may mean two requests, so nothing more is read
      response.setHeader('connection', 'close')
      this.#service.fail(exchange, Failure.http_bad_request)
    } else {
      const place = this.#service.begin(exchange, head)
      if (place !== null) {
        this.#servePage(place, { request, response, connection, isFirst })
        return
      }
    }
    if (!exchange.reading) {
      request.resume()
      return
    }
    connection.reading = exchange
    if (expectsContinue(request)) response.writeContinue()
    request.on('data', (chunk: Buffer) => this.#service.take(exchange, chunk, false))
    request.on('end', () => this.#service.contentEnded(exchange))
  }

  #servePage(place: PagePlace, { request, response, connection, isFirst }: PageParts): void {
    // RFC 9112 §9.3.2: only safe methods may overtake each other; what is not answered here is asked again on another connection
    if (!isFirst && (!SAFE_METHODS.has(request.method ?? '') || connection.hasUnsafe)) {
      connection.isOver = true
      connection.isDraining = true
      this.#answered(connection, response)
      return
    }
    connection.hasUnsafe = !SAFE_METHODS.has(request.method ?? '')
    const exchange = new Http1WebExchange(request, response, place)
    if (exchange.request.hasContent) connection.reading = exchange
    place.web.serve(exchange)
  }

  /** A response is complete, or will never be. */
  #answered(connection: ConnectionFacts, response: ServerResponse): void {
    const exchange = connection.due.get(response)
    if (exchange === undefined) return
    connection.due.delete(response)
    this.#due.decrease()
    this.#service.abandon(exchange)
    exchange.release()
    if (connection.due.size > 0) return
    if (connection.broken !== null) this.#refuse(connection.socket, failureResponse(connection.broken))
    else if (connection.isDraining) connection.socket.end()
  }

  /** Whether nothing is due: an upgrade would take the connection from what is. */
  #isFree(socket: Socket): boolean {
    return this.#connections.get(socket)?.due.size === 0
  }

  /** A WebSocket, which only the proxy has. */
  #onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const connection = this.#connections.get(socket)
    if (connection === undefined) {
      socket.destroy()
      return
    }
    this.#watch(request.socket)
    const exchange = new UpgradeExchange((response) => this.#refuse(socket, response), {
      ...connection,
      service: this.#service,
      method: request.method ?? '',
    })
    if (countOf(request.rawHeaders, 'host') > 1) {
      this.#service.fail(exchange, Failure.http_bad_request)
      return
    }
    const place = this.#service.begin(exchange, headOf(request))
    if (place !== null) {
      connection.tunnel = new Http1WebTunnel(request, socket, head, place)
      place.web.serve(connection.tunnel)
    }
    // DNS is nothing to upgrade from, and what has no content is no POST
    else if (exchange.reading) this.#service.fail(exchange, Failure.http_bad_request)
  }

  /** Node has let go of the socket, and of its timer. */
  #watch(socket: Socket): void {
    socket.setTimeout(STALL_MS)
    socket.on('timeout', () => this.#onSilence(socket))
  }

  /** For a while nothing has gone either way; between requests that is keepAliveTimeout. */
  #onSilence(socket: Socket): void {
    const connection = this.#connections.get(socket)
    if (connection === undefined || (connection.due.size === 0 && connection.tunnel === null)) socket.destroy()
    else if (socket.writableLength > 0 || socket.writableEnded) {
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
    const connection = this.#connections.get(socket)
    // what follows it is read, but not parsed
    if (connection?.broken != null) return
    const failure = parseFailure(error)
    this.#service.dropped(failure)
    // RFC 9112 §9.3.2: responses come in the order of their requests, this one too
    const { reading = null } = connection ?? {}
    if (reading instanceof Http1WebExchange && reading.isReading) reading.fail()
    else if (reading instanceof Exchange && reading.reading) this.#service.dismiss(reading, failure)
    else if (connection !== undefined && connection.due.size > 0) connection.broken = failure
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

interface PageParts {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly connection: ConnectionFacts
  /** Nothing else is due. */
  readonly isFirst: boolean
}

/** RFC 9112 §9.5: who is idle has to expect it. */
function drain(connection: ConnectionFacts): void {
  connection.isDraining = true
  for (const response of connection.due.keys()) if (!response.headersSent) response.setHeader('connection', 'close')
  if (connection.tunnel !== null) connection.tunnel.drain()
  else if (connection.due.size === 0) connection.socket.end()
}

class Http1Exchange extends Exchange {
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  readonly #budget: OutputBudget
  /** Octets counted in the budget. */
  #held = 0
  #isReleased = false

  constructor(request: IncomingMessage, response: ServerResponse, budget: OutputBudget, facts: ExchangeFacts) {
    super(facts)
    this.#request = request
    this.#response = response
    this.#budget = budget
  }

  override respond(message: Uint8Array, freshness: number): void {
    if (this.#response.destroyed || this.#isReleased) return
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
    this.#isReleased = true
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
