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
  readonly #message: IncomingMessage
  #receiver: WebReceiver | null = null
  #unconsumed = 0
  #responded = false
  #isOpen = false
  #isChunked = false
  #clientEnded = false
  #ended = false

  /** As Node's 'upgrade' event says them. */
  constructor(message: IncomingMessage, socket: Duplex, head: Buffer, place: WebPlace) {
    this.request = requestOf(message, place, (message.headers.upgrade ?? '').toLowerCase())
    this.#socket = socket
    this.#message = message
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
    // from here on the relay has the deadlines
    if (this.#isOpen) this.#message.socket.setTimeout(0)
    // RFC 9112 §8: what only ends with the connection would look whole when it is cut
    this.#isChunked = !this.#isOpen && !end && !fields.some(([name]) => name === 'content-length')
    const refusal = `connection: close\r\n${this.#isChunked ? 'transfer-encoding: chunked\r\n' : ''}`
    const connection = this.#isOpen ? `connection: upgrade\r\nupgrade: ${this.request.protocol}\r\n` : refusal
    const lines = fields.map(([name, value]) => `${name}: ${value}\r\n`).join('')
    this.#socket.write(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${connection}${lines}\r\n`, 'latin1')
    if (end) this.end()
  }

  inform(): void {}

  write(chunk: Uint8Array): boolean {
    if (!this.#socket.writable) return true
    if (!this.#isChunked) return this.#socket.write(chunk)
    // an empty chunk would be the last (RFC 9112 §7.1)
    if (chunk.length === 0) return true
    this.#socket.cork()
    this.#socket.write(`${chunk.length.toString(16)}\r\n`, 'latin1')
    this.#socket.write(chunk)
    const takesMore = this.#socket.write('\r\n', 'latin1')
    this.#socket.uncork()
    return takesMore
  }

  end(): void {
    this.#ended = true
    if (this.#isOpen) {
      this.#socket.end()
      return
    }
    this.#receiver = null
    if (this.#isChunked && this.#socket.writable) this.#socket.write('0\r\n\r\n', 'latin1')
    this.#socket.end(() => this.#socket.destroy())
    this.#socket.resume()
  }

  /** The gateway, or its listener, goes: nothing tells a client to leave a tunnel. What is still to be answered is. */
  drain(): void {
    if (!this.#isOpen) return
    const receiver = this.#receiver
    this.abort()
    receiver?.onAborted()
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
