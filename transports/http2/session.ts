import { u8, u32 } from '../../dns/bytes.ts'
import { Failure } from '../../dns/failure.ts'
import type { Clock } from '../../net/clock.ts'
import { DEFAULT_WINDOW, ErrorCode, FrameFlag, FrameType, MAX_WINDOW } from './codes.ts'
import { PING_LENGTH, putPing, putSettingsAck, putWindowUpdate } from './control-frames.ts'
import { FieldBlock } from './field-block.ts'
import { FloodGuard } from './flood.ts'
import { FrameReader, NEED_MORE, TOO_LARGE } from './frame-reader.ts'
import type { SessionHost } from './host.ts'
import type { Http2Limits } from './limits.ts'
import type { Output } from './output.ts'
import { readSettings, SETTING_LENGTH, settingsFrame } from './settings.ts'
import { Shutdown } from './shutdown.ts'
import { StreamTable } from './stream-table.ts'

/** RFC 9113 §3.4. */
export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1')
/** RFC 9113 §6.3, 6.8: octets of a payload, of GOAWAY's at least. */
const PRIORITY_LENGTH = 5
const GOAWAY_LENGTH = 8

export interface SessionOptions {
  readonly limits: Http2Limits
  readonly clock: Clock
  /** Streams that may be open at once; at least 100 (RFC 9113 §6.5.2). */
  readonly maxStreams: number
  /** RFC 8441: whether CONNECT may have a protocol. */
  readonly connects: boolean
}

/**
 * The server's side of one HTTP/2 connection (RFC 9113), sans-IO: octets go in by receive(), requests come out at the host, and what
 * is to be sent collects in `output`. Nothing throws.
 */
export class Http2Session {
  /** Nothing more is read; when the output has been sent, the connection ends. */
  hasEnded = false
  readonly #host: SessionHost
  readonly #limits: Http2Limits
  readonly #clock: Clock
  readonly #streams: StreamTable
  readonly #guard: FloodGuard
  readonly #reader = new FrameReader()
  readonly #block = new FieldBlock()
  readonly #shutdown: Shutdown
  readonly #began: number
  /** Octets of the preface that have been seen. */
  #preface = 0
  #hasSettings = false
  /** The client has acknowledged our SETTINGS. */
  #isAcknowledged = false
  /** The payload of the frame at hand, without padding. */
  #from = 0
  #to = 0

  constructor(host: SessionHost, options: SessionOptions) {
    const { limits, clock } = options
    this.#host = host
    this.#limits = limits
    this.#clock = clock
    this.#began = clock()
    this.#guard = new FloodGuard(limits, clock)
    this.#streams = new StreamTable({ ...options, host, guard: this.#guard, fail: (code, failure) => this.fail(code, failure) })
    this.#shutdown = new Shutdown(this.#streams, clock)
    const frame = settingsFrame({ ...options, maxHeaderListSize: limits.maxHeaderListSize })
    const { output } = this
    const at = output.reserve(frame.length)
    output.bytes.set(frame, at)
    output.length = at + frame.length
    putWindowUpdate(output, 0, limits.connectionWindow - DEFAULT_WINDOW)
    host.outputReady()
    host.watch()
  }

  get output(): Output {
    return this.#streams.sender.output
  }

  /** Streams whose request or response is not complete. */
  get openStreams(): number {
    return this.#streams.size
  }

  /** Octets of content that wait, in either direction. */
  get held(): number {
    return this.#streams.sender.waitingLength + this.#streams.unconsumed
  }

  /** Whether something is under way that may take too long. */
  get needsCheck(): boolean {
    const isShakingHands = !this.#hasSettings || !this.#isAcknowledged
    const { sender, incomplete } = this.#streams
    return isShakingHands || this.#shutdown.isWaiting || this.#block.stream !== 0 || incomplete > 0 || sender.hasWaiting
  }

  /** Takes what the client has sent; borrowed for the call. */
  receive(chunk: Uint8Array): void {
    const from = this.#readPreface(chunk)
    if (from === chunk.length || this.hasEnded) return
    this.#reader.push(chunk, from)
    while (!this.hasEnded) {
      const result = this.#reader.next()
      if (result === NEED_MORE) break
      // RFC 9113 §4.2: what is larger may hold a field block, so the connection cannot go on
      if (result === TOO_LARGE) this.#fail(ErrorCode.FRAME_SIZE_ERROR)
      else this.#onFrame()
    }
    if (this.#streams.incomplete > 0) this.#host.watch()
    this.#endIfDone()
  }

  /** Moves what waited into the output, before it is taken; whether there is more for the next turn. */
  pump(): boolean {
    const hasMore = this.#streams.sender.pump()
    this.#endIfDone()
    return hasMore
  }

  /** The output was taken. `isBlocked`: the client does not take it for now. */
  outputTaken(isBlocked: boolean): void {
    this.#streams.sender.isBlocked = isBlocked
    this.#guard.outputTaken()
  }

  /** Ends what has taken too long. */
  check(now: number): void {
    const handshakeBefore = now - this.#limits.handshakeMs
    if (!this.#hasSettings && this.#began <= handshakeBefore) this.fail(ErrorCode.PROTOCOL_ERROR, Failure.http2_settings_timeout)
    // RFC 9113 §6.5.3
    else if (!this.#isAcknowledged && this.#began <= handshakeBefore) this.fail(ErrorCode.SETTINGS_TIMEOUT, Failure.http2_settings_timeout)
    else if (this.#block.stream !== 0 && this.#block.since <= handshakeBefore)
      this.fail(ErrorCode.ENHANCE_YOUR_CALM, Failure.http2_continuation_flood)
    else {
      this.#streams.check(now)
      this.#shutdown.check(now, this.#limits.drainMs)
    }
    this.#endIfDone()
  }

  /** RFC 9113 §6.8: announces the end, and a round trip later says which requests are still answered. */
  drain(): void {
    if (this.hasEnded) return
    this.#shutdown.begin()
    this.#host.outputReady()
    this.#host.watch()
  }

  /** Ends the connection in good order, although the client may not expect it. */
  end(): void {
    this.#finish(ErrorCode.NO_ERROR)
  }

  /** RFC 9113 §5.4.1: ends the connection for what the client did. */
  fail(code: ErrorCode, failure: Failure): void {
    if (this.hasEnded) return
    this.#host.dropped(failure)
    this.#finish(code)
  }

  /** The connection has gone. */
  abort(): void {
    this.hasEnded = true
    this.#streams.abort()
    this.output.discard()
  }

  /** RFC 9113 §3.4: compares what comes first; the offset behind it. */
  #readPreface(chunk: Uint8Array): number {
    let at = 0
    while (this.#preface < PREFACE.length && at < chunk.length && !this.hasEnded) {
      if (chunk[at++] === PREFACE[this.#preface]) this.#preface++
      else this.#fail(ErrorCode.PROTOCOL_ERROR)
    }
    return at
  }

  #onFrame(): void {
    const { type, flags, stream } = this.#reader
    // RFC 9113 §6.10: nothing comes between the parts of a field block
    if (this.#block.stream !== 0 && (type !== FrameType.CONTINUATION || stream !== this.#block.stream)) this.#fail(ErrorCode.PROTOCOL_ERROR)
    // RFC 9113 §3.4
    else if (!this.#hasSettings && (type !== FrameType.SETTINGS || (flags & FrameFlag.ACK) !== 0)) this.#fail(ErrorCode.PROTOCOL_ERROR)
    else if (type <= FrameType.RST_STREAM) this.#onStreamFrame(type)
    else this.#onConnectionFrame(type)
  }

  #onStreamFrame(type: number): void {
    // RFC 9113 §6.1, 6.2, 6.3, 6.4
    if (this.#reader.stream === 0) {
      this.#fail(ErrorCode.PROTOCOL_ERROR)
      return
    }
    switch (type) {
      case FrameType.DATA:
        this.#onData()
        break
      case FrameType.HEADERS:
        this.#onHeaders()
        break
      case FrameType.PRIORITY:
        this.#onPriority()
        break
      default:
        this.#onRstStream()
    }
  }

  #onConnectionFrame(type: number): void {
    switch (type) {
      case FrameType.SETTINGS:
        this.#onSettings()
        break
      case FrameType.PING:
        this.#onPing()
        break
      case FrameType.GOAWAY:
        this.#onGoaway()
        break
      case FrameType.WINDOW_UPDATE:
        this.#onWindowUpdate()
        break
      case FrameType.CONTINUATION:
        this.#onContinuation()
        break
      case FrameType.PUSH_PROMISE:
        // RFC 9113 §8.4: clients do not push
        this.#fail(ErrorCode.PROTOCOL_ERROR)
        break
      default:
        // RFC 9113 §5.5: unknown types are ignored
        this.#isTooMuch(this.#guard.onIdleFrame())
    }
  }

  /** RFC 9113 §6.1. */
  #onData(): void {
    const { bytes, start, end, flags, stream } = this.#reader
    if (!this.#unpad()) return
    const endStream = (flags & FrameFlag.END_STREAM) !== 0
    if (this.#from === this.#to && !endStream && this.#isTooMuch(this.#guard.onEmptyFrame())) return
    this.#streams.onData(stream, bytes.subarray(this.#from, this.#to), { length: end - start, endStream })
  }

  /** RFC 9113 §6.2. */
  #onHeaders(): void {
    const { bytes, flags, stream } = this.#reader
    if (!this.#unpad()) return
    // RFC 9113 §5.3.2: priorities are read over
    if ((flags & FrameFlag.PRIORITY) !== 0) this.#from += PRIORITY_LENGTH
    if (this.#from > this.#to) {
      this.#fail(ErrorCode.FRAME_SIZE_ERROR)
      return
    }
    const endStream = (flags & FrameFlag.END_STREAM) !== 0
    if ((flags & FrameFlag.END_HEADERS) !== 0) {
      this.#streams.onFieldBlock(stream, { endStream, bytes, start: this.#from, end: this.#to })
      return
    }
    this.#block.open({ stream, endStream, now: this.#clock() })
    if (this.#block.add(bytes.subarray(this.#from, this.#to), this.#limits)) this.#host.watch()
    else this.#isTooMuch(Failure.http2_continuation_flood)
  }

  /** RFC 9113 §6.10. */
  #onContinuation(): void {
    const { bytes, start, end, flags } = this.#reader
    const { stream, endStream } = this.#block
    if (stream === 0) this.#fail(ErrorCode.PROTOCOL_ERROR)
    else if (!this.#block.addContinuation(bytes.subarray(start, end), this.#limits)) this.#isTooMuch(Failure.http2_continuation_flood)
    else if ((flags & FrameFlag.END_HEADERS) !== 0) {
      const whole = this.#block.take()
      this.#streams.onFieldBlock(stream, { endStream, bytes: whole, start: 0, end: whole.length })
    }
  }

  /** RFC 9113 §6.3: ignored, in any state. */
  #onPriority(): void {
    const { start, end, stream } = this.#reader
    if (this.#isTooMuch(this.#guard.onIdleFrame()) || end - start === PRIORITY_LENGTH) return
    this.#streams.onBadPriority(stream)
  }

  /** RFC 9113 §6.4. */
  #onRstStream(): void {
    const { start, end, stream } = this.#reader
    if (end - start !== 4) this.#fail(ErrorCode.FRAME_SIZE_ERROR)
    else if (this.#isIdle(stream)) this.#fail(ErrorCode.PROTOCOL_ERROR)
    else {
      this.#streams.onReset(stream)
      this.#isTooMuch(this.#guard.onReset())
    }
  }

  /** RFC 9113 §6.5. */
  #onSettings(): void {
    const { bytes, start, end, flags, stream } = this.#reader
    const isAcknowledgement = (flags & FrameFlag.ACK) !== 0
    if (stream !== 0) this.#fail(ErrorCode.PROTOCOL_ERROR)
    else if ((end - start) % SETTING_LENGTH !== 0 || (isAcknowledgement && end > start)) this.#fail(ErrorCode.FRAME_SIZE_ERROR)
    else if (isAcknowledgement) {
      this.#isAcknowledged = true
      this.#streams.isLimitKnown = true
    } else this.#applySettings(bytes.subarray(start, end))
  }

  #applySettings(payload: Uint8Array): void {
    this.#hasSettings = true
    let initialWindow = -1
    const error = readSettings(payload, (size) => {
      initialWindow = size
    })
    if (error !== ErrorCode.NO_ERROR) this.#fail(error)
    else if (initialWindow >= 0 && !this.#streams.setInitialWindow(initialWindow)) this.#fail(ErrorCode.FLOW_CONTROL_ERROR)
    else if (!this.#isTooMuch(this.#guard.onSettings())) {
      putSettingsAck(this.output)
      this.#host.outputReady()
    }
  }

  /** RFC 9113 §6.7. */
  #onPing(): void {
    const { bytes, start, end, flags, stream } = this.#reader
    if (stream !== 0) this.#fail(ErrorCode.PROTOCOL_ERROR)
    else if (end - start !== PING_LENGTH) this.#fail(ErrorCode.FRAME_SIZE_ERROR)
    else if ((flags & FrameFlag.ACK) !== 0) this.#shutdown.onAcknowledged(bytes.subarray(start, end))
    else if (!this.#isTooMuch(this.#guard.onPing())) {
      putPing(this.output, FrameFlag.ACK, bytes.subarray(start, end))
      this.#host.outputReady()
    }
  }

  /** RFC 9113 §6.8: no streams of ours can be meant; the client's own are finished. */
  #onGoaway(): void {
    const { start, end, stream } = this.#reader
    if (stream !== 0) this.#fail(ErrorCode.PROTOCOL_ERROR)
    else if (end - start < GOAWAY_LENGTH) this.#fail(ErrorCode.FRAME_SIZE_ERROR)
    else this.#shutdown.isPeerLeaving = true
  }

  /** RFC 9113 §6.9. */
  #onWindowUpdate(): void {
    const { bytes, start, end, stream } = this.#reader
    if (end - start !== 4) this.#fail(ErrorCode.FRAME_SIZE_ERROR)
    else if (!this.#isTooMuch(this.#guard.onWindowUpdate())) this.#raiseWindow(stream, u32(bytes, start) & MAX_WINDOW)
  }

  #raiseWindow(stream: number, increment: number): void {
    if (stream === 0) {
      if (increment === 0) this.#fail(ErrorCode.PROTOCOL_ERROR)
      else if (!this.#streams.sender.raise(increment)) this.#fail(ErrorCode.FLOW_CONTROL_ERROR)
    } else if (this.#isIdle(stream)) this.#fail(ErrorCode.PROTOCOL_ERROR)
    else this.#streams.onWindowUpdate(stream, increment)
    if (this.#streams.sender.hasWaiting) this.#host.outputReady()
  }

  /** Finds what stands between the padding; false when there is more padding than payload (RFC 9113 §6.1, 6.2). */
  #unpad(): boolean {
    const { bytes, start, end, flags } = this.#reader
    this.#from = start
    this.#to = end
    if ((flags & FrameFlag.PADDED) === 0) return true
    this.#from = start + 1
    this.#to = start < end ? end - u8(bytes, start) : start
    if (this.#from <= this.#to) return true
    this.#fail(ErrorCode.PROTOCOL_ERROR)
    return false
  }

  /** RFC 9113 §5.1: even ones are ours to open, which we do not. */
  #isIdle(stream: number): boolean {
    return stream > this.#streams.last || stream % 2 === 0
  }

  #isTooMuch(failure: Failure | null): boolean {
    if (failure !== null) this.fail(ErrorCode.ENHANCE_YOUR_CALM, failure)
    return failure !== null
  }

  #fail(code: ErrorCode): void {
    this.fail(code, Failure.http2_error)
  }

  #endIfDone(): void {
    if (this.#shutdown.isDone) this.#finish(ErrorCode.NO_ERROR)
  }

  /** RFC 9113 §5.4.1, 6.8: GOAWAY, and nothing after it. */
  #finish(code: ErrorCode): void {
    if (this.hasEnded) return
    this.hasEnded = true
    this.#shutdown.sayLast(code)
    this.#streams.abort()
    this.#host.outputReady()
  }
}
