import { type Field, NO_CONTENT_LENGTH } from '../fields.ts'
import { connectionError, H3, type Http3Error, streamError } from './errors.ts'
import { areValidTrailers, type Http3Request, type Http3Response, readRequest, readResponse } from './fields.ts'
import { FRAME_BEGINS, FrameReader, FrameType, HTTP2_FRAME_TYPES, NEED_MORE } from './frames.ts'
import { MAX_FIELD_SECTION_SIZE } from './own-control.ts'
import { FieldSectionDecoder } from './qpack-decode.ts'

/** Compressed field section. The longest code has 30 bits an octet, so no section within MAX_FIELD_SECTION_SIZE is longer. */
const MAX_HEADERS_LENGTH = 65_536

/** Hears of one message. Called within push(); bytes are borrowed for the call. */
export interface MessageHandler<Message> {
  /** The header section is valid; content follows, or onEnd(). */
  onHeaders(message: Message): void
  /** The header section is larger than MAX_FIELD_SECTION_SIZE: 431 (RFC 6585 §5). Nothing else is called afterwards. */
  onHeadersTooLarge(): void
  onData(chunk: Uint8Array): void
  /** The message is complete and its content as long as it said. */
  onEnd(): void
}

/** What differs between requests and responses. */
interface MessageKind<Message> {
  read(lines: readonly Field[]): Message | null
  /** RFC 9114 §4.1: another header section follows. */
  isInterim(message: Message): boolean
  readonly pushPromise: Http3Error
  readonly incomplete: Http3Error
}

const FRAME_UNEXPECTED = connectionError(H3.FRAME_UNEXPECTED)
const FRAME_ERROR = connectionError(H3.FRAME_ERROR)
const MALFORMED = streamError(H3.MESSAGE_ERROR)
const EXCESSIVE_LOAD = streamError(H3.EXCESSIVE_LOAD)

/** For a server. */
export const REQUEST: MessageKind<Http3Request> = {
  read: readRequest,
  isInterim: () => false,
  // RFC 9114 §7.2.5: clients do not push
  pushPromise: FRAME_UNEXPECTED,
  // RFC 9114 §4.1.1
  incomplete: streamError(H3.REQUEST_INCOMPLETE),
}

/** For a client; interim responses are dropped. */
export const RESPONSE: MessageKind<Http3Response> = {
  read: readResponse,
  isInterim: (response) => response.status < 200,
  // RFC 9114 §7.2.5: we send no MAX_PUSH_ID, so every push ID is too large
  pushPromise: connectionError(H3.ID_ERROR),
  // RFC 9114 §4.1.2: a mandatory part is absent
  incomplete: MALFORMED,
}

/** Decoding is synchronous and keeps nothing between sections. */
const decoder = new FieldSectionDecoder(MAX_FIELD_SECTION_SIZE)

/** Reads the message on one request stream (RFC 9114 §4.1). Sans-IO. After an error it is not to be used again. */
export class MessageReader<Message extends { readonly contentLength: number }> {
  readonly #kind: MessageKind<Message>
  readonly #handler: MessageHandler<Message>
  readonly #frames = new FrameReader()
  #phase: 'headers' | 'content' | 'trailers' | 'refused' = 'headers'
  #contentLength = NO_CONTENT_LENGTH
  #received = 0

  constructor(kind: MessageKind<Message>, handler: MessageHandler<Message>) {
    this.#kind = kind
    this.#handler = handler
  }

  /** Takes what was read from the stream, in any pieces; `fin` when it ends here. */
  push(bytes: Uint8Array, fin: boolean): Http3Error | null {
    this.#frames.push(bytes)
    for (let event = this.#frames.next(); event !== NEED_MORE; event = this.#frames.next()) {
      const error = event === FRAME_BEGINS ? this.#begin() : this.#payload()
      if (error !== null) return error
    }
    return fin ? this.#end() : null
  }

  #begin(): Http3Error | null {
    const { type } = this.#frames
    switch (type) {
      case FrameType.DATA:
        return this.#beginData()
      case FrameType.HEADERS:
        return this.#beginHeaders()
      case FrameType.PUSH_PROMISE:
        return this.#kind.pushPromise
      // RFC 9114 §7.2.3, 7.2.4, 7.2.6, 7.2.7: control stream only
      case FrameType.CANCEL_PUSH:
      case FrameType.SETTINGS:
      case FrameType.GOAWAY:
      case FrameType.MAX_PUSH_ID:
        return FRAME_UNEXPECTED
      default:
        // RFC 9114 §9: unknown types are skipped
        return HTTP2_FRAME_TYPES.has(type) ? FRAME_UNEXPECTED : null
    }
  }

  #beginData(): Http3Error | null {
    // RFC 9114 §4.1: only between headers and trailers
    if (this.#phase === 'headers' || this.#phase === 'trailers') return FRAME_UNEXPECTED
    this.#received += this.#frames.length
    // RFC 9114 §4.1.2: it is too long whatever else comes
    return this.#contentLength !== NO_CONTENT_LENGTH && this.#received > this.#contentLength ? MALFORMED : null
  }

  #beginHeaders(): Http3Error | null {
    const tooLong = this.#frames.length > MAX_HEADERS_LENGTH
    switch (this.#phase) {
      case 'headers':
        if (tooLong) this.#refuse()
        return null
      case 'content':
        this.#phase = 'trailers'
        return tooLong ? EXCESSIVE_LOAD : null
      case 'trailers':
        // RFC 9114 §4.1: nothing follows trailers
        return FRAME_UNEXPECTED
      case 'refused':
        return null
    }
  }

  #payload(): Http3Error | null {
    const { type, payload } = this.#frames
    if (this.#phase === 'refused') return null
    if (type === FrameType.DATA && payload.length > 0) this.#handler.onData(payload)
    if (type !== FrameType.HEADERS) return null
    const section = this.#frames.collect()
    return section === null ? null : this.#section(section)
  }

  #section(bytes: Uint8Array): Http3Error | null {
    const section = decoder.decode(bytes)
    if (section.kind === 'error') return section.error
    if (this.#phase === 'trailers') {
      if (section.kind === 'too-large') return EXCESSIVE_LOAD
      return areValidTrailers(section.fields) ? null : MALFORMED
    }
    if (section.kind === 'too-large') {
      this.#refuse()
      return null
    }
    const message = this.#kind.read(section.fields)
    if (message === null) return MALFORMED
    if (this.#kind.isInterim(message)) return null
    this.#phase = 'content'
    this.#contentLength = message.contentLength
    this.#handler.onHeaders(message)
    return null
  }

  #refuse(): void {
    this.#phase = 'refused'
    this.#handler.onHeadersTooLarge()
  }

  #end(): Http3Error | null {
    // RFC 9114 §7.1
    if (!this.#frames.betweenFrames) return FRAME_ERROR
    if (this.#phase === 'headers') return this.#kind.incomplete
    if (this.#phase === 'refused') return null
    // RFC 9114 §4.1.2
    if (this.#contentLength !== NO_CONTENT_LENGTH && this.#received !== this.#contentLength) return MALFORMED
    this.#handler.onEnd()
    return null
  }
}
