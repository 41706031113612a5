import { Failure } from '../../dns/failure.ts'
import type { Clock } from '../../net/clock.ts'
import { type Field, NO_CONTENT_LENGTH } from '../../net/fields.ts'
import { DEFAULT_WINDOW, ErrorCode, MAX_STREAM, MAX_WINDOW } from './codes.ts'
import { putRstStream, putWindowUpdate } from './control-frames.ts'
import type { FieldLine } from './field-line.ts'
import type { FloodGuard } from './flood.ts'
import type { SessionHost } from './host.ts'
import { DECODED, HpackDecoder, INVALID, TOO_LARGE } from './hpack/decoder.ts'
import type { Http2Limits } from './limits.ts'
import { RecentStreams } from './recent-streams.ts'
import { areTrailers, RequestFields } from './request-fields.ts'
import { Sender } from './sender.ts'
import { type HeaderBlock, Http2Stream, type StreamOwner } from './stream.ts'

/** Octets of content after which the client is told that it may send more: half a stream's window. */
const CREDIT_THRESHOLD = 32_768
/** How long a request may take to end when it has been answered already. */
const LINGER_MS = 2000
const NO_LINES: readonly FieldLine[] = []
/** Field blocks are read one after the other: one for all connections of the thread. */
const requestFields = new RequestFields()

export interface StreamTableOptions {
  readonly host: SessionHost
  readonly guard: FloodGuard
  readonly limits: Http2Limits
  readonly clock: Clock
  /** Streams that may be open at once. */
  readonly maxStreams: number
  /** RFC 8441: whether CONNECT may have a protocol. */
  readonly connects: boolean
  /** RFC 9113 §5.4.1: ends the connection. */
  readonly fail: (code: ErrorCode, failure: Failure) => void
}

/** The streams of one connection (RFC 9113 §5): their states, and what their clients may still send. */
export class StreamTable implements StreamOwner {
  readonly sender: Sender
  /** The highest stream that a client has opened. */
  last = 0
  /** The highest that is answered (RFC 9113 §6.8); those beyond are ignored. */
  lastAccepted = MAX_STREAM
  /** What a client may have open is known to it (RFC 9113 §6.5.3). */
  isLimitKnown = false
  /** Streams whose request has not ended. */
  incomplete = 0
  /** Octets that were received and not consumed, on all streams. */
  unconsumed = 0
  readonly #options: StreamTableOptions
  readonly #decoder: HpackDecoder
  readonly #open = new Map<number, Http2Stream>()
  readonly #recentlyReset: RecentStreams
  /** RFC 9113 §6.9.2: of the client's streams that are opened from now on. */
  #initialSendWindow = DEFAULT_WINDOW
  /** Octets that the client may still send on the connection, and those that it may again and does not know of. */
  #receiveWindow: number
  #uncredited = 0

  constructor(options: StreamTableOptions) {
    this.#options = options
    this.#receiveWindow = options.limits.connectionWindow
    this.#recentlyReset = new RecentStreams(options.maxStreams)
    this.#decoder = new HpackDecoder(options.limits.maxHeaderListSize)
    const { host } = options
    this.sender = new Sender({ responseEnded: (stream) => this.#onResponseEnded(stream), contentWaits: () => host.watch() }, options.clock)
  }

  get size(): number {
    return this.#open.size
  }

  /** A whole field block: it is decoded in any case, since others may refer to it (RFC 9113 §4.3). */
  onFieldBlock(id: number, { endStream, bytes, start, end }: { endStream: boolean; bytes: Buffer; start: number; end: number }): void {
    const { lines } = requestFields
    lines.length = 0
    const decoded = this.#decoder.decode(bytes, start, end, lines)
    if (decoded === INVALID) {
      this.#options.fail(ErrorCode.COMPRESSION_ERROR, Failure.http2_error)
      return
    }
    if (id <= this.last) {
      this.#onTrailers(id, endStream, decoded === DECODED)
      return
    }
    // RFC 9113 §5.1.1
    if (id % 2 === 0) {
      this.#options.fail(ErrorCode.PROTOCOL_ERROR, Failure.http2_error)
      return
    }
    this.last = id
    if (id <= this.lastAccepted) this.#onRequest(id, endStream, decoded === TOO_LARGE)
  }

  /** `length`: octets of the payload, padding included, all of which the windows count (RFC 9113 §6.9.1). */
  onData(id: number, content: Uint8Array, { length, endStream }: { length: number; endStream: boolean }): void {
    this.#receiveWindow -= length
    if (this.#receiveWindow < 0) {
      this.#options.fail(ErrorCode.FLOW_CONTROL_ERROR, Failure.http2_error)
      return
    }
    const stream = this.#open.get(id)
    // RFC 9113 §5.1: what is not open is idle, closed, or half-closed
    if (stream === undefined || stream.remoteEnded) {
      this.#onStrayData(id, length)
      return
    }
    stream.receiveWindow -= length
    if (stream.receiveWindow < 0) {
      this.#credit(length)
      this.#resetFor(stream, ErrorCode.FLOW_CONTROL_ERROR)
      return
    }
    this.#creditStream(stream, length - content.length)
    stream.received += content.length
    stream.unconsumed += content.length
    this.unconsumed += content.length
    if (!isAsLongAsSaid(stream, endStream)) {
      this.#resetFor(stream, ErrorCode.PROTOCOL_ERROR)
      return
    }
    // first: who is given the last of it may answer at once
    if (endStream) this.#endRequest(stream)
    if (stream.isLingering) this.consume(stream, content.length)
    else if (content.length > 0) stream.receiver?.onData(content, endStream)
    if (endStream && !stream.closed) this.#requestEnded(stream, NO_LINES)
  }

  /** RFC 9113 §6.4. The client's own, so nothing is sent back. */
  onReset(id: number): void {
    const stream = this.#open.get(id)
    if (stream === undefined) return
    this.#close(stream)
    stream.receiver?.onAborted()
  }

  /** RFC 9113 §6.3: a PRIORITY frame of another length is an error of its stream, whatever state that has. */
  onBadPriority(id: number): void {
    const stream = this.#open.get(id)
    if (stream !== undefined) this.#resetFor(stream, ErrorCode.FRAME_SIZE_ERROR)
    else {
      this.#putReset(id, ErrorCode.FRAME_SIZE_ERROR)
      this.#failFor(this.#options.guard.onOwnReset())
    }
  }

  /** RFC 9113 §6.9, on a stream. */
  onWindowUpdate(id: number, increment: number): void {
    const stream = this.#open.get(id)
    // RFC 9113 §5.1: it may have been closed meanwhile
    if (stream === undefined) return
    stream.sendWindow += increment
    if (increment === 0) this.#resetFor(stream, ErrorCode.PROTOCOL_ERROR)
    else if (stream.sendWindow > MAX_WINDOW) this.#resetFor(stream, ErrorCode.FLOW_CONTROL_ERROR)
  }

  /** RFC 9113 §6.9.2: the difference counts for streams that are open too. False when a window becomes too large. */
  setInitialWindow(size: number): boolean {
    const difference = size - this.#initialSendWindow
    this.#initialSendWindow = size
    let fits = true
    for (const stream of this.#open.values()) {
      stream.sendWindow += difference
      if (stream.sendWindow > MAX_WINDOW) fits = false
    }
    return fits
  }

  /** Ends what has taken too long: content that has not come, and content that the client does not take. */
  check(now: number): void {
    if (this.incomplete > 0) for (const stream of this.#open.values()) if (isLate(stream, now)) this.#onLate(stream)
    for (const stream of this.sender.stalledSince(now - this.#options.limits.stallMs)) {
      this.#options.host.dropped(Failure.slow_reader)
      this.reset(stream, ErrorCode.CANCEL)
      stream.receiver?.onAborted()
    }
  }

  /** The connection has ended: nothing more is sent. */
  abort(): void {
    this.unconsumed = 0
    for (const stream of this.#open.values()) {
      stream.unconsumed = 0
      this.#close(stream)
      stream.receiver?.onAborted()
    }
  }

  respond(stream: Http2Stream, block: HeaderBlock, content: Uint8Array): void {
    this.#options.guard.contentSent(content.length)
    this.sender.respond(stream, block, content)
    this.#options.host.outputReady()
  }

  sendHeaders(stream: Http2Stream, fields: readonly Field[], end: boolean): void {
    this.sender.sendHeaders(stream, fields, end)
    this.#options.host.outputReady()
  }

  write(stream: Http2Stream, chunk: Uint8Array): boolean {
    this.#options.guard.contentSent(chunk.length)
    const mayGoOn = this.sender.write(stream, chunk)
    this.#options.host.outputReady()
    return mayGoOn
  }

  end(stream: Http2Stream, trailers: readonly Field[]): void {
    this.sender.end(stream, trailers)
    this.#options.host.outputReady()
  }

  consume(stream: Http2Stream, octets: number): void {
    stream.unconsumed -= octets
    this.unconsumed -= octets
    this.#creditStream(stream, octets)
  }

  reset(stream: Http2Stream, code: ErrorCode): void {
    this.#close(stream)
    this.#putReset(stream.id, code)
  }

  #onRequest(id: number, endStream: boolean, isTooLarge: boolean): void {
    const { host, guard, limits, maxStreams, connects } = this.#options
    const isOver = this.#open.size >= maxStreams
    if (isOver || !host.mayAccept || this.sender.waitingLength > limits.maxHeldOutput) {
      host.dropped(Failure.http2_too_many_streams)
      // RFC 9113 §5.1.2, 8.7: nothing was done, so it may be tried again. Who knows the limit and passes it makes us reset streams
      this.#putReset(id, ErrorCode.REFUSED_STREAM)
      if (isOver && this.isLimitKnown) this.#failFor(guard.onOwnReset())
      return
    }
    const isMalformed = !isTooLarge && (!requestFields.read() || (requestFields.protocol !== '' && !connects))
    const contentLength = isTooLarge ? NO_CONTENT_LENGTH : requestFields.contentLength
    const stream = new Http2Stream(id, this, { sendWindow: this.#initialSendWindow, contentLength, remoteEnded: endStream })
    if (isMalformed || !isAsLongAsSaid(stream, endStream)) {
      host.dropped(Failure.http_bad_request)
      this.#resetFor(stream, ErrorCode.PROTOCOL_ERROR)
      return
    }
    if (isTooLarge) host.requestTooLarge(stream, requestFields.lines.find(({ name }) => name === ':method')?.value ?? '')
    else host.request(stream, requestFields)
    // most are answered by now
    if (stream.closed) return
    this.#open.set(id, stream)
    if (!stream.remoteEnded) this.incomplete++
  }

  #onTrailers(id: number, endStream: boolean, isWithinLimit: boolean): void {
    // RFC 9113 §6.8: of a request that is ignored
    if (id > this.lastAccepted) return
    const stream = this.#open.get(id)
    if (stream === undefined) {
      // RFC 9113 §5.1.1: identifiers rise, and none is used twice
      if (!this.#recentlyReset.has(id)) this.#options.fail(ErrorCode.PROTOCOL_ERROR, Failure.http2_error)
    } else if (stream.remoteEnded) this.#resetFor(stream, ErrorCode.STREAM_CLOSED)
    // RFC 9113 §8.1: they end the request
    else if (!endStream || !isWithinLimit || !areTrailers(requestFields.lines) || !isAsLongAsSaid(stream, true))
      this.#resetFor(stream, ErrorCode.PROTOCOL_ERROR)
    else {
      this.#endRequest(stream)
      this.#requestEnded(stream, requestFields.lines)
    }
  }

  #requestEnded(stream: Http2Stream, trailers: readonly FieldLine[]): void {
    stream.receiver?.onEnd(trailers)
    // a tunnel of which the other direction has ended before
    if (stream.localEnded && !stream.closed) this.#close(stream)
  }

  /** DATA on a stream that takes none; its octets count all the same (RFC 9113 §6.9). */
  #onStrayData(id: number, length: number): void {
    if (id > this.last || id % 2 === 0) {
      this.#options.fail(ErrorCode.PROTOCOL_ERROR, Failure.http2_error)
      return
    }
    this.#credit(length)
    if (id > this.lastAccepted || this.#recentlyReset.has(id)) return
    const stream = this.#open.get(id)
    if (stream !== undefined) this.#resetFor(stream, ErrorCode.STREAM_CLOSED)
    else {
      this.#putReset(id, ErrorCode.STREAM_CLOSED)
      this.#failFor(this.#options.guard.onOwnReset())
    }
  }

  /** RFC 9113 §5.1: half-closed (remote). */
  #endRequest(stream: Http2Stream): void {
    this.incomplete--
    stream.remoteEnded = true
  }

  #onResponseEnded(stream: Http2Stream): void {
    stream.localEnded = true
    this.#options.guard.responseSent()
    if (stream.remoteEnded) this.#close(stream)
    else if (stream.isTunnel) return
    // curl 7 fails when it is reset while it sends, and forgets the response: what it may send anyway is let in
    else if (stream.contentLength !== NO_CONTENT_LENGTH && stream.contentLength - stream.received <= stream.receiveWindow)
      stream.linger(LINGER_MS)
    // RFC 9113 §8.1: the rest of the request is not wanted
    else this.reset(stream, ErrorCode.NO_ERROR)
  }

  #onLate(stream: Http2Stream): void {
    if (stream.isLingering) this.reset(stream, ErrorCode.NO_ERROR)
    else stream.receiver?.onLate()
  }

  /** RFC 9113 §5.4.2: the client has broken a rule that concerns this stream only. */
  #resetFor(stream: Http2Stream, code: ErrorCode): void {
    this.reset(stream, code)
    stream.receiver?.onAborted()
    this.#failFor(this.#options.guard.onOwnReset())
  }

  #failFor(failure: Failure | null): void {
    if (failure !== null) this.#options.fail(ErrorCode.ENHANCE_YOUR_CALM, failure)
  }

  #putReset(id: number, code: ErrorCode): void {
    this.#recentlyReset.add(id)
    putRstStream(this.sender.output, id, code)
    this.#options.host.outputReady()
  }

  #close(stream: Http2Stream): void {
    stream.closed = true
    if (this.#open.delete(stream.id) && !stream.remoteEnded) this.incomplete--
    if (stream.waitingLength > 0 || stream.wantsMore) this.sender.forget(stream)
    if (stream.unconsumed === 0) return
    this.unconsumed -= stream.unconsumed
    this.#credit(stream.unconsumed)
    stream.unconsumed = 0
  }

  /** Octets that the client may send again, on a stream and on the connection. */
  #creditStream(stream: Http2Stream, octets: number): void {
    if (octets === 0) return
    this.#credit(octets)
    if (stream.remoteEnded) return
    stream.uncredited += octets
    // a client that may send nothing more waits for us
    if (stream.uncredited < CREDIT_THRESHOLD && stream.receiveWindow > 0) return
    stream.receiveWindow += stream.uncredited
    putWindowUpdate(this.sender.output, stream.id, stream.uncredited)
    stream.uncredited = 0
    this.#options.host.outputReady()
  }

  /** Octets that the client may send again on the connection. */
  #credit(octets: number): void {
    this.#uncredited += octets
    if (this.#uncredited < CREDIT_THRESHOLD) return
    this.#receiveWindow += this.#uncredited
    putWindowUpdate(this.sender.output, 0, this.#uncredited)
    this.#uncredited = 0
    this.#options.host.outputReady()
  }
}

/** RFC 9113 §8.1.1: Content-Length is the length of all DATA. */
function isAsLongAsSaid({ contentLength, received }: Http2Stream, isEnd: boolean): boolean {
  if (contentLength === NO_CONTENT_LENGTH) return true
  return isEnd ? received === contentLength : received <= contentLength
}

/** To the second, which is how often it is called; true once. */
function isLate(stream: Http2Stream, now: number): boolean {
  if (stream.remoteEnded || stream.contentMs === 0) return false
  if (stream.contentSince === 0) stream.contentSince = now
  if (now - stream.contentSince < stream.contentMs) return false
  stream.contentMs = 0
  return true
}
