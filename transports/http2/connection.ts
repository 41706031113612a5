import type { Socket } from 'node:net'
import { Failure } from '../../dns/failure.ts'
import type { Clock } from '../../net/clock.ts'
import type { Flushable, Flusher } from '../../net/flusher.ts'
import type { OutputBudget } from '../../net/output-budget.ts'
import { type Wheel, WheelEntry } from '../../net/wheel.ts'
import { ErrorCode } from './codes.ts'
import type { Http2Handler, SessionHost } from './host.ts'
import type { Http2Limits } from './limits.ts'
import type { RequestFields } from './request-fields.ts'
import { Http2Session } from './session.ts'
import type { Http2Stream } from './stream.ts'

/** How often a connection is looked at on which something is under way. */
const CHECK_MS = 1000
/** Octets that may wait for a client that takes nothing, before nothing more is read from it. */
const MAX_BLOCKED_OUTPUT = 65_536

export interface Http2Dependencies {
  readonly clock: Clock
  readonly wheel: Wheel
  readonly flusher: Flusher
  readonly budget: OutputBudget
}

export interface Http2ConnectionOptions extends Http2Dependencies {
  readonly limits: Http2Limits
  readonly idleMs: number
  /** Streams that may be open at once; at least 100 (RFC 9113 §6.5.2). */
  readonly maxStreams: number
  /** RFC 8441: whether CONNECT may have a protocol. */
  readonly connects: boolean
  readonly handler: Http2Handler
  readonly dropped: (failure: Failure) => void
}

/** One HTTP/2 connection on a socket, plain or TLS: everything that became ready in a turn of the event loop leaves in one write. */
export class Http2Connection extends WheelEntry implements SessionHost, Flushable {
  readonly #socket: Socket
  readonly #options: Http2ConnectionOptions
  readonly #session: Http2Session
  readonly #began: number
  #lastActive: number
  #requests = 0
  /** Octets counted in the budget. */
  #held = 0
  #isScheduled = false
  /** The client does not take what was written; since when. */
  #blockedSince: number | null = null
  #isClosed = false
  #isEnding = false

  constructor(socket: Socket, options: Http2ConnectionOptions) {
    super()
    this.#socket = socket
    this.#options = options
    this.#began = options.clock()
    this.#lastActive = this.#began
    this.#session = new Http2Session(this, options)
    socket.on('data', (chunk: Buffer) => this.#onData(chunk))
    socket.on('drain', () => this.#onDrain())
    socket.on('close', () => this.#onClose())
  }

  /** Octets that wait for the client, or for the rest of a request. */
  get held(): number {
    return this.#held
  }

  get mayAccept(): boolean {
    return this.#options.handler.mayAccept
  }

  request(stream: Http2Stream, fields: RequestFields): void {
    // RFC 9113 §5.1.1: so that clients spread anew, and no identifier is ever the last
    if (++this.#requests === this.#options.limits.maxStreams) this.#session.drain()
    this.#options.handler.request(stream, fields)
  }

  requestTooLarge(stream: Http2Stream, method: string): void {
    this.#options.handler.requestTooLarge(stream, method)
  }

  dropped(failure: Failure): void {
    this.#options.dropped(failure)
  }

  outputReady(): void {
    if (this.#isScheduled || this.#isClosed) return
    this.#isScheduled = true
    this.#options.flusher.schedule(this)
  }

  watch(): void {
    if (this.#isEnding) return
    const deadline = this.#options.clock() + CHECK_MS
    if (this.next === null || this.deadline > deadline) this.#options.wheel.set(this, deadline)
  }

  /** RFC 9113 §6.8. */
  drain(): void {
    this.#session.drain()
  }

  close(): void {
    this.#socket.destroy()
  }

  flush(): void {
    this.#isScheduled = false
    if (this.#isClosed) return
    const hasMore = this.#session.pump()
    this.#write()
    this.#account()
    if (this.#session.hasEnded && this.#blockedSince === null) this.#end()
    else if (hasMore) this.outputReady()
  }

  /** The last octets are on their way. Who takes nothing may leave them lying for ever, even where the socket has room for them. */
  #end(): void {
    if (this.#isEnding) return
    this.#isEnding = true
    this.#socket.end()
    this.#options.wheel.set(this, this.#options.clock() + this.#options.limits.stallMs)
  }

  override onDeadline(now: number): void {
    const { limits, idleMs, wheel } = this.#options
    const isBlocked = this.#blockedSince !== null
    if (this.#isEnding || (this.#blockedSince !== null && now - this.#blockedSince >= limits.stallMs)) {
      this.dropped(Failure.slow_reader)
      this.#socket.destroy()
      return
    }
    this.#session.check(now)
    if (now - this.#began >= limits.maxAgeMs) this.#session.drain()
    const isBusy = this.#session.openStreams > 0 || isBlocked
    const idleAt = this.#lastActive + idleMs
    // RFC 9113 §9.1: GOAWAY first
    if (!isBusy && now >= idleAt) this.#session.end()
    // who takes nothing does not see the end
    if (this.#session.hasEnded && !isBlocked) return
    const soon = now + CHECK_MS
    if (isBusy) wheel.set(this, soon)
    else wheel.set(this, this.#session.needsCheck ? Math.min(soon, idleAt) : idleAt)
  }

  #onData(chunk: Buffer): void {
    const before = this.#requests
    this.#session.receive(chunk)
    if (this.#requests !== before) this.#lastActive = this.#options.clock()
    this.#account()
  }

  #write(): void {
    const { output } = this.#session
    if (!this.#socket.writable) output.discard()
    if (output.length > 0 && this.#blockedSince === null) {
      const takes = this.#socket.write(output.take())
      this.#session.outputTaken(!takes)
      if (takes) return
      this.#blockedSince = this.#options.clock()
      this.watch()
    }
    if (output.length > MAX_BLOCKED_OUTPUT) this.#socket.pause()
  }

  #onDrain(): void {
    this.#blockedSince = null
    this.#session.outputTaken(false)
    if (this.#socket.isPaused()) this.#socket.resume()
    this.outputReady()
  }

  /** Brings the budget of the process up to date. */
  #account(): void {
    const { budget } = this.#options
    const unsent = this.#blockedSince === null ? 0 : this.#socket.writableLength + this.#session.output.length
    const held = this.#session.held + unsent
    if (held === this.#held) return
    const more = held - this.#held
    this.#held = held
    if (more < 0) budget.give(-more)
    else if (!budget.take(more)) {
      this.#session.fail(ErrorCode.ENHANCE_YOUR_CALM, Failure.output_limit)
      // what it does not take would be held on
      this.#socket.destroy()
    }
  }

  #onClose(): void {
    this.#isClosed = true
    this.#options.wheel.clear(this)
    this.#options.budget.give(this.#held)
    this.#held = 0
    this.#session.abort()
  }
}
