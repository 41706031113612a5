import type { Socket } from 'node:net'
import { type Client, NO_KEEPALIVE, TRANSPORTS } from '../../dns/contracts.ts'
import { Failure } from '../../dns/failure.ts'
import type { Field } from '../../net/fields.ts'
import { LiveSet } from '../../net/live-set.ts'
import type { AccessTerms } from '../access.ts'
import type { ConnectionSettings } from '../connection.ts'
import { Http2Connection, type Http2Dependencies } from '../http2/connection.ts'
import type { Http2Handler } from '../http2/host.ts'
import { maxFieldsLength, putFields } from '../http2/hpack/encoder.ts'
import { HTTP2_LIMITS } from '../http2/limits.ts'
import type { RequestFields } from '../http2/request-fields.ts'
import type { HeaderBlock, Http2Stream, StreamReceiver } from '../http2/stream.ts'
import type { ServedConnection } from '../listener.ts'
import type { ServedPeer } from '../served-peer.ts'
import { noWork, type Workload } from '../workload.ts'
import { AnswerBlock } from './answer-block.ts'
import { ConnectionClient } from './connection-client.ts'
import { CONTENT_TIMEOUT_MS } from './content.ts'
import { type DohService, Exchange, type ExchangeFacts } from './exchange.ts'
import { CONTINUE, expectsContinue, fieldsOf } from './fields.ts'
import { Http2WebExchange } from './http2-web.ts'
import type { RequestHead } from './request.ts'
import type { PlainResponse } from './response.ts'

/** RFC 9113 §6.5.2: fewer streams than this should not be announced. */
const MIN_STREAMS = 100
const NOTHING = Buffer.alloc(0)

/** DoH over HTTP/2 (RFC 9113). */
export class Http2Front {
  readonly #service: DohService
  readonly #dependencies: Http2Dependencies
  /** Those that may still have something to send. */
  readonly #connections = new LiveSet<Http2Connection>()
  #settings: ConnectionSettings = { idleMs: 0, inFlight: 0 }
  #answerBlock = new AnswerBlock(null)

  constructor(service: DohService, dependencies: Http2Dependencies) {
    this.#service = service
    this.#dependencies = dependencies
  }

  configure(settings: ConnectionSettings): void {
    this.#settings = settings
  }

  /** `altSvc`: the value of Alt-Svc, null for none. */
  serve(socket: Socket, peer: ServedPeer, { altSvc, terms }: { altSvc: string | null; terms: AccessTerms }): ServedConnection {
    const { idleMs, inFlight } = this.#settings
    const client: Client = { traits: TRANSPORTS.doh2, ...peer, keepalive: NO_KEEPALIVE }
    const handler = new DohHandler(this.#service, {
      origin: new ConnectionClient(client, terms),
      inFlight,
      answerBlock: this.#answerBlockFor(altSvc),
    })
    const connection = new Http2Connection(socket, {
      ...this.#dependencies,
      limits: HTTP2_LIMITS,
      idleMs,
      maxStreams: Math.max(inFlight, MIN_STREAMS),
      connects: this.#service.rules.web !== null,
      handler,
      dropped: (failure) => this.#service.dropped(failure),
    })
    this.#connections.add(connection)
    for (const end of ['finish', 'close']) socket.once(end, () => this.#connections.delete(connection))
    return {
      client,
      workload: handler.workload,
      get held() {
        return connection.held
      },
      drain: () => connection.drain(),
      close: () => connection.close(),
    }
  }

  /** One for all connections that have the same one before them. */
  #answerBlockFor(altSvc: string | null): AnswerBlock {
    if (this.#answerBlock.altSvc !== altSvc) this.#answerBlock = new AnswerBlock(altSvc)
    return this.#answerBlock
  }

  /** RFC 9113 §6.8: GOAWAY; requests that are open are answered. */
  drain(): void {
    for (const connection of this.#connections) connection.drain()
  }

  /** Resolves when all has been sent, or after `deadlineMs`. */
  async sent(deadlineMs: number): Promise<void> {
    await this.#connections.emptied(deadlineMs)
  }
}

/** The requests of one connection. */
class DohHandler implements Http2Handler {
  readonly #service: DohService
  readonly #origin: ConnectionClient
  readonly #inFlight: number
  readonly #answerBlock: AnswerBlock
  readonly workload: Workload = noWork()

  constructor(
    service: DohService,
    { origin, inFlight, answerBlock }: { origin: ConnectionClient; inFlight: number; answerBlock: AnswerBlock },
  ) {
    this.#service = service
    this.#origin = origin
    this.#inFlight = inFlight
    this.#answerBlock = answerBlock
  }

  get mayAccept(): boolean {
    return this.workload.questions < this.#inFlight
  }

  request(stream: Http2Stream, fields: RequestFields): void {
    const exchange = this.#exchangeOf(stream, fields.method)
    const place = this.#service.begin(exchange, new Http2Head(fields))
    if (place !== null) {
      place.web.serve(new Http2WebExchange(stream, fields, place))
      return
    }
    if (!exchange.reading) return
    if (stream.remoteEnded) this.#service.contentEnded(exchange)
    else if (expectsContinue(fields.expect)) stream.sendHeaders(CONTINUE, false)
  }

  requestTooLarge(stream: Http2Stream, method: string): void {
    this.#service.fail(this.#exchangeOf(stream, method), Failure.http_header_too_large)
  }

  #exchangeOf(stream: Http2Stream, method: string): Http2Exchange {
    const exchange = new Http2Exchange(stream, this.#answerBlock, {
      origin: this.#origin,
      workload: this.workload,
      service: this.#service,
      method,
    })
    stream.receiver = exchange
    return exchange
  }
}

class Http2Exchange extends Exchange implements StreamReceiver {
  readonly #stream: Http2Stream
  readonly #answerBlock: AnswerBlock

  constructor(stream: Http2Stream, answerBlock: AnswerBlock, facts: ExchangeFacts) {
    super(facts)
    this.#stream = stream
    this.#answerBlock = answerBlock
  }

  override respond(message: Uint8Array, freshness: number): void {
    this.#stream.respond(this.#answerBlock.of(message.length, freshness), this.headOnly ? NOTHING : message)
  }

  override dismiss(response: PlainResponse): void {
    const block = new FieldsBlock([...fieldsOf(response), ...this.#answerBlock.extra])
    this.#stream.respond(block, this.headOnly ? NOTHING : Buffer.from(response.body))
  }

  override awaitContent(): void {
    this.#stream.contentMs = CONTENT_TIMEOUT_MS
  }

  onData(chunk: Uint8Array, isLast: boolean): void {
    this.service.take(this, chunk, isLast)
    // a message that is too long says so only if it may be longer than a window; all else is held, and stays in the connection's window
    if (this.#stream.receiveWindow === 0) this.#stream.consume(1)
  }

  onEnd(): void {
    this.service.contentEnded(this)
  }

  onLate(): void {
    this.service.fail(this, Failure.http_body_timeout)
  }

  onWritable(): void {}

  onAborted(): void {
    this.service.abandon(this)
  }
}

class FieldsBlock implements HeaderBlock {
  readonly #fields: readonly Field[]

  constructor(fields: readonly Field[]) {
    this.#fields = fields
  }

  get maxLength(): number {
    return maxFieldsLength(this.#fields)
  }

  write(bytes: Buffer, at: number): number {
    return putFields(bytes, at, this.#fields)
  }
}

/** What is asked of a request, looked for when it is asked. */
class Http2Head implements RequestHead {
  readonly #fields: RequestFields

  constructor(fields: RequestFields) {
    this.#fields = fields
  }

  get method(): string {
    return this.#fields.method
  }

  get target(): string {
    return this.#fields.path
  }

  get authority(): string {
    return this.#fields.authority
  }

  get contentType(): string {
    return this.#fields.contentType
  }

  get contentEncoding(): string {
    return this.#fields.contentEncoding
  }

  get contentLength(): number {
    return this.#fields.contentLength
  }

  get accept(): string {
    return this.#fields.accept
  }

  get forwardedFor(): string {
    return this.#fields.get('x-forwarded-for')
  }

  get forwarded(): string {
    return this.#fields.get('forwarded')
  }

  get protocol(): string {
    return this.#fields.protocol
  }

  get earlyData(): string {
    return this.#fields.get('early-data')
  }
}
