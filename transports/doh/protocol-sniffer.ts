import type { Socket } from 'node:net'
import type { Clock } from '../../net/clock.ts'
import { type Wheel, WheelEntry } from '../../net/wheel.ts'
import { PREFACE } from '../http2/session.ts'

export interface SnifferOptions {
  readonly wheel: Wheel
  readonly clock: Clock
  /** How long the first octets may take. */
  readonly timeoutMs: number
  readonly onHttp1: (socket: Socket) => void
  readonly onHttp2: (socket: Socket) => void
}

/** Finds out by the first octets of a connection without ALPN which HTTP it speaks (RFC 9113 §3.3), and hands it over with them. */
export class ProtocolSniffer extends WheelEntry {
  readonly #socket: Socket
  readonly #options: SnifferOptions
  #seen: Buffer = Buffer.alloc(0)

  constructor(socket: Socket, options: SnifferOptions) {
    super()
    this.#socket = socket
    this.#options = options
  }

  start(): void {
    const { wheel, clock, timeoutMs } = this.#options
    this.#socket.on('data', this.#onData)
    this.#socket.on('close', this.#stop)
    // 'close' follows
    this.#socket.on('error', () => {})
    wheel.set(this, clock() + timeoutMs)
  }

  override onDeadline(): void {
    this.#socket.destroy()
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#seen = Buffer.concat([this.#seen, chunk])
    const length = Math.min(this.#seen.length, PREFACE.length)
    const isHttp2 = this.#seen.subarray(0, length).equals(PREFACE.subarray(0, length))
    if (isHttp2 && length < PREFACE.length) return
    this.#stop()
    const socket = this.#socket
    socket.pause()
    socket.unshift(this.#seen)
    if (isHttp2) this.#options.onHttp2(socket)
    else this.#options.onHttp1(socket)
    socket.resume()
  }

  readonly #stop = (): void => {
    this.#options.wheel.clear(this)
    this.#socket.off('data', this.#onData)
    this.#socket.off('close', this.#stop)
  }
}
