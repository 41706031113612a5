import type { Socket } from 'node:net'
import { Failure } from '../dns/failure.ts'
import { type Wheel, WheelEntry } from '../net/wheel.ts'
import type { Dial, Dialer, DialSink } from './dialer.ts'
import type { StreamConnection } from './stream-connection.ts'

export interface OpeningHandlers {
  onReady(opening: Opening, socket: Socket): void
  onFailed(opening: Opening, failure: Failure): void
}

/** A connection that is being opened, and its deadline. */
export class Opening extends WheelEntry implements DialSink {
  /** The old connection in whose place it comes; null: it is one more. */
  readonly replaces: StreamConnection | null
  readonly #wheel: Wheel
  readonly #handlers: OpeningHandlers
  #dial: Dial | null = null

  constructor(replaces: StreamConnection | null, { wheel, handlers }: { wheel: Wheel; handlers: OpeningHandlers }) {
    super()
    this.replaces = replaces
    this.#wheel = wheel
    this.#handlers = handlers
  }

  start(dialer: Dialer, deadline: number): void {
    this.#wheel.set(this, deadline)
    this.#dial = dialer.dial(this)
  }

  abort(): void {
    this.#wheel.clear(this)
    this.#dial?.abort()
  }

  ready(socket: Socket): void {
    this.#wheel.clear(this)
    this.#handlers.onReady(this, socket)
  }

  failed(failure: Failure): void {
    this.#wheel.clear(this)
    this.#handlers.onFailed(this, failure)
  }

  override onDeadline(): void {
    this.#dial?.abort()
    this.#handlers.onFailed(this, Failure.upstream_network)
  }
}
