import type { Dispatcher } from 'undici'
import type { Clock } from '../../net/clock.ts'
import type { Field } from '../../net/fields.ts'
import { type Wheel, WheelEntry } from '../../net/wheel.ts'
import type { WebExchange, WebReceiver } from './exchange.ts'
import { failureOf, type ProxyFailure, refuse } from './failures.ts'
import { IDLE_MS } from './limits.ts'
import { hasPlainCoding } from './request-fields.ts'
import { clientFields, clientTrailers, linesOf } from './response-fields.ts'

type Controller = Dispatcher.DispatchController

/** What a request on its way needs of the proxy. */
export interface ProxyHost {
  readonly clock: Clock
  readonly wheel: Wheel
  count(failure: ProxyFailure): void
  /** undici has done with it: its place is free. */
  released(relay: Relay): void
}

/** One request on its way to the origin: brings the response to the client as fast as it takes it. */
export abstract class Relay extends WheelEntry implements WebReceiver, Dispatcher.DispatchHandler {
  readonly exchange: WebExchange
  readonly host: ProxyHost
  #controller: Controller | null = null
  #responded = false
  #isOver = false
  #isReleased = false

  constructor(exchange: WebExchange, host: ProxyHost) {
    super()
    this.exchange = exchange
    this.host = host
  }

  abstract onData(chunk: Uint8Array): void
  abstract onEnd(trailers: readonly Field[]): void
  /** Whether the next step is the client's. */
  abstract get awaitsClient(): boolean
  /** Whether a response with this status is one to this request. */
  abstract fits(status: number): boolean
  /** Drops what was to be sent to the origin. */
  abstract dropContent(): void

  /** There will be nothing more for the client. */
  get isOver(): boolean {
    return this.#isOver
  }

  onDrain(): void {
    if (this.#isOver) return
    this.progress()
    // never within undici's parser, which may be handing over another response of the same client's connection
    process.nextTick(Relay.#resume, this)
  }

  onAborted(): void {
    this.settle()
    this.cancel()
  }

  onRequestStart(controller: Controller): void {
    this.#controller = controller
    // while it waited for a connection
    if (this.#isOver) controller.abort(new Error('Cannot ask the origin: expected: a client: received: an abort.'))
  }

  onResponseStart(controller: Controller, status: number): void {
    if (this.#isOver) return
    const lines = linesOf(controller.rawHeaders)
    if (lines === null || !hasPlainCoding(lines) || !this.fits(status)) {
      this.fail('proxy_bad_response')
      return
    }
    if (status < 200) {
      // RFC 9110 §15.2: others may be dropped by who does not know them. It is no progress, or a flood of them would be
      if (status === 103) this.exchange.inform(status, clientFields(lines, status))
      return
    }
    this.progress()
    this.#responded = true
    // RFC 9112 §6.3
    const end = this.exchange.request.method === 'HEAD' || status === 204 || status === 304
    if (end) this.settle()
    this.exchange.respond(status, clientFields(lines, status), end)
  }

  onResponseData(controller: Controller, chunk: Buffer): void {
    if (this.#isOver) return
    this.progress()
    if (!this.exchange.write(chunk)) controller.pause()
  }

  onResponseEnd(controller: Controller): void {
    if (!this.#isOver) {
      this.settle()
      this.exchange.end(clientTrailers(controller.rawTrailers))
    }
    this.release()
  }

  onResponseError(_controller: Controller | null, error: Error): void {
    this.fail(failureOf(error))
    this.release()
  }

  /** The proxy closes. */
  stop(): void {
    this.fail('proxy_busy')
  }

  override onDeadline(): void {
    this.fail(this.awaitsClient ? 'proxy_request_timeout' : 'proxy_timeout')
  }

  /** Something has moved. */
  progress(): void {
    this.host.wheel.set(this, this.host.clock() + IDLE_MS)
  }

  /** Tells the client, as far as that is still possible, and lets go of the origin. */
  fail(failure: ProxyFailure): void {
    if (this.#isOver) return
    this.settle()
    this.host.count(this.#responded ? 'proxy_cut_off' : failure)
    if (this.#responded) this.exchange.abort()
    else refuse(this.exchange, failure)
    this.cancel()
  }

  /** The client has all that it gets. */
  settle(): void {
    this.#isOver = true
    this.host.wheel.clear(this)
  }

  cancel(): void {
    this.dropContent()
    this.#controller?.abort(new Error('Cannot bring the response: expected: a client: received: an end.'))
  }

  release(): void {
    if (this.#isReleased) return
    this.#isReleased = true
    this.host.released(this)
  }

  static #resume(this: void, relay: Relay): void {
    // when it is released, the parser may be at another response
    if (!relay.#isReleased) relay.#controller?.resume()
  }
}
