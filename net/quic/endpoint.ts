import { setTimeout as sleep } from 'node:timers/promises'
import type { Flusher } from '../flusher.ts'
import type { QuicCloseReason, QuicConnection, QuicHandler } from '../quic.ts'
import type { Wheel } from '../wheel.ts'
import { type QuicEvent, QuicEventType, type QuicNative } from './binding.ts'
import { Connection, type ConnectionOwner } from './connection.ts'

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
export class Endpoint implements ConnectionOwner {
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
