import { u16 } from '../dns/bytes.ts'
import { Failure } from '../dns/failure.ts'
import { HEADER_LENGTH, MAX_MESSAGE_LENGTH } from '../dns/header.ts'
import type { Query } from '../dns/query.ts'
import { QUERY_BLOCK, writeQuestion } from '../dns/question.ts'
import { ByteCollector } from '../net/byte-collector.ts'
import { postFields } from '../net/doh-post.ts'
import { H3, type Http3Error } from '../net/http3/errors.ts'
import type { Http3Response } from '../net/http3/fields.ts'
import { type MessageHandler, MessageReader, RESPONSE } from '../net/http3/message-reader.ts'
import { encodeMessage } from '../net/http3/message-writer.ts'
import { CONTROL_PREAMBLE } from '../net/http3/own-control.ts'
import { PeerStreams } from '../net/http3/peer-streams.ts'
import { FIRST_CLIENT_UNIDIRECTIONAL, type QuicClientConnection, SERVER_INITIATED, UNIDIRECTIONAL } from '../net/quic.ts'
import { scratch } from '../net/scratch.ts'
import { ageOf, hasMessage, pauseOf } from './doh-response.ts'
import type { DialectEvents, QuicDialect, QuicProtocol } from './quic-dialect.ts'

const NOTHING = new Uint8Array(0)

/** DNS over HTTPS (RFC 8484) on HTTP/3, to the resource at `url`. */
export function doh3(url: URL): QuicProtocol {
  const requests = new Requests(url)
  return {
    token: 'h3',
    codes: { noError: H3.NO_ERROR, excessiveLoad: H3.EXCESSIVE_LOAD, cancelled: H3.REQUEST_CANCELLED, keepalive: null },
    needsUnidirectional: true,
    open: (connection, events) => new Http3Dialect(connection, requests, events),
  }
}

/** Requests, whose header sections differ by the length of the question only: padded, it has one of four. */
class Requests {
  readonly #url: URL
  readonly #heads: Buffer[] = []

  constructor(url: URL) {
    this.#url = url
  }

  /** RFC 8484 §4.1: the id is 0. */
  write(query: Query): Buffer {
    const length = writeQuestion(query, scratch, 0, { id: 0, keepalive: false, padding: QUERY_BLOCK })
    const head = this.#headFor(length)
    const request = Buffer.allocUnsafe(head.length + length)
    head.copy(request)
    scratch.copy(request, head.length, 0, length)
    return request
  }

  #headFor(length: number): Buffer {
    const known = this.#heads[length / QUERY_BLOCK]
    if (known !== undefined) return known
    const whole = encodeMessage([...postFields(this.#url, length), ['accept-encoding', 'identity']], scratch.subarray(0, length))
    const head = Buffer.from(whole.subarray(0, whole.length - length))
    this.#heads[length / QUERY_BLOCK] = head
    return head
  }
}

class Http3Dialect implements QuicDialect {
  held = 0
  readonly #connection: QuicClientConnection
  readonly #requests: Requests
  readonly #events: DialectEvents
  readonly #peerStreams = new PeerStreams('server')
  readonly #responses = new Map<number, Response>()
  #goaway = Number.POSITIVE_INFINITY

  constructor(connection: QuicClientConnection, requests: Requests, events: DialectEvents) {
    this.#connection = connection
    this.#requests = requests
    this.#events = events
    // RFC 9114 §6.2.1: the control stream comes first
    connection.send(FIRST_CLIENT_UNIDIRECTIONAL, CONTROL_PREAMBLE, false)
  }

  ask(stream: number, query: Query): void {
    this.#connection.send(stream, this.#requests.write(query), true)
  }

  received(stream: number, bytes: Uint8Array, fin: boolean): void {
    if ((stream & UNIDIRECTIONAL) !== 0) {
      this.#react(stream, this.#peerStreams.push(stream, bytes, fin))
      this.#heedGoaway()
      return
    }
    if ((stream & SERVER_INITIATED) !== 0) {
      // RFC 9114 §6.1
      this.#events.violated(H3.STREAM_CREATION_ERROR, -1)
      return
    }
    if (!this.#events.isWaiting(stream)) return
    const response = this.#responses.get(stream) ?? this.#begin(stream)
    this.held += bytes.length
    const error = response.push(bytes, fin)
    this.#react(stream, error)
    if (error === null) this.#conclude(stream, response, fin)
  }

  reset(stream: number): void {
    if ((stream & UNIDIRECTIONAL) === 0) this.#events.refused(stream)
    // our own control stream: the server wants none, and cannot be spoken to (RFC 9114 §6.2.1)
    else if (stream === FIRST_CLIENT_UNIDIRECTIONAL) this.#events.violated(H3.CLOSED_CRITICAL_STREAM, -1)
    else this.#react(stream, this.#peerStreams.reset(stream))
  }

  forget(stream: number): void {
    const response = this.#responses.get(stream)
    if (response === undefined) return
    this.held -= response.octets
    this.#responses.delete(stream)
  }

  #begin(stream: number): Response {
    const response = new Response()
    this.#responses.set(stream, response)
    return response
  }

  #conclude(stream: number, response: Response, fin: boolean): void {
    const { verdict } = response
    if (verdict === 'waiting') return
    if (verdict === 'refused') {
      if (!fin) this.#connection.reset(stream, H3.REQUEST_CANCELLED)
      if (response.pauseMs > 0) this.#events.busy(response.pauseMs)
      this.#events.failed(stream, Failure.upstream_malformed)
      return
    }
    const { content } = response
    // conformance VAL-08: the id is what was sent
    if (content.length < HEADER_LENGTH || u16(content, 0) !== 0) this.#events.failed(stream, Failure.upstream_malformed)
    else this.#events.answered(stream, content, response.ageSeconds)
  }

  #react(stream: number, error: Http3Error | null): void {
    if (error === null) return
    if (error.scope === 'connection') {
      this.#events.violated(error.code, this.#events.isWaiting(stream) ? stream : -1)
      return
    }
    this.#connection.reset(stream, error.code)
    // RFC 9114 §6.2.3: a unidirectional stream of an unknown type does no harm, and nobody waits for it
    this.#events.failed(stream, Failure.upstream_malformed)
  }

  #heedGoaway(): void {
    const { goaway } = this.#peerStreams
    if (goaway >= this.#goaway) return
    this.#goaway = goaway
    this.#events.leaving(goaway)
  }
}

/** The response on one stream. */
class Response implements MessageHandler<Http3Response> {
  verdict: 'waiting' | 'refused' | 'complete' = 'waiting'
  ageSeconds = 0
  pauseMs = 0
  /** That have come: no more than these are kept, as fields or as content. */
  octets = 0
  /** The whole of it once it is complete: borrowed where it came in one piece. */
  content: Uint8Array = NOTHING
  readonly #reader = new MessageReader<Http3Response>(RESPONSE, this)
  #collector: ByteCollector | null = null
  #length = 0

  push(bytes: Uint8Array, fin: boolean): Http3Error | null {
    this.octets += bytes.length
    const error = this.#reader.push(bytes, fin)
    if (error === null && this.verdict === 'waiting' && this.content.length > 0) this.#collector = this.#keep()
    return error
  }

  onHeaders({ status, fields, contentLength }: Http3Response): void {
    if (!hasMessage(status, fields) || contentLength > MAX_MESSAGE_LENGTH) this.verdict = 'refused'
    this.ageSeconds = ageOf(fields)
    this.pauseMs = pauseOf(status, fields)
  }

  onHeadersTooLarge(): void {
    this.verdict = 'refused'
  }

  onData(chunk: Uint8Array): void {
    if (this.verdict === 'refused') return
    this.#length += chunk.length
    if (this.#length > MAX_MESSAGE_LENGTH) {
      this.verdict = 'refused'
      return
    }
    if (this.#collector === null && this.content.length === 0) {
      this.content = chunk
      return
    }
    this.#collector ??= this.#keep()
    this.#collector.add(chunk)
  }

  onEnd(): void {
    if (this.verdict === 'refused') return
    if (this.#collector !== null) this.content = this.#collector.take()
    this.verdict = 'complete'
  }

  /** What is borrowed is copied, because more is to come. */
  #keep(): ByteCollector {
    const collector = new ByteCollector()
    collector.add(this.content)
    this.content = NOTHING
    return collector
  }
}
