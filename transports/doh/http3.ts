import { TRANSPORTS } from '../../dns/contracts.ts'
import { Failure } from '../../dns/failure.ts'
import type { Field } from '../../net/fields.ts'
import { H3, type Http3Error } from '../../net/http3/errors.ts'
import type { Http3Request } from '../../net/http3/fields.ts'
import { type MessageHandler, MessageReader, REQUEST } from '../../net/http3/message-reader.ts'
import { encodeMessage } from '../../net/http3/message-writer.ts'
import { CONTROL_PREAMBLE, GOAWAY_SOON, goaway } from '../../net/http3/own-control.ts'
import { PeerStreams } from '../../net/http3/peer-streams.ts'
import { FIRST_SERVER_UNIDIRECTIONAL, UNIDIRECTIONAL } from '../../net/quic.ts'
import type { ServerIdentities } from '../../net/tls.ts'
import { type QuicConnectionFacts, QuicServerConnection } from '../quic-connection.ts'
import { QuicListeners, type QuicSlice, type QuicTransportDependencies, type QuicTransportOptions } from '../quic-listeners.ts'
import { QuicTransport } from '../quic-transport.ts'
import { ConnectionClient } from './connection-client.ts'
import { DohService, Exchange, type ExchangeFacts } from './exchange.ts'
import { CONTINUE, expectsContinue, fieldsOf } from './fields.ts'
import { type DohOffer, DohRules, NO_OFFER, type RequestHead } from './request.ts'
import { answerHead, type PlainResponse } from './response.ts'

/** RFC 9114 §8.1. */
const HTTP3_CODES = { noError: H3.NO_ERROR, excessiveLoad: H3.EXCESSIVE_LOAD }
/** Client-initiated bidirectional streams are numbered in fours (RFC 9000 §2.1). */
const STREAM_STEP = 4
/** Octets of a request that are read and thrown away after its response. */
const MAX_DISCARDED = 131_072
const NOTHING = new Uint8Array(0)

export interface Http3Slice extends QuicSlice {
  readonly offer: DohOffer
}

/** DNS over HTTPS on QUIC: HTTP/3 (RFC 9114) in front of the same service as the other versions. */
export class Http3Transport extends QuicTransport<Http3Slice> {
  override readonly name = 'doh (HTTP/3)'
  readonly #identities: ServerIdentities
  readonly #service: DohService
  protected override readonly listeners: QuicListeners

  constructor(options: QuicTransportOptions, dependencies: QuicTransportDependencies) {
    super()
    const { governor, onTrouble, ...rest } = dependencies
    this.#identities = options.identities
    const service = new DohService(this.#rules(NO_OFFER), rest)
    this.#service = service
    const facts = { traits: TRANSPORTS.doh3, codes: HTTP3_CODES, dependencies: rest }
    this.listeners = new QuicListeners({
      ...options,
      name: this.name,
      protocol: 'h3',
      explainsRefusal: true,
      governor,
      meter: rest.meter,
      onTrouble,
      serve: (quic, arrival, settings) => new Http3Connection({ ...facts, quic, arrival, settings }, service),
    })
  }

  override async reconfigure(slice: Http3Slice): Promise<void> {
    await super.reconfigure(slice)
    this.#service.rules = this.#rules(slice.offer)
  }

  #rules(offer: DohOffer): DohRules {
    return new DohRules(offer, { covers: (host) => this.#identities.covers(host), web: null })
  }
}

/** One client of HTTP/3 and its request streams. */
class Http3Connection extends QuicServerConnection {
  readonly service: DohService
  readonly origin: ConnectionClient
  readonly #peerStreams = new PeerStreams('client')
  readonly #requests = new Map<number, RequestStream>()
  #nextStream = 0
  #takesNoMore = false

  constructor(facts: QuicConnectionFacts, service: DohService) {
    super(facts)
    this.service = service
    this.origin = new ConnectionClient(this.client, facts.arrival.terms)
  }

  override established(): void {
    // RFC 9114 §6.2.1: at once, without waiting for the client's
    this.quic.send(FIRST_SERVER_UNIDIRECTIONAL, CONTROL_PREAMBLE, false)
    super.established()
  }

  override received(stream: number, bytes: Uint8Array, fin: boolean): void {
    if ((stream & UNIDIRECTIONAL) !== 0) {
      this.#react(stream, this.#peerStreams.push(stream, bytes, fin))
      return
    }
    const request = this.#requests.get(stream) ?? this.#accept(stream)
    if (request === null || !request.mayRead(bytes.length)) return
    const error = request.reader.push(bytes, fin)
    if (fin) request.finished()
    this.#react(stream, error)
  }

  override closed(...reason: Parameters<QuicServerConnection['closed']>): void {
    for (const request of this.#requests.values()) request.abandon()
    this.#requests.clear()
    super.closed(...reason)
  }

  /** A question is about to be asked; false when the connection has too many. */
  override admit(): boolean {
    return super.admit()
  }

  override hold(octets: number): boolean {
    return super.hold(octets)
  }

  override release(octets: number): void {
    super.release(octets)
  }

  respond(stream: number, fields: readonly Field[], content: Uint8Array): void {
    this.touch()
    if (!this.isClosing) this.quic.send(stream, encodeMessage(fields, content), true)
  }

  /** Sends an interim response. */
  inform(stream: number, fields: readonly Field[]): void {
    if (!this.isClosing) this.quic.send(stream, encodeMessage(fields, NOTHING), false)
  }

  /** Both directions of the stream have ended. */
  forget(stream: number): void {
    this.#requests.delete(stream)
  }

  resetStream(stream: number, code: number): void {
    this.cancelled(stream)
    this.quic.reset(stream, code)
  }

  protected override cancelled(stream: number): void {
    // RFC 9114 §6.2.1: our control stream has to stay open
    if (stream === FIRST_SERVER_UNIDIRECTIONAL) this.fail(Failure.http3_error, H3.CLOSED_CRITICAL_STREAM)
    else if ((stream & UNIDIRECTIONAL) !== 0) this.#react(stream, this.#peerStreams.reset(stream))
    this.#requests.get(stream)?.abandon()
    this.#requests.delete(stream)
  }

  /** RFC 9114 §5.2: first that it will end, then with which request. */
  protected override announceDrain(last: boolean): void {
    this.#takesNoMore = last
    this.quic.send(FIRST_SERVER_UNIDIRECTIONAL, last ? goaway(this.#nextStream) : GOAWAY_SOON, false)
  }

  protected override housekeep(): boolean {
    return false
  }

  #accept(stream: number): RequestStream | null {
    if (this.#takesNoMore) {
      // RFC 9114 §4.1.1: not processed, so the client may ask elsewhere
      this.quic.reset(stream, H3.REQUEST_REJECTED)
      return null
    }
    const request = new RequestStream(this, stream)
    this.#requests.set(stream, request)
    this.#nextStream = Math.max(this.#nextStream, stream + STREAM_STEP)
    return request
  }

  #react(stream: number, error: Http3Error | null): void {
    if (error === null) return
    if (error.scope === 'connection') {
      this.fail(Failure.http3_error, error.code)
      return
    }
    // RFC 9114 §6.2.3: an unknown kind of unidirectional stream is no error, only unwanted
    if ((stream & UNIDIRECTIONAL) === 0) this.service.dropped(Failure.http3_error)
    this.resetStream(stream, error.code)
  }
}

/** One request as it arrives (RFC 9114 §4.1). */
class RequestStream implements MessageHandler<Http3Request> {
  readonly reader = new MessageReader<Http3Request>(REQUEST, this)
  readonly #connection: Http3Connection
  readonly #stream: number
  #exchange: Http3Exchange | null = null
  #responded = false
  #finished = false
  /** Octets counted against the connection while the request is incomplete. */
  #held = 0
  #discarded = 0

  constructor(connection: Http3Connection, stream: number) {
    this.#connection = connection
    this.#stream = stream
  }

  /** Counts octets before they are read; false when it is too much. */
  mayRead(octets: number): boolean {
    if (!this.#responded) {
      this.#held += octets
      return this.#connection.hold(octets)
    }
    this.#discarded += octets
    if (this.#discarded <= MAX_DISCARDED) return true
    this.#connection.resetStream(this.#stream, H3.EXCESSIVE_LOAD)
    return false
  }

  onHeaders(request: Http3Request): void {
    const exchange = this.#begin(request.method)
    if (exchange === null) return
    this.#connection.service.begin(exchange, headOf(request))
    if (exchange.reading && expectsContinue(request.fields.get('expect') ?? '')) this.#connection.inform(this.#stream, CONTINUE)
  }

  onHeadersTooLarge(): void {
    const exchange = this.#begin('GET')
    if (exchange !== null) this.#connection.service.fail(exchange, Failure.http_header_too_large)
  }

  onData(chunk: Uint8Array): void {
    if (this.#exchange !== null) this.#connection.service.take(this.#exchange, chunk, false)
  }

  onEnd(): void {
    if (this.#exchange !== null) this.#connection.service.contentEnded(this.#exchange)
  }

  /** The client's FIN has come. */
  finished(): void {
    this.#finished = true
    this.#release()
    if (this.#responded) this.#connection.forget(this.#stream)
  }

  /** Nobody waits for the response any more. */
  abandon(): void {
    this.#release()
    if (this.#exchange !== null) this.#connection.service.abandon(this.#exchange)
  }

  respond(fields: readonly Field[], content: Uint8Array): void {
    if (this.#responded) return
    this.#responded = true
    this.#release()
    this.#connection.respond(this.#stream, fields, content)
    if (this.#finished) this.#connection.forget(this.#stream)
  }

  #begin(method: string): Http3Exchange | null {
    if (!this.#connection.admit()) return null
    const { origin, service, workload } = this.#connection
    this.#exchange = new Http3Exchange(this, { origin, service, workload, method })
    return this.#exchange
  }

  #release(): void {
    this.#connection.release(this.#held)
    this.#held = 0
  }
}

class Http3Exchange extends Exchange {
  readonly #request: RequestStream

  constructor(request: RequestStream, facts: ExchangeFacts) {
    super(facts)
    this.#request = request
  }

  override respond(message: Uint8Array, freshness: number): void {
    this.#request.respond(fieldsOf(answerHead(message.length, freshness)), this.headOnly ? NOTHING : message)
  }

  override awaitContent(): void {
    this.service.awaitContent(this)
  }

  override dismiss(response: PlainResponse): void {
    this.#request.respond(fieldsOf(response), this.headOnly ? NOTHING : Buffer.from(response.body))
  }
}

function headOf({ method, path, authority, contentLength, fields }: Http3Request): RequestHead {
  return {
    method,
    target: path,
    authority,
    contentType: fields.get('content-type') ?? '',
    contentEncoding: fields.get('content-encoding') ?? '',
    contentLength,
    accept: fields.get('accept') ?? '',
    forwardedFor: '',
    forwarded: '',
    earlyData: '',
    protocol: '',
  }
}
