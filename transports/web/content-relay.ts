import { NO_CONTENT_LENGTH } from '../../net/fields.ts'
import type { WebExchange } from './exchange.ts'
import { type ProxyHost, Relay } from './relay.ts'
import { RequestContent } from './request-content.ts'

/** A request for a page, perhaps with content. */
export class ContentRelay extends Relay {
  /** For undici, which frames it. */
  readonly content: RequestContent | null
  readonly #isDeclared: boolean

  /** `declared`: the length of the content, or NO_CONTENT_LENGTH. */
  constructor(exchange: WebExchange, host: ProxyHost, declared: number) {
    super(exchange, host)
    this.content = exchange.request.hasContent ? new RequestContent(declared) : null
    this.#isDeclared = declared !== NO_CONTENT_LENGTH
  }

  override onData(chunk: Uint8Array): void {
    if (this.isOver || this.content === null) return
    this.progress()
    if (!this.content.accept(chunk)) this.fail(this.#isDeclared ? 'proxy_bad_request' : 'proxy_too_large')
  }

  /** Trailers are dropped (RFC 9110 §6.5.1): undici has no place for them. */
  override onEnd(): void {
    if (this.isOver || this.content === null) return
    this.progress()
    if (!this.content.finish()) this.fail('proxy_bad_request')
  }

  /** undici has written it, and pauses the content while the origin does not take it. */
  onBodySent(chunk: Buffer): void {
    if (this.isOver) return
    this.progress()
    this.exchange.consumed(chunk.length)
  }

  override get awaitsClient(): boolean {
    return this.content?.isAwaited ?? false
  }

  override fits(status: number): boolean {
    return status !== 101
  }

  override dropContent(): void {
    this.content?.destroy(new Error('Cannot send the content: expected: all of it: received: an end.'))
  }
}
