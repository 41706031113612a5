import type { Clock } from '../../net/clock.ts'
import type { Field } from '../../net/fields.ts'
import { DEFAULT_WINDOW, FRAME_HEADER_LENGTH, FrameFlag, FrameType, MAX_FRAME_SIZE, MAX_WINDOW } from './codes.ts'
import { maxFieldsLength, NO_TABLE, putFields } from './hpack/encoder.ts'
import { Output } from './output.ts'
import type { HeaderBlock, Http2Stream } from './stream.ts'

/** Octets that may wait on one stream before its writer is told to pause. */
const STREAM_HIGH_WATER = 65_536
/** Octets of content that one turn's output may have before content waits for the next. */
const OUTPUT_HIGH_WATER = 262_144
const NOTHING = new Uint8Array(0)
const NO_FIELDS: readonly Field[] = []

export interface SenderHost {
  /** The last frame of its response has been written. */
  responseEnded(stream: Http2Stream): void
  /** Content has to wait. */
  contentWaits(): void
}

/** Writes responses as far as the client's windows let it (RFC 9113 §5.2, 6.9), and keeps the rest. Sans-IO. */
export class Sender {
  readonly output = new Output()
  /** Octets that wait on all streams. */
  waitingLength = 0
  /** The connection takes no more at the moment: content waits. */
  isBlocked = false
  readonly #host: SenderHost
  readonly #clock: Clock
  /** Of the connection. */
  #window = DEFAULT_WINDOW
  /** Streams that owe something: content to the client, or onWritable() to their receivers. */
  readonly #owing = new Set<Http2Stream>()
  #isFirstBlock = true

  constructor(host: SenderHost, clock: Clock) {
    this.#host = host
    this.#clock = clock
  }

  get hasWaiting(): boolean {
    return this.#owing.size > 0
  }

  /** Raises the connection's window; false when it becomes too large (RFC 9113 §6.9.1). */
  raise(increment: number): boolean {
    this.#window += increment
    return this.#window <= MAX_WINDOW
  }

  respond(stream: Http2Stream, block: HeaderBlock, content: Uint8Array): void {
    const { output } = this
    const isWhole = content.length <= Math.min(stream.sendWindow, this.#window)
    const flags = content.length === 0 ? FrameFlag.END_HEADERS | FrameFlag.END_STREAM : FrameFlag.END_HEADERS
    const start = output.reserve(FRAME_HEADER_LENGTH + 1 + block.maxLength)
    const end = block.write(output.bytes, this.#putTableSize(start + FRAME_HEADER_LENGTH))
    output.putFrameHeader(start, { length: end - start - FRAME_HEADER_LENGTH, type: FrameType.HEADERS, flags, stream: stream.id })
    output.length = end
    if (content.length === 0) this.#host.responseEnded(stream)
    else if (isWhole) this.#putData(stream, content, FrameFlag.END_STREAM)
    else {
      stream.trailers = NO_FIELDS
      this.#wait(stream, content)
    }
  }

  sendHeaders(stream: Http2Stream, fields: readonly Field[], endStream: boolean): void {
    const { output } = this
    const block = Buffer.allocUnsafe(1 + maxFieldsLength(fields))
    const length = putFields(block, this.#putTableSize(0, block), fields)
    // RFC 9113 §4.3: one frame after the other, with nothing between them
    for (let from = 0; from < length || from === 0; from += MAX_FRAME_SIZE) {
      const to = Math.min(length, from + MAX_FRAME_SIZE)
      const flags = (to === length ? FrameFlag.END_HEADERS : 0) | (endStream && from === 0 ? FrameFlag.END_STREAM : 0)
      const start = output.reserve(FRAME_HEADER_LENGTH + to - from)
      const type = from === 0 ? FrameType.HEADERS : FrameType.CONTINUATION
      const at = output.putFrameHeader(start, { length: to - from, type, flags, stream: stream.id })
      block.copy(output.bytes, at, from, to)
      output.length = at + to - from
    }
    if (endStream) this.#host.responseEnded(stream)
  }

  write(stream: Http2Stream, chunk: Uint8Array): boolean {
    const sent = stream.waitingLength > 0 ? 0 : Math.min(chunk.length, this.#room(stream))
    if (sent > 0) this.#putData(stream, chunk.subarray(0, sent), 0)
    if (sent < chunk.length) this.#wait(stream, chunk.subarray(sent))
    if (stream.waitingLength < STREAM_HIGH_WATER && this.output.length < OUTPUT_HIGH_WATER) return true
    stream.wantsMore = true
    this.#owing.add(stream)
    return false
  }

  end(stream: Http2Stream, trailers: readonly Field[]): void {
    stream.trailers = trailers
    if (stream.waitingLength === 0) this.#end(stream, trailers)
  }

  /** Nothing more is sent on this stream. */
  forget(stream: Http2Stream): void {
    this.#owing.delete(stream)
    this.waitingLength -= stream.waitingLength
    stream.waiting = null
    stream.waitingLength = 0
  }

  /** Sends what has waited, a frame of each stream in turn, as far as there is room; whether the output was too small for it. */
  pump(): boolean {
    // streams that have sent something go to the end of the set, so they are met again
    for (const stream of this.#owing) {
      if (this.isBlocked) return false
      if (this.output.length >= OUTPUT_HIGH_WATER) return true
      if (stream.waiting !== null) this.#sendWaiting(stream, stream.waiting)
      if (stream.waitingLength > 0) continue
      this.#owing.delete(stream)
      if (stream.trailers !== null) this.#end(stream, stream.trailers)
      else if (stream.wantsMore) {
        stream.wantsMore = false
        stream.receiver?.onWritable()
      }
    }
    return false
  }

  /** The streams of which nothing could be sent since `time`. */
  stalledSince(time: number): readonly Http2Stream[] {
    if (this.#owing.size === 0) return []
    return Array.from(this.#owing).filter(({ waitingLength, waitingSince }) => waitingLength > 0 && waitingSince <= time)
  }

  /** Octets of content that may be sent now. */
  #room(stream: Http2Stream): number {
    if (this.isBlocked) return 0
    return Math.max(0, Math.min(stream.sendWindow, this.#window, OUTPUT_HIGH_WATER - this.output.length))
  }

  /** RFC 7541 §4.2: in front of the first block; the offset behind it. */
  #putTableSize(at: number, bytes: Uint8Array = this.output.bytes): number {
    if (!this.#isFirstBlock) return at
    this.#isFirstBlock = false
    bytes[at] = NO_TABLE
    return at + 1
  }

  /** Writes content that the windows let through. */
  #putData(stream: Http2Stream, content: Uint8Array, lastFlags: number): void {
    const { output } = this
    const { length } = content
    stream.sendWindow -= length
    this.#window -= length
    for (let from = 0; from < length; from += MAX_FRAME_SIZE) {
      const to = Math.min(length, from + MAX_FRAME_SIZE)
      const start = output.reserve(FRAME_HEADER_LENGTH + to - from)
      const flags = to === length ? lastFlags : 0
      const at = output.putFrameHeader(start, { length: to - from, type: FrameType.DATA, flags, stream: stream.id })
      output.bytes.set(to - from === length ? content : content.subarray(from, to), at)
      output.length = at + to - from
    }
    if (lastFlags !== 0) this.#host.responseEnded(stream)
  }

  #wait(stream: Http2Stream, content: Uint8Array): void {
    if (stream.waitingLength === 0) stream.waitingSince = this.#clock()
    stream.waiting ??= []
    stream.waiting.push(Uint8Array.from(content))
    stream.waitingLength += content.length
    this.waitingLength += content.length
    this.#owing.add(stream)
    this.#host.contentWaits()
  }

  /** Sends one frame of what waits, if there is room for any of it. */
  #sendWaiting(stream: Http2Stream, waiting: Uint8Array[]): void {
    const first = waiting[0] ?? NOTHING
    const length = Math.min(first.length, MAX_FRAME_SIZE, this.#room(stream))
    if (length === 0) return
    if (length === first.length) waiting.shift()
    else waiting[0] = first.subarray(length)
    stream.waitingLength -= length
    this.waitingLength -= length
    stream.waitingSince = this.#clock()
    const isLast = stream.waitingLength === 0 && stream.trailers?.length === 0
    this.#owing.delete(stream)
    if (!isLast) this.#owing.add(stream)
    this.#putData(stream, first.subarray(0, length), isLast ? FrameFlag.END_STREAM : 0)
  }

  #end(stream: Http2Stream, trailers: readonly Field[]): void {
    if (stream.localEnded) return
    if (trailers.length > 0) {
      this.sendHeaders(stream, trailers, true)
      return
    }
    const start = this.output.reserve(FRAME_HEADER_LENGTH)
    this.output.length = this.output.putFrameHeader(start, {
      length: 0,
      type: FrameType.DATA,
      flags: FrameFlag.END_STREAM,
      stream: stream.id,
    })
    this.#host.responseEnded(stream)
  }
}
