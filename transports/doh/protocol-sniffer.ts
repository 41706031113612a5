import type { Socket } from 'node:net'
import { FirstOctets, type FirstOctetsOptions, NEED_MORE } from '../first-octets.ts'
import { PREFACE } from '../http2/session.ts'

export interface SnifferOptions extends FirstOctetsOptions {
  readonly onHttp1: (socket: Socket) => void
  readonly onHttp2: (socket: Socket) => void
  /** What it speaks has not been said in time. */
  readonly onLate: () => void
}

/** Finds out by the first octets of a connection without ALPN which HTTP it speaks (RFC 9113 §3.3). */
export class ProtocolSniffer extends FirstOctets {
  readonly #sniffer: SnifferOptions
  #isHttp2 = false

  constructor(socket: Socket, options: SnifferOptions) {
    super(socket, options)
    this.#sniffer = options
  }

  override look(seen: Buffer): number {
    const length = Math.min(seen.length, PREFACE.length)
    this.#isHttp2 = seen.subarray(0, length).equals(PREFACE.subarray(0, length))
    return this.#isHttp2 && length < PREFACE.length ? NEED_MORE : 0
  }

  override handOver(): void {
    if (this.#isHttp2) this.#sniffer.onHttp2(this.socket)
    else this.#sniffer.onHttp1(this.socket)
    this.socket.resume()
  }

  override onLate(): void {
    this.#sniffer.onLate()
  }
}
