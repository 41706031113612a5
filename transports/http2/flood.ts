import { Failure } from '../../dns/failure.ts'
import type { Clock } from '../../net/clock.ts'
import type { Http2Limits, Rate } from './limits.ts'

/** Counts what is harmless now and then. It looks at the clock only when the count is used up. */
export class FloodMeter {
  readonly #rate: Rate
  readonly #clock: Clock
  #count = 0
  #since: number

  constructor(rate: Rate, clock: Clock) {
    this.#rate = rate
    this.#clock = clock
    this.#since = clock()
  }

  /** False when there were too many. */
  add(): boolean {
    if (++this.#count <= this.#rate.count) return true
    const now = this.#clock()
    if (now - this.#since < this.#rate.withinMs) return false
    this.#since = now
    this.#count = 1
    return true
  }
}

/** RFC 9113 §10.5: what a client did that costs us more than it costs the client. Each returns what there was too much of, null for nothing. */
export class FloodGuard {
  readonly #limits: Http2Limits
  readonly #resets: FloodMeter
  readonly #settings: FloodMeter
  readonly #pings: FloodMeter
  readonly #emptyFrames: FloodMeter
  readonly #idleFrames: FloodMeter
  readonly #windowUpdates: FloodMeter
  #totalResets = 0
  #completed = 0
  /** Acknowledgements in the output that has not left yet. */
  #acks = 0
  /** WINDOW_UPDATE frames that what we have sent explains, and octets that do not explain one yet. */
  #explained = 0
  #octets = 0

  constructor(limits: Http2Limits, clock: Clock) {
    this.#limits = limits
    this.#resets = new FloodMeter(limits.resets, clock)
    this.#settings = new FloodMeter(limits.settings, clock)
    this.#pings = new FloodMeter(limits.pings, clock)
    this.#emptyFrames = new FloodMeter(limits.emptyFrames, clock)
    this.#idleFrames = new FloodMeter(limits.idleFrames, clock)
    this.#windowUpdates = new FloodMeter(limits.windowUpdates, clock)
  }

  /** The client has reset a stream (CVE-2023-44487). */
  onReset(): Failure | null {
    return this.#isWithin(this.#resets) ? null : Failure.cancel_flood
  }

  /** The client has made us reset a stream (CVE-2025-8671): it counts like a reset of its own. */
  onOwnReset(): Failure | null {
    return this.#isWithin(this.#resets) ? null : Failure.http2_own_resets
  }

  onSettings(): Failure | null {
    return this.#settings.add() && this.#mayAcknowledge() ? null : Failure.http2_settings_flood
  }

  onPing(): Failure | null {
    return this.#pings.add() && this.#mayAcknowledge() ? null : Failure.http2_ping_flood
  }

  /** DATA without content that ends nothing. */
  onEmptyFrame(): Failure | null {
    return this.#emptyFrames.add() ? null : Failure.http2_empty_frames
  }

  /** A frame without effect: PRIORITY, or of an unknown type. */
  onIdleFrame(): Failure | null {
    return this.#idleFrames.add() ? null : Failure.http2_idle_frames
  }

  onWindowUpdate(): Failure | null {
    if (this.#explained > 0) {
      this.#explained--
      return null
    }
    return this.#windowUpdates.add() ? null : Failure.http2_window_flood
  }

  /** A response has been sent; clients say for each that they have read it, on the stream and on the connection. */
  responseSent(): void {
    this.#completed++
    this.#explain(2)
  }

  /** So many octets of content have been sent. */
  contentSent(octets: number): void {
    this.#octets += octets
    if (this.#octets < this.#limits.octetsPerWindowUpdate) return
    this.#explain(Math.floor(this.#octets / this.#limits.octetsPerWindowUpdate))
    this.#octets %= this.#limits.octetsPerWindowUpdate
  }

  /** The output has left. */
  outputTaken(): void {
    this.#acks = 0
  }

  #mayAcknowledge(): boolean {
    return ++this.#acks <= this.#limits.maxQueuedAcks
  }

  /** What was explained long ago explains no burst. */
  #explain(count: number): void {
    this.#explained = Math.min(this.#explained + count, this.#limits.windowUpdates.count)
  }

  #isWithin(meter: FloodMeter): boolean {
    this.#totalResets++
    return meter.add() && this.#totalResets <= 2 * this.#completed + this.#limits.maxUnfinished
  }
}
