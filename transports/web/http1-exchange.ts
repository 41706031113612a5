import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Field } from '../../net/fields.ts'
import type { WebExchange, WebPlace, WebReceiver, WebRequest } from './exchange.ts'
import { refuse } from './failures.ts'
import { linesOf, requestOf } from './http1-head.ts'

/** Octets of content that may be waiting to be consumed, as in HTTP/2 (RFC 9113 §6.9.2). */
const WINDOW = 65_535

/** One request and its response on HTTP/1.1 (RFC 9112), on Node's implementation. */
export class Http1WebExchange implements WebExchange {
  readonly request: WebRequest
  readonly #message: IncomingMessage
  readonly #response: ServerResponse
  #receiver: WebReceiver | null = null
  #unconsumed = 0

  constructor(message: IncomingMessage, response: ServerResponse, place: WebPlace) {
    this.request = requestOf(message, place, null)
    this.#message = message
    this.#response = response
    // a write may find that the client has gone: 'close' says so
    response.on('error', () => {})
  }

  receive(receiver: WebReceiver): void {
    this.#receiver = receiver
    this.#response.on('drain', () => this.#receiver?.onDrain())
    this.#response.on('close', () => this.#onClose())
    if (!this.request.hasContent) return
    this.#message.on('data', (chunk: Buffer) => this.#onData(chunk))
    this.#message.on('end', () => this.#receiver?.onEnd(linesOf(this.#message.rawTrailers)))
  }

  consumed(octets: number): void {
    this.#unconsumed -= octets
    if (this.#unconsumed < WINDOW) this.#message.resume()
  }

  respond(status: number, fields: readonly Field[], end: boolean): void {
    const response = this.#response
    if (response.headersSent || response.destroyed) return
    // RFC 9112 §9.3: the connection is usable again only after the whole request has been read
    if (this.request.hasContent && !this.#message.complete) response.setHeader('connection', 'close')
    for (const [name, value] of fields) response.appendHeader(name, value)
    response.writeHead(status)
    if (end) this.end([])
    // flushHeaders() would encode octets above 0x7f once more
    else response.write('', 'latin1')
  }

  /** RFC 8297 §3: not everybody who speaks HTTP/1.1 understands 103. */
  inform(status: number): void {
    if (status === 100 && this.#message.httpVersionMinor > 0 && !this.#response.headersSent) this.#response.writeContinue()
  }

  write(chunk: Uint8Array): boolean {
    return this.#response.destroyed || this.#response.writableEnded || this.#response.write(chunk)
  }

  end(trailers: readonly Field[]): void {
    this.#receiver = null
    const response = this.#response
    if (response.destroyed || response.writableEnded) return
    if (trailers.length > 0) response.addTrailers(trailers.map(([name, value]): [string, string] => [name, value]))
    response.end()
    // what still comes is discarded
    this.#message.resume()
  }

  /** Whether content is still to come. */
  get isReading(): boolean {
    return this.#receiver !== null && this.request.hasContent && !this.#message.complete
  }

  /** Where the content ends cannot be known (RFC 9112 §6.3). */
  fail(): void {
    const receiver = this.#receiver
    this.#receiver = null
    receiver?.onAborted()
    if (this.#response.headersSent) this.abort()
    else refuse(this, 'proxy_bad_request')
  }

  abort(): void {
    this.#receiver = null
    this.#message.socket.destroy()
  }

  #onData(chunk: Buffer): void {
    if (this.#receiver === null) return
    this.#unconsumed += chunk.length
    if (this.#unconsumed >= WINDOW) this.#message.pause()
    this.#receiver.onData(chunk)
  }

  #onClose(): void {
    const receiver = this.#receiver
    this.#receiver = null
    receiver?.onAborted()
  }
}
