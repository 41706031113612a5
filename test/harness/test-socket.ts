import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'

/** A socket whose other end is the test: what is pushed arrives, and what is written waits until the test takes it. */
export class TestSocket extends Duplex {
  readonly writes: Buffer[] = []
  /** The client takes nothing. */
  isFull = false
  /** After how long a silence 'timeout' is wanted, milliseconds; the test is the timer. */
  silenceMs = -1
  #waiting: (() => void) | null = null

  /** `room`: octets that may wait before write() says no. */
  constructor(room = 16_384) {
    super({ readableHighWaterMark: 100_000_000, writableHighWaterMark: room })
    this.on('error', () => {})
  }

  get sent(): Buffer {
    return Buffer.concat(this.writes)
  }

  /** Types of the HTTP/2 frames that were written. */
  get frameTypes(): number[] {
    const { sent } = this
    const types: number[] = []
    for (let at = 0; at + 9 <= sent.length; at += 9 + sent.readUIntBE(at, 3)) types.push(sent[at + 3] ?? -1)
    return types
  }

  asSocket(): Socket {
    return this as unknown as Socket
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.writes.push(chunk)
    if (this.isFull) this.#waiting = done
    else done()
  }

  /** The client takes what has waited. */
  takeAll(): void {
    this.isFull = false
    this.#waiting?.()
    this.#waiting = null
  }

  setTimeout(ms: number): this {
    this.silenceMs = ms
    return this
  }
}
