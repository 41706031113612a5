import type { Socket } from 'node:net'
import type { Clock } from '../net/clock.ts'
import { type Wheel, WheelEntry } from '../net/wheel.ts'

export interface FirstOctetsOptions {
  readonly wheel: Wheel
  readonly clock: Clock
  /** How long they may take. */
  readonly timeoutMs: number
}

/** More octets are needed. */
export const NEED_MORE = -1

/** Looks at what a connection begins with before anybody else does, and hands it over with all that it has not taken. */
export abstract class FirstOctets extends WheelEntry {
  readonly socket: Socket
  readonly #options: FirstOctetsOptions
  #seen: Buffer = Buffer.alloc(0)

  constructor(socket: Socket, options: FirstOctetsOptions) {
    super()
    this.socket = socket
    this.#options = options
  }

  /** All that has come so far. How many octets of it are taken; NEED_MORE; or null when there is nothing to hand over, and the connection ends. */
  abstract look(seen: Buffer): number | null
  /** It is somebody else's from here on, and paused: TLS reads what is there by itself. */
  abstract handOver(): void
  /** They have not come in time; the connection ends. */
  abstract onLate(): void

  start(): void {
    const { wheel, clock, timeoutMs } = this.#options
    this.socket.on('data', this.#onData)
    this.socket.on('end', this.#onEnd)
    this.socket.on('close', this.#stop)
    // 'close' follows
    this.socket.on('error', () => {})
    this.socket.resume()
    wheel.set(this, clock() + timeoutMs)
  }

  override onDeadline(): void {
    this.onLate()
    this.socket.destroy()
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#seen = this.#seen.length === 0 ? chunk : Buffer.concat([this.#seen, chunk])
    const taken = this.look(this.#seen)
    if (taken === NEED_MORE) return
    this.#stop()
    const { socket } = this
    if (taken === null) {
      socket.destroy()
      return
    }
    socket.pause()
    if (taken < this.#seen.length) socket.unshift(this.#seen.subarray(taken))
    this.handOver()
  }

  /** Nothing more will come: who leaves here, as load balancers do that look whether we are there, is not waited for. */
  readonly #onEnd = (): void => {
    this.socket.destroy()
  }

  readonly #stop = (): void => {
    this.#options.wheel.clear(this)
    this.socket.off('data', this.#onData)
    this.socket.off('end', this.#onEnd)
    this.socket.off('close', this.#stop)
  }
}
