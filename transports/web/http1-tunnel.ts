import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Field } from '../../net/fields.ts'
import { STATUS_CODES } from '../../net/http.ts'
import type { WebExchange, WebPlace, WebReceiver, WebRequest } from './exchange.ts'
import { requestOf } from './http1-head.ts'

/** Octets that may be waiting to be consumed, as in HTTP/2 (RFC 9113 §6.9.2). */
const WINDOW = 65_535

/** A request to leave HTTP/1.1 (RFC 9110 §7.8), which has no content and none before it that is not answered. The connection ends with it in any case. */
export class Http1WebTunnel implements WebExchange {
  readonly request: WebRequest
  readonly #socket: Duplex
  #receiver: WebReceiver | null = null
  #unconsumed = 0
  #responded = false
  #isOpen = false
  #clientEnded = false
  #ended = false

  /** As Node's 'upgrade' event says them. */
  constructor(message: IncomingMessage, socket: Duplex, head: Buffer, place: WebPlace) {
    this.request = requestOf(message, place, (message.headers.upgrade ?? '').toLowerCase())
    this.#socket = socket
    socket.on('error', () => {})
    if (head.length > 0) socket.unshift(head)
  }

  receive(receiver: WebReceiver): void {
    this.#receiver = receiver
    const socket = this.#socket
    socket.on('drain', () => this.#receiver?.onDrain())
    socket.on('close', () => this.#onClose())
    socket.on('data', (chunk: Buffer) => this.#onData(chunk))
    socket.on('end', () => this.#onEnd())
    socket.resume()
  }

  consumed(octets: number): void {
    this.#unconsumed -= octets
    if (this.#unconsumed < WINDOW) this.#socket.resume()
  }

  respond(status: number, fields: readonly Field[], end: boolean): void {
    if (this.#responded || !this.#socket.writable) return
    this.#responded = true
    this.#isOpen = status === 101
    const connection = this.#isOpen ? `connection: upgrade\r\nupgrade: ${this.request.protocol}\r\n` : 'connection: close\r\n'
    const lines = fields.map(([name, value]) => `${name}: ${value}\r\n`).join('')
    this.#socket.write(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${connection}${lines}\r\n`, 'latin1')
    if (end) this.end()
  }

  inform(): void {}

  /** Without a length the content of a response goes to the end of the connection (RFC 9112 §6.3). */
  write(chunk: Uint8Array): boolean {
    return !this.#socket.writable || this.#socket.write(chunk)
  }

  end(): void {
    this.#ended = true
    if (this.#isOpen) {
      this.#socket.end()
      return
    }
    this.#receiver = null
    this.#socket.end(() => this.#socket.destroy())
    this.#socket.resume()
  }

  abort(): void {
    this.#receiver = null
    this.#socket.destroy()
  }

  #onData(chunk: Buffer): void {
    if (this.#receiver === null) return
    this.#unconsumed += chunk.length
    if (this.#unconsumed >= WINDOW) this.#socket.pause()
    this.#receiver.onData(chunk)
  }

  #onEnd(): void {
    this.#clientEnded = true
    this.#receiver?.onEnd([])
  }

  #onClose(): void {
    const receiver = this.#receiver
    this.#receiver = null
    if (!this.#ended || !this.#clientEnded) receiver?.onAborted()
  }
}
