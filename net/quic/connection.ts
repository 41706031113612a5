import type { QuicClientHandler, QuicCloseReason, QuicConnection } from '../quic.ts'
import { type Wheel, WheelEntry } from '../wheel.ts'
import { type QuicEvent, QuicEventType, type QuicNative } from './binding.ts'
import { Pacer } from './pacer.ts'

/** The thread that a connection is served by (endpoint.ts). */
export interface ConnectionOwner {
  readonly dependencies: { readonly wheel: Wheel; readonly clock: () => number }
  readonly native: QuicNative | null
  hold(octets: number, ofOne: number): boolean
  release(octets: number): void
  schedule(connection: Connection): void
  close(): Promise<void>
}

/** RFC 9000 §3.5 asks for the code of STOP_SENDING in our RESET_STREAM; the library hands it over in words only. */
const PEER_CODE = /^(?:.*: )?Stream(?:Reset|Stopped)\((\d+)\)$/

const NOTHING = new Uint8Array(0)
/** How long a peer may leave octets lying that were sent on a stream. */
const STALL_MS = 10_000
/** Longer than octets can be under way from the native thread that came before it heard of a reset. */
const AFTER_RESET_MS = 1000

/** What fits a packet is not divided; so a question leaves whole or, where there is no credit for its stream, not at all. */
const UNDIVIDED = 1024

/** Octets waiting for their turn on one stream. */
interface Outgoing {
  readonly stream: number
  bytes: Uint8Array
  readonly fin: boolean
}

export class Connection extends WheelEntry implements QuicConnection {
  readonly handle: number
  readonly address: string
  readonly port: number
  handler: QuicClientHandler | null = null
  protected readonly owner: ConnectionOwner
  #waiting: Outgoing[] = []
  #waitingLength = 0
  readonly #pacer = new Pacer()
  /** Streams whose octets the peer did not take at once, and since when. The library says that it has taken some, not that it has taken all. */
  readonly #blocked = new Map<number, number>()
  /** Streams that either side has reset lately: what was already on its way means nothing. */
  readonly #dead = new Map<number, number>()
  /** The stream whose end was told last: the library may tell it twice. */
  #finished = -1
  #gone = false

  constructor(owner: ConnectionOwner, handle: number, { address, port }: { address: string; port: number }) {
    super()
    this.owner = owner
    this.handle = handle
    this.address = address
    this.port = port
  }

  send(stream: number, bytes: Uint8Array, fin: boolean): void {
    if (this.#gone || this.#dead.has(stream)) return
    if (!this.owner.hold(bytes.length, this.#waitingLength)) {
      this.handler?.stalled(stream)
      return
    }
    this.#waiting.push({ stream, bytes, fin })
    this.#waitingLength += bytes.length
    this.owner.schedule(this)
  }

  reset(stream: number, code: number): void {
    if (this.#gone) return
    this.abandon(stream)
    this.owner.native?.streamClose(this.handle, stream, code)
    this.#bury(stream)
  }

  close(code: number): void {
    if (this.#gone) return
    this.#gone = true
    this.#drop(() => true)
    this.owner.native?.closeSession(this.handle, code)
  }

  /** Sends what may be sent now; false when the native queue has no room. */
  flush(native: QuicNative): boolean {
    const now = this.owner.dependencies.clock()
    let sent = 0
    let hasRoom = true
    for (; sent < this.#waiting.length && hasRoom; sent++) {
      const outgoing = this.#waiting[sent] as Outgoing
      const allowed = this.#pacer.allow(outgoing.bytes.length, now, () => native.rttMs(this.handle))
      const isWhole = allowed === outgoing.bytes.length
      if (!isWhole && (allowed === 0 || outgoing.bytes.length <= UNDIVIDED)) break
      const bytes = outgoing.bytes.subarray(0, allowed)
      hasRoom = native.streamSend(this.handle, { stream: outgoing.stream, bytes, fin: isWhole && outgoing.fin })
      if (!hasRoom) break
      this.#pacer.sent(allowed)
      this.#release(allowed)
      if (isWhole) continue
      outgoing.bytes = outgoing.bytes.subarray(allowed)
      break
    }
    this.#waiting.splice(0, sent)
    if (hasRoom && this.#waiting.length > 0) this.#watch()
    return hasRoom
  }

  onEvent(event: QuicEvent): void {
    const { handler } = this
    const stream = event.streamId
    // after our own close only the end is of interest
    if (handler === null || this.#gone) return
    switch (event.eventType) {
      case QuicEventType.HANDSHAKE_COMPLETE:
        handler.established()
        break
      case QuicEventType.NEW_STREAM:
      case QuicEventType.DATA:
        if (event.fin === true) this.#finish(stream)
        if (!this.#dead.has(stream)) handler.received(stream, event.data ?? NOTHING, event.fin === true)
        break
      case QuicEventType.FINISHED:
        if (this.#finished === stream || this.#dead.has(stream)) break
        this.#finish(stream)
        handler.received(stream, NOTHING, true)
        break
      case QuicEventType.SESSION_TICKET:
        if (event.data !== undefined) handler.ticket?.(event.data)
        break
      case QuicEventType.STREAM_BLOCKED:
        this.#onBlocked(stream)
        break
      case QuicEventType.DRAIN:
        // some of it was taken, maybe not all: the wait begins again
        if (this.#blocked.delete(stream)) this.#blocked.set(stream, this.owner.dependencies.clock())
        break
      case QuicEventType.RESET:
        this.#onReset(stream, event.meta?.errorCode ?? 0)
        break
      case QuicEventType.ERROR:
        if (stream >= 0) this.#onStreamError(stream, event.meta?.errorReason ?? '')
        break
    }
  }

  end(reason: QuicCloseReason): void {
    this.#gone = true
    this.#drop(() => true)
    this.#blocked.clear()
    this.owner.dependencies.wheel.clear(this)
    this.handler?.closed(reason)
    this.handler = null
  }

  /** Holds every stream that waits for the peer against it, however short the wait was. */
  stallAll(): void {
    this.#stall(Number.POSITIVE_INFINITY)
  }

  override onDeadline(now: number): void {
    this.#stall(now - STALL_MS)
    if (this.#waiting.length > 0) this.owner.schedule(this)
    this.#watch()
  }

  /** The stream is over in the direction that ends last, as far as this side knows. */
  protected streamEnded(_stream: number): void {}

  /** Whether an error means that there is no such stream. */
  protected isUnopened(_stream: number, _reason: string): boolean {
    return false
  }

  /** Forgets what waits for its turn on the stream. */
  protected abandon(stream: number): void {
    this.#blocked.delete(stream)
    this.#drop((each) => each.stream === stream)
  }

  #finish(stream: number): void {
    this.#finished = stream
    this.streamEnded(stream)
  }

  /** Until the stream is closed the library reports it again with every turn, for ever (> 80 % of a core). */
  #onStreamError(stream: number, reason: string): void {
    if (this.isUnopened(stream, reason)) return
    const code = Number(PEER_CODE.exec(reason)?.[1] ?? 0)
    this.owner.native?.streamClose(this.handle, stream, code >>> 0)
    this.#onReset(stream, code)
  }

  #onReset(stream: number, code: number): void {
    if (this.#dead.has(stream)) return
    this.abandon(stream)
    this.#bury(stream)
    this.handler?.reset(stream, code)
  }

  #bury(stream: number): void {
    const now = this.owner.dependencies.clock()
    for (const [old, at] of this.#dead) {
      if (now - at < AFTER_RESET_MS) break
      this.#dead.delete(old)
    }
    this.#dead.set(stream, now)
    this.streamEnded(stream)
  }

  #onBlocked(stream: number): void {
    if (!this.#blocked.has(stream)) this.#blocked.set(stream, this.owner.dependencies.clock())
    if (this.#blocked.size === 1) this.#watch()
  }

  /** The next time that something is to be done: send what the pacer kept back, or look after the oldest blocked stream. */
  #watch(): void {
    const [oldest = Number.POSITIVE_INFINITY] = this.#blocked.values()
    const sendAt = this.#waiting.length > 0 ? this.#pacer.nextAt : Number.POSITIVE_INFINITY
    const at = Math.min(oldest + STALL_MS, sendAt)
    if (at < Number.POSITIVE_INFINITY) this.owner.dependencies.wheel.set(this, at)
  }

  #stall(since: number): void {
    for (const [stream, at] of this.#blocked) {
      if (at > since) continue
      this.#blocked.delete(stream)
      this.handler?.stalled(stream)
    }
  }

  #drop(isUnwanted: (outgoing: Outgoing) => boolean): void {
    for (const outgoing of this.#waiting) if (isUnwanted(outgoing)) this.#release(outgoing.bytes.length)
    this.#waiting = this.#waiting.filter((outgoing) => !isUnwanted(outgoing))
  }

  #release(octets: number): void {
    this.#waitingLength -= octets
    this.owner.release(octets)
  }
}
