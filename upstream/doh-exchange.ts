import type { IncomingHttpHeaders } from 'node:http'
import type { ClientHttp2Stream } from 'node:http2'
import type { Dispatcher } from 'undici'
import type { UpstreamSink } from '../dns/contracts.ts'
import { Failure } from '../dns/failure.ts'
import { MAX_MESSAGE_LENGTH } from '../dns/header.ts'
import type { Query } from '../dns/query.ts'
import { ByteCollector } from '../net/byte-collector.ts'
import { WheelEntry } from '../net/wheel.ts'
import { ageOf, hasMessage, pauseOf, type ResponseFields } from './doh-response.ts'
import { ownNextStream, type StreamOwner } from './http2-streams.ts'

/** Interim responses (RFC 9110 §15.2) to one request: a server that works needs none for a POST. */
const MAX_INTERIM = 8
/** RFC 9110 §15.2. */
const FIRST_FINAL_STATUS = 200

/** RFC 9113 §7. */
const CANCEL = 0x8

/** undici takes an error of this code for one of a request, and not of all that wait. */
const CANCELLED = Object.assign(new Error('Cannot use the response: expected: a question: received: none that is open.'), {
  code: 'UND_ERR_INFO',
})

/** What undici says when only this stream has failed, and the connection goes on. */
const STREAM_ERRORS: ReadonlySet<string | undefined> = new Set([
  'ERR_HTTP2_STREAM_ERROR',
  'UND_ERR_INFO',
  'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
])

/** Field lines as undici has them; one response is looked at at a time. */
class ReceivedFields implements ResponseFields {
  headers: IncomingHttpHeaders = {}

  get(name: string): string | null {
    const value = this.headers[name]
    return typeof value === 'string' ? value : null
  }
}

const fields = new ReceivedFields()

/** The connection that carries an exchange. */
export interface ExchangeOwner {
  /** Whether it works no longer, so that whatever goes wrong is not the fault of one stream. */
  readonly isBroken: boolean
  /** It works no longer, as the error of a request says. */
  broke(): void
  /** The head of a response has come; `retryAfterMs`: for how long the server wants to be left alone. */
  heard(retryAfterMs: number): void
  /** `ageMs`: how long it was kept by caches on its way. */
  answered(exchange: Exchange, message: Buffer, ageMs: number): void
  failed(exchange: Exchange, failure: Failure): void
  /** The server has not answered, and perhaps has not been asked, through no fault of the question. */
  lost(exchange: Exchange): void
  /** Its time is over. */
  expired(exchange: Exchange): void
  /** Calls cancel() soon. */
  cancelLater(exchange: Exchange): void
  /** undici has done with it: its stream is free. */
  released(exchange: Exchange): void
}

/**
 * One question on its way over one connection: its own timer, and what undici tells of the response. It has one outcome; after
 * that it only waits until undici has let go of it.
 */
export class Exchange extends WheelEntry implements Dispatcher.DispatchHandler, StreamOwner {
  readonly query: Query
  readonly sink: UpstreamSink
  /** Whether it was sent on an earlier connection that broke (conformance TCP-13: once). */
  readonly resent: boolean
  /** When it was asked; once it has a stream, since when it has that. */
  sentAt: number
  stream: ClientHttp2Stream | null = null
  readonly #owner: ExchangeOwner
  readonly #content = new ByteCollector()
  #controller: Dispatcher.DispatchController | null = null
  #isOpen = true
  #ageMs = 0
  #interim = 0

  constructor(query: Query, sink: UpstreamSink, facts: { now: number; resent: boolean; owner: ExchangeOwner }) {
    super()
    this.query = query
    this.sink = sink
    this.sentAt = facts.now
    this.resent = facts.resent
    this.#owner = facts.owner
  }

  /** Whether undici can be told to give it up. */
  get isStarted(): boolean {
    return this.#controller !== null
  }

  /** Takes it from its connection, once: false when it has had its outcome. */
  settle(): boolean {
    const wasOpen = this.#isOpen
    this.#isOpen = false
    return wasOpen
  }

  /** Resets its stream; never while undici or Node tell of something that was received (conformance H2-69). */
  cancel(): void {
    // undici destroys it, and what is destroyed before it was sent is not reset: the server would answer, and the stream be nobody's
    this.stream?.close(CANCEL)
    this.#controller?.abort(CANCELLED)
  }

  override onDeadline(): void {
    if (this.settle()) this.#owner.expired(this)
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    const isRetry = this.#controller !== null
    this.#controller = controller
    if (!isRetry && this.#isOpen) {
      ownNextStream(this)
      return
    }
    const isRefused = this.settle()
    controller.abort(CANCELLED)
    // RFC 9113 §8.7: refused without being looked at. undici would ask again, the same server over the same connection
    if (isRefused) this.#owner.lost(this)
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    if (!this.#isOpen) return
    if (status < FIRST_FINAL_STATUS) {
      if (++this.#interim > MAX_INTERIM) this.#reject(Failure.upstream_malformed)
      return
    }
    fields.headers = headers
    const pauseMs = pauseOf(status, fields)
    this.#owner.heard(pauseMs)
    this.#ageMs = ageOf(fields) * 1000
    // RFC 6585 §4, RFC 9110 §15.6.4: the server works, but not for us, not now
    if (pauseMs > 0) this.#reject(Failure.upstream_failed)
    else if (!hasMessage(status, fields)) this.#reject(Failure.upstream_malformed)
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (!this.#isOpen) return
    // undici has a limit too, but resets the stream at once
    if (this.#content.length + chunk.length > MAX_MESSAGE_LENGTH) this.#reject(Failure.upstream_malformed)
    else this.#content.add(chunk)
  }

  onResponseEnd(): void {
    this.#owner.released(this)
    if (this.settle()) this.#owner.answered(this, this.#content.take(), this.#ageMs)
  }

  onResponseError(_controller: Dispatcher.DispatchController | null, { code }: NodeJS.ErrnoException): void {
    this.#owner.released(this)
    const wasOpen = this.settle()
    // what has ended no stream has ended nothing: Node cannot send the request, nor any other on this connection
    const isOfStream = STREAM_ERRORS.has(code) && !(code === CANCELLED.code && this.stream?.closed === false)
    if (!isOfStream) this.#owner.broke()
    if (!wasOpen) return
    if (isOfStream && !this.#owner.isBroken) this.#owner.failed(this, Failure.upstream_malformed)
    else this.#owner.lost(this)
  }

  #reject(failure: Failure): void {
    this.settle()
    this.#owner.cancelLater(this)
    this.#owner.failed(this, failure)
  }
}
