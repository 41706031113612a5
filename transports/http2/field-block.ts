import { ByteCollector } from '../../net/byte-collector.ts'
import type { Http2Limits } from './limits.ts'

/** Collects the fragments of a field block that comes in several frames (RFC 9113 §4.3, 6.10). */
export class FieldBlock {
  /** 0: no block is under way. */
  stream = 0
  endStream = false
  /** When it began, in milliseconds of the clock. */
  since = 0
  readonly #bytes = new ByteCollector()
  #continuations = 0

  /** HEADERS without END_HEADERS. */
  open(frame: { stream: number; endStream: boolean; now: number }): void {
    this.stream = frame.stream
    this.endStream = frame.endStream
    this.since = frame.now
    this.#continuations = 0
  }

  /** False when it is longer, or in more pieces, than any honest client's (conformance H2-41). */
  add(fragment: Uint8Array, limits: Http2Limits): boolean {
    if (this.#bytes.length + fragment.length > limits.maxHeaderBlock) return false
    this.#bytes.add(fragment)
    return true
  }

  /** CONTINUATION; as add(). */
  addContinuation(fragment: Uint8Array, limits: Http2Limits): boolean {
    return fragment.length > 0 && ++this.#continuations <= limits.maxContinuations && this.add(fragment, limits)
  }

  /** END_HEADERS: the whole block; its memory is given up. */
  take(): Buffer {
    this.stream = 0
    return this.#bytes.take()
  }
}
