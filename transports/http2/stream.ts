import type { Field } from '../../net/fields.ts'
import { DEFAULT_WINDOW, type ErrorCode } from './codes.ts'
import type { FieldLine } from './field-line.ts'

/** Hears what comes on one stream behind the header section of its request. */
export interface StreamReceiver {
  /** Content, borrowed for the call. Who has done with it says so by consume(). `isLast`: onEnd() follows at once. */
  onData(chunk: Uint8Array, isLast: boolean): void
  /** The request is complete, and its content as long as it said. `trailers` are borrowed. */
  onEnd(trailers: readonly FieldLine[]): void
  /** The content is not there in time. */
  onLate(): void
  /** write() has said no, and may be called again. */
  onWritable(): void
  /** The client has given up, or the connection has ended. Nothing more is called. */
  onAborted(): void
}

/** Writes the header block of a response, which fits one frame, where there is room for it. */
export interface HeaderBlock {
  readonly maxLength: number
  /** The offset behind what was written from `at` on. */
  write(bytes: Buffer, at: number): number
}

/** What a stream asks of its connection. */
export interface StreamOwner {
  respond(stream: Http2Stream, block: HeaderBlock, content: Uint8Array): void
  sendHeaders(stream: Http2Stream, fields: readonly Field[], end: boolean): void
  write(stream: Http2Stream, chunk: Uint8Array): boolean
  end(stream: Http2Stream, trailers: readonly Field[]): void
  consume(stream: Http2Stream, octets: number): void
  reset(stream: Http2Stream, code: ErrorCode): void
}

/** One request and its response (RFC 9113 §5.1). When its response has ended, its methods do nothing. */
export class Http2Stream {
  readonly id: number
  readonly #owner: StreamOwner
  /** Set within the call that hands the stream over. */
  receiver: StreamReceiver | null = null

  /** RFC 9113 §5.1: whether the request has ended, and the response. Closed: both, or reset. */
  remoteEnded: boolean
  localEnded = false
  closed = false

  /** RFC 8441 §5: each direction ends by itself, like those of a TCP connection. */
  isTunnel = false

  /** Octets that may still be sent; negative after a change of settings (RFC 9113 §6.9.2). */
  sendWindow: number
  /** Octets that the client may still send. */
  receiveWindow = DEFAULT_WINDOW
  /** Octets that were received and not consumed. */
  unconsumed = 0
  /** Octets that were consumed, and not yet said to the client. */
  uncredited = 0

  /** RFC 9113 §8.1.1: of the content, as announced and as received. */
  readonly contentLength: number
  received = 0
  /** How long the content may take; 0: as long as it does. And since when it is awaited, once that has been looked at. */
  contentMs = 0
  contentSince = 0

  /** What the windows do not let through, and since when none of it was sent. */
  waiting: Uint8Array[] | null = null
  waitingLength = 0
  waitingSince = 0
  /** The response ends behind what waits: with these fields. */
  trailers: readonly Field[] | null = null
  /** onWritable() is owed. */
  wantsMore = false

  constructor(id: number, owner: StreamOwner, facts: { sendWindow: number; contentLength: number; remoteEnded: boolean }) {
    this.id = id
    this.#owner = owner
    this.sendWindow = facts.sendWindow
    this.contentLength = facts.contentLength
    this.remoteEnded = facts.remoteEnded
  }

  /** Sends a whole response; `content` is borrowed. What the client still sends is not read. */
  respond(block: HeaderBlock, content: Uint8Array): void {
    if (this.#isOpen) this.#owner.respond(this, block, content)
  }

  /** Sends a header section: a response's, or before it an interim one's. */
  sendHeaders(fields: readonly Field[], end: boolean): void {
    if (this.#isOpen) this.#owner.sendHeaders(this, fields, end)
  }

  /** Sends content, which is borrowed. False: not before onWritable(). */
  write(chunk: Uint8Array): boolean {
    return !this.#isOpen || this.#owner.write(this, chunk)
  }

  end(trailers: readonly Field[]): void {
    if (this.#isOpen) this.#owner.end(this, trailers)
  }

  /** Lets the client send so many octets more. */
  consume(octets: number): void {
    if (!this.closed) this.#owner.consume(this, octets)
  }

  reset(code: ErrorCode): void {
    if (!this.closed) this.#owner.reset(this, code)
  }

  /** The response has ended, and the request may for so long: nobody hears the rest of it. */
  linger(forMs: number): void {
    this.receiver = null
    this.contentMs = forMs
    this.contentSince = 0
  }

  get isLingering(): boolean {
    return this.localEnded && !this.isTunnel
  }

  /** Whether the response may go on. */
  get #isOpen(): boolean {
    return !this.localEnded && !this.closed && this.trailers === null
  }
}
