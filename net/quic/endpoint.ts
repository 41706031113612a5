import { setTimeout as sleep } from 'node:timers/promises'
import type { Flusher } from '../flusher.ts'
import type { QuicClientConnection, QuicCloseReason, QuicConnection, QuicHandler } from '../quic.ts'
import { type Wheel, WheelEntry } from '../wheel.ts'
import { type QuicEvent, QuicEventType, type QuicNative } from './binding.ts'
import { Pacer } from './pacer.ts'

/** Octets that may wait for their turn, of all connections of an endpoint together (16 MiB) and of one. */
const MAX_WAITING = 16_777_216
const MAX_WAITING_OF_ONE = 1_048_576
/** A native thread that does not end is left behind. */
const SHUTDOWN_MS = 5000

export interface EndpointDependencies {
  readonly wheel: Wheel
  readonly clock: () => number
  readonly flusher: Flusher
}

/**
 * One native thread and its connections: turns its events into calls of the handlers, and sends at the end of each turn.
 *
 * Sends wait for the end of the turn for a reason beyond speed: the library numbers connections by slot and gives a slot to
 * the next client as soon as it is free. At the end of the turn the news that a connection has ended has been read.
 */
export class Endpoint {
  readonly #dependencies: EndpointDependencies
  readonly #arrived: (connection: QuicConnection) => QuicHandler | null
  readonly #connections = new Map<number, Connection>()
  readonly #shutdown = Promise.withResolvers<void>()
  /** Connections with octets to send in this turn. */
  readonly #ready = new Set<Connection>()
  #native: QuicNative | null = null
  #waitingLength = 0
  #flushScheduled = false
  #closed: Promise<void> | null = null

  constructor(arrived: (connection: QuicConnection) => QuicHandler | null, dependencies: EndpointDependencies) {
    this.#arrived = arrived
    this.#dependencies = dependencies
  }

  get dependencies(): EndpointDependencies {
    return this.#dependencies
  }

  get native(): QuicNative | null {
    return this.#native
  }

  attach(native: QuicNative): void {
    this.#native = native
  }

  /** A client's own connection, which no event announces. */
  adopt(connection: Connection): void {
    this.#connections.set(connection.handle, connection)
  }

  readonly onEvents = (events: readonly QuicEvent[]): void => {
    for (const event of events) this.#dispatch(event)
    // without this credit the native thread stops reading
    this.#native?.acknowledge(events.length)
  }

  /** Counts octets that wait; false when there is no room for them. */
  hold(octets: number, ofOne: number): boolean {
    if (this.#waitingLength + octets > MAX_WAITING || ofOne + octets > MAX_WAITING_OF_ONE) return false
    this.#waitingLength += octets
    return true
  }

  release(octets: number): void {
    this.#waitingLength -= octets
  }

  /** `connection` wants to send at the end of this turn. */
  schedule(connection: Connection): void {
    this.#ready.add(connection)
    if (this.#flushScheduled) return
    this.#flushScheduled = true
    this.#dependencies.flusher.schedule(this)
  }

  flush(): void {
    this.#flushScheduled = false
    const native = this.#native
    if (native === null) return
    for (const connection of this.#ready) {
      if (!connection.flush(native)) {
        // WRITE_READY goes on with it; those who leave their answers lying hold the room
        for (const each of this.#connections.values()) each.stallAll()
        return
      }
      this.#ready.delete(connection)
    }
  }

  /** Ends the connections with NO_ERROR, the thread and the socket. */
  async close(): Promise<void> {
    this.#closed ??= this.#close()
    await this.#closed
  }

  async #close(): Promise<void> {
    const native = this.#native
    if (native === null) return
    native.requestShutdown()
    const stop = new AbortController()
    const overdue = sleep(SHUTDOWN_MS, false, { signal: stop.signal }).catch(() => false)
    const isOver = await Promise.race([this.#shutdown.promise.then(() => true), overdue])
    stop.abort()
    if (isOver) native.join()
    this.#native = null
    for (const connection of this.#connections.values()) this.#end(connection, { code: 0, text: 'closed' })
  }

  #dispatch(event: QuicEvent): void {
    if (event.eventType === QuicEventType.NEW_SESSION) {
      this.#onArrival(event)
      return
    }
    if (event.eventType === QuicEventType.SHUTDOWN_COMPLETE) {
      this.#shutdown.resolve()
      return
    }
    if (event.eventType === QuicEventType.WRITE_READY) {
      for (const connection of this.#ready) this.schedule(connection)
      return
    }
    const connection = this.#connections.get(event.connHandle)
    if (connection === undefined) return
    if (event.eventType === QuicEventType.SESSION_CLOSE) {
      this.#end(connection, { code: event.meta?.errorCode ?? 0, text: event.meta?.errorReason ?? '' })
      return
    }
    connection.onEvent(event)
  }

  #onArrival({ connHandle, meta }: QuicEvent): void {
    const before = this.#connections.get(connHandle)
    if (before !== undefined) this.#end(before, { code: 0, text: '' })
    const connection = new Connection(this, connHandle, { address: meta?.remoteAddr ?? '', port: meta?.remotePort ?? 0 })
    this.#connections.set(connHandle, connection)
    const handler = this.#arrived(connection)
    if (handler === null) connection.close(0)
    else connection.handler = handler
  }

  #end(connection: Connection, reason: QuicCloseReason): void {
    this.#connections.delete(connection.handle)
    this.#ready.delete(connection)
    connection.end(reason)
  }
}

/** RFC 9000 §3.5 asks for the code of STOP_SENDING in our RESET_STREAM; the library hands it over in words only. */
const PEER_CODE = /^(?:.*: )?Stream(?:Reset|Stopped)\((\d+)\)$/

const NOTHING = new Uint8Array(0)
/** How long a peer may leave octets lying that were sent on a stream. */
const STALL_MS = 10_000
/** Longer than octets can be under way from the native thread that came before it heard of a reset. */
const AFTER_RESET_MS = 1000

/** Octets waiting for their turn on one stream. */
interface Outgoing {
  readonly stream: number
  bytes: Uint8Array
  readonly fin: boolean
}

export class Connection extends WheelEntry implements QuicClientConnection {
  readonly handle: number
  readonly address: string
  readonly port: number
  handler: QuicHandler | null = null
  readonly #endpoint: Endpoint
  readonly #openStream: (() => number) | null
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

  constructor(
    endpoint: Endpoint,
    handle: number,
    { address, port, openStream = null }: { address: string; port: number; openStream?: (() => number) | null },
  ) {
    super()
    this.#endpoint = endpoint
    this.handle = handle
    this.address = address
    this.port = port
    this.#openStream = openStream
  }

  send(stream: number, bytes: Uint8Array, fin: boolean): void {
    if (this.#gone || this.#dead.has(stream)) return
    if (!this.#endpoint.hold(bytes.length, this.#waitingLength)) {
      this.handler?.stalled(stream)
      return
    }
    this.#waiting.push({ stream, bytes, fin })
    this.#waitingLength += bytes.length
    this.#endpoint.schedule(this)
  }

  reset(stream: number, code: number): void {
    if (this.#gone) return
    this.#abandon(stream)
    this.#endpoint.native?.streamClose(this.handle, stream, code)
    this.#bury(stream)
  }

  close(code: number): void {
    if (this.#gone) return
    this.#gone = true
    this.#drop(() => true)
    this.#endpoint.native?.closeSession(this.handle, code)
  }

  openStream(): number {
    return this.#openStream?.() ?? -1
  }

  async destroy(): Promise<void> {
    await this.#endpoint.close()
  }

  /** Sends what may be sent now; false when the native queue has no room. */
  flush(native: QuicNative): boolean {
    const now = this.#endpoint.dependencies.clock()
    let sent = 0
    let hasRoom = true
    for (; sent < this.#waiting.length && hasRoom; sent++) {
      const outgoing = this.#waiting[sent] as Outgoing
      const allowed = this.#pacer.allow(outgoing.bytes.length, now, () => native.rttMs(this.handle))
      const isWhole = allowed === outgoing.bytes.length
      if (!isWhole && allowed === 0) break
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
        if (event.fin === true) this.#finished = stream
        if (!this.#dead.has(stream)) handler.received(stream, event.data ?? NOTHING, event.fin === true)
        break
      case QuicEventType.FINISHED:
        if (this.#finished !== stream && !this.#dead.has(stream)) handler.received(stream, NOTHING, true)
        break
      case QuicEventType.STREAM_BLOCKED:
        this.#onBlocked(stream)
        break
      case QuicEventType.DRAIN:
        // some of it was taken, maybe not all: the wait begins again
        if (this.#blocked.delete(stream)) this.#blocked.set(stream, this.#endpoint.dependencies.clock())
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
    this.#endpoint.dependencies.wheel.clear(this)
    this.handler?.closed(reason)
    this.handler = null
  }

  /** Holds every stream that waits for the peer against it, however short the wait was. */
  stallAll(): void {
    this.#stall(Number.POSITIVE_INFINITY)
  }

  override onDeadline(now: number): void {
    this.#stall(now - STALL_MS)
    if (this.#waiting.length > 0) this.#endpoint.schedule(this)
    this.#watch()
  }

  /** Until the stream is closed the library reports it again with every turn, for ever (> 80 % of a core). */
  #onStreamError(stream: number, reason: string): void {
    const code = Number(PEER_CODE.exec(reason)?.[1] ?? 0)
    this.#endpoint.native?.streamClose(this.handle, stream, code >>> 0)
    this.#onReset(stream, code)
  }

  #onReset(stream: number, code: number): void {
    if (this.#dead.has(stream)) return
    this.#abandon(stream)
    this.#bury(stream)
    this.handler?.reset(stream, code)
  }

  #bury(stream: number): void {
    const now = this.#endpoint.dependencies.clock()
    for (const [old, at] of this.#dead) {
      if (now - at < AFTER_RESET_MS) break
      this.#dead.delete(old)
    }
    this.#dead.set(stream, now)
  }

  #onBlocked(stream: number): void {
    if (!this.#blocked.has(stream)) this.#blocked.set(stream, this.#endpoint.dependencies.clock())
    if (this.#blocked.size === 1) this.#watch()
  }

  /** The next time that something is to be done: send what the pacer kept back, or look after the oldest blocked stream. */
  #watch(): void {
    const [oldest = Number.POSITIVE_INFINITY] = this.#blocked.values()
    const sendAt = this.#waiting.length > 0 ? this.#pacer.nextAt : Number.POSITIVE_INFINITY
    const at = Math.min(oldest + STALL_MS, sendAt)
    if (at < Number.POSITIVE_INFINITY) this.#endpoint.dependencies.wheel.set(this, at)
  }

  #stall(since: number): void {
    for (const [stream, at] of this.#blocked) {
      if (at > since) continue
      this.#blocked.delete(stream)
      this.handler?.stalled(stream)
    }
  }

  #abandon(stream: number): void {
    this.#blocked.delete(stream)
    this.#drop((each) => each.stream === stream)
  }

  #drop(isUnwanted: (outgoing: Outgoing) => boolean): void {
    for (const outgoing of this.#waiting) if (isUnwanted(outgoing)) this.#release(outgoing.bytes.length)
    this.#waiting = this.#waiting.filter((outgoing) => !isUnwanted(outgoing))
  }

  #release(octets: number): void {
    this.#waitingLength -= octets
    this.#endpoint.release(octets)
  }
}
