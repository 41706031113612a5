import { Failure } from '../../dns/failure.ts'
import { MAX_MESSAGE_LENGTH } from '../../dns/header.ts'
import { WheelEntry } from '../../net/wheel.ts'
import type { Exchange } from './exchange.ts'

/** How long the content of a request may take (conformance D30). */
export const CONTENT_TIMEOUT_MS = 10_000
const EMPTY = Buffer.alloc(0)

/** The content of a request, as far as it has come. */
export class Content extends WheelEntry {
  readonly #exchange: Exchange
  #bytes: Buffer = EMPTY
  #length = 0

  constructor(exchange: Exchange) {
    super()
    this.#exchange = exchange
  }

  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length)
  }

  override onDeadline(): void {
    this.#exchange.service.fail(this.#exchange, Failure.http_body_timeout)
  }

  /** Adds a copy; false when there is more than a DNS message can have. A body sent octet by octet costs its octets, and not a buffer for each. */
  add(chunk: Uint8Array): boolean {
    const length = this.#length + chunk.length
    if (length > MAX_MESSAGE_LENGTH) return false
    if (length > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(length, 2 * this.#bytes.length))
      this.#bytes.copy(larger, 0, 0, this.#length)
      this.#bytes = larger
    }
    this.#bytes.set(chunk, this.#length)
    this.#length = length
    return true
  }
}
