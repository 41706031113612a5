import type { Duplex } from 'node:stream'
import { WheelEntry } from '../../net/wheel.ts'
import type { WebExchange } from './exchange.ts'
import { IDLE_MS, TUNNEL_IDLE_MS } from './limits.ts'
import type { ProxyHost } from './relay.ts'

/** A client and the origin, joined: octets go both ways as fast as the other end takes them, and each end closes by itself. */
export class Tunnel extends WheelEntry {
  readonly #exchange: WebExchange
  readonly #socket: Duplex
  readonly #host: ProxyHost
  readonly #ended: () => void
  #unconsumed = 0
  #clientEnded = false
  #originEnded = false
  #isOver = false

  /** `ended` is called once, when nothing is left of it. */
  constructor(exchange: WebExchange, socket: Duplex, host: ProxyHost, ended: () => void) {
    super()
    this.#exchange = exchange
    this.#socket = socket
    this.#host = host
    this.#ended = ended
    socket.on('data', (chunk: Buffer) => this.#onOriginData(chunk))
    socket.on('end', () => this.#onOriginEnd())
    socket.on('drain', () => this.#onOriginDrain())
    socket.on('error', () => {})
    socket.on('close', () => this.#onOriginClose())
    // undici has left it paused
    socket.resume()
    this.#progress()
  }

  onData(chunk: Uint8Array): void {
    if (this.#isOver) return
    this.#progress()
    if (this.#socket.write(Buffer.from(chunk))) this.#exchange.consumed(chunk.length)
    else this.#unconsumed += chunk.length
  }

  onEnd(): void {
    this.#clientEnded = true
    this.#progress()
    this.#socket.end()
  }

  onDrain(): void {
    this.#progress()
    this.#socket.resume()
  }

  onAborted(): void {
    this.#finish()
  }

  /** Ends it for both. */
  close(): void {
    if (this.#isOver) return
    this.#exchange.abort()
    this.#finish()
  }

  override onDeadline(): void {
    this.close()
  }

  #onOriginData(chunk: Buffer): void {
    if (this.#isOver) return
    this.#progress()
    if (!this.#exchange.write(chunk)) this.#socket.pause()
  }

  #onOriginEnd(): void {
    if (this.#isOver) return
    this.#originEnded = true
    this.#progress()
    this.#exchange.end([])
  }

  #onOriginDrain(): void {
    if (this.#isOver) return
    this.#progress()
    const octets = this.#unconsumed
    this.#unconsumed = 0
    this.#exchange.consumed(octets)
  }

  #onOriginClose(): void {
    if (this.#clientEnded && this.#originEnded) this.#finish()
    else this.close()
  }

  /** RFC 6455 §7.1.1: who has closed its side waits for the other, but not as long as for a message. */
  #progress(): void {
    const idleMs = this.#clientEnded || this.#originEnded ? IDLE_MS : TUNNEL_IDLE_MS
    if (!this.#isOver) this.#host.wheel.set(this, this.#host.clock() + idleMs)
  }

  #finish(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#host.wheel.clear(this)
    this.#socket.destroy()
    this.#ended()
  }
}
