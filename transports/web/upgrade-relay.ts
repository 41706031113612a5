import type { Duplex } from 'node:stream'
import type { Dispatcher } from 'undici'
import type { WebExchange } from './exchange.ts'
import { type ProxyHost, Relay } from './relay.ts'
import { joined } from './request-fields.ts'
import { clientFields, linesOf, type RawFields } from './response-fields.ts'
import { Tunnel } from './tunnel.ts'
import { acceptOf } from './websocket.ts'

/** A request for a WebSocket (RFC 6455 §4, RFC 8441): becomes a tunnel, or is answered like any other. */
export class UpgradeRelay extends Relay {
  readonly #key: string
  #tunnel: Tunnel | null = null
  /** What the client sends before it is answered; not consumed, so at most its window. */
  #early: Buffer[] = []
  #clientEnded = false

  /** `key`: Sec-WebSocket-Key as the origin gets it. */
  constructor(exchange: WebExchange, host: ProxyHost, key: string) {
    super(exchange, host)
    this.#key = key
  }

  override onData(chunk: Uint8Array): void {
    if (this.#tunnel !== null) this.#tunnel.onData(chunk)
    else if (!this.isOver) this.#early.push(Buffer.from(chunk))
  }

  override onEnd(): void {
    this.#clientEnded = true
    this.#tunnel?.onEnd()
  }

  override onDrain(): void {
    if (this.#tunnel === null) super.onDrain()
    else this.#tunnel.onDrain()
  }

  override onAborted(): void {
    if (this.#tunnel === null) super.onAborted()
    else this.#tunnel.onAborted()
  }

  onRequestUpgrade(controller: Dispatcher.DispatchController, _status: number, _headers: object, socket: Duplex): void {
    if (!this.isOver && this.#isAccepted(controller.rawHeaders)) {
      this.#open(linesOf(controller.rawHeaders) ?? [], socket)
      return
    }
    socket.on('error', () => {})
    socket.destroy()
    this.fail('proxy_bad_response')
    this.release()
  }

  override stop(): void {
    if (this.#tunnel === null) super.stop()
    else this.#tunnel.close()
  }

  override get awaitsClient(): boolean {
    return false
  }

  /** A page in place of the tunnel that was asked for would be taken for its octets (RFC 8441 §5). */
  override fits(status: number): boolean {
    return status !== 101 && !(this.exchange.request.version === '2' && status >= 200 && status < 300)
  }

  override dropContent(): void {
    this.#early = []
  }

  /** RFC 6455 §4.1: only who has read the key knows the answer. */
  #isAccepted(raw: RawFields): boolean {
    const lines = linesOf(raw)
    if (lines === null || joined(lines, 'upgrade', ',')?.toLowerCase() !== 'websocket') return false
    return joined(lines, 'sec-websocket-accept', ',') === acceptOf(this.#key)
  }

  #open(lines: readonly (readonly [string, string])[], socket: Duplex): void {
    this.settle()
    const isHttp2 = this.exchange.request.version === '2'
    const status = isHttp2 ? 200 : 101
    // RFC 9110 §15.2: what is said of a 101 is nothing about the tunnel
    const fields = clientFields(lines, status).filter(([name]) => name !== 'content-length')
    // RFC 8441 §5: key and answer belong to HTTP/1.1
    this.exchange.respond(status, isHttp2 ? fields.filter(([name]) => name !== 'sec-websocket-accept') : fields, false)
    this.#tunnel = new Tunnel(this.exchange, socket, this.host, () => this.release())
    for (const chunk of this.#early) this.#tunnel.onData(chunk)
    this.#early = []
    if (this.#clientEnded) this.#tunnel.onEnd()
  }
}
