import { Failure } from '../../dns/failure.ts'
import { MAX_MESSAGE_LENGTH } from '../../dns/header.ts'
import { ByteCollector } from '../../net/byte-collector.ts'
import { WheelEntry } from '../../net/wheel.ts'
import type { Exchange } from './exchange.ts'

/** How long the content of a request may take (conformance D30). */
export const CONTENT_TIMEOUT_MS = 10_000

/** The content of a request, as far as it has come. */
export class Content extends WheelEntry {
  readonly #exchange: Exchange
  readonly #bytes = new ByteCollector()

  constructor(exchange: Exchange) {
    super()
    this.#exchange = exchange
  }

  override onDeadline(): void {
    this.#exchange.service.fail(this.#exchange, Failure.http_body_timeout)
  }

  /** Adds a copy; false when there is more than a DNS message can have. */
  add(chunk: Uint8Array): boolean {
    if (this.#bytes.length + chunk.length > MAX_MESSAGE_LENGTH) return false
    this.#bytes.add(chunk)
    return true
  }

  /** All of it. */
  take(): Uint8Array {
    return this.#bytes.take()
  }
}
