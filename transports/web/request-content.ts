import { Readable } from 'node:stream'
import { NO_CONTENT_LENGTH } from '../../net/fields.ts'
import { MAX_CONTENT_LENGTH } from './limits.ts'

/** The content of one request on its way to undici. It holds at most the client's window: what undici has taken is given back, not more. */
export class RequestContent extends Readable {
  readonly #declared: number
  #received = 0
  #complete = false

  /** `declared`: by Content-Length, or NO_CONTENT_LENGTH. */
  constructor(declared: number) {
    super()
    this.#declared = declared
    // undici destroys it with an error, and reports that error by itself
    this.on('error', () => {})
  }

  override _read(): void {}

  /** Copies `chunk`. False: it is more than was declared, or than is allowed. */
  accept(chunk: Uint8Array): boolean {
    this.#received += chunk.length
    if (this.#received > (this.#declared === NO_CONTENT_LENGTH ? MAX_CONTENT_LENGTH : this.#declared)) return false
    if (!this.destroyed) this.push(Buffer.from(chunk))
    return true
  }

  /** There is no more. False: it is less than was declared; then the origin never sees an end. */
  finish(): boolean {
    this.#complete = true
    if (this.#declared !== NO_CONTENT_LENGTH && this.#received !== this.#declared) return false
    if (!this.destroyed) this.push(null)
    return true
  }

  /** Whether it is the client that everybody waits for. */
  get isAwaited(): boolean {
    return !this.#complete && !this.destroyed && this.readableLength === 0
  }
}
