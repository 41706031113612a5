import type { Client } from '../../dns/contracts.ts'
import type { Field } from '../../net/fields.ts'

/** What a request says before its content. */
export interface WebRequest {
  /** CONNECT only together with `protocol` (RFC 8441). */
  readonly method: string
  /** Path and query, beginning with "/", or "*". */
  readonly target: string
  /** As the client wrote it, already checked to be ours. */
  readonly authority: string
  /** In their order, names in lower case, without pseudo-fields. */
  readonly fields: readonly Field[]
  readonly client: Client
  readonly version: '1.1' | '2'
  /** What the connection or stream is to become: the token of Upgrade (RFC 9110 §7.8), :protocol (RFC 8441), in lower case; null for a usual request. */
  readonly protocol: string | null
  /** False: onData() is never called. Always false where there is a `protocol`: what follows is no content. */
  readonly hasContent: boolean
}

/** What who serves the connection has found out already. */
export type WebPlace = Pick<WebRequest, 'client' | 'authority' | 'target'>

/** Hears the request's content, or a tunnel's octets, and what happens to the exchange. */
export interface WebReceiver {
  /** Borrowed for the call. Who has done with it says so by consumed(). */
  onData(chunk: Uint8Array): void
  /** The client sends nothing more. Not called when the request has no content and no protocol. */
  onEnd(trailers: readonly Field[]): void
  /** write() has said no, and may be called again. */
  onDrain(): void
  /** The client has gone, or has reset the stream. Nothing more is called, and what is still written goes nowhere. */
  onAborted(): void
}

/**
 * One request and its response, as the versions of HTTP offer it to who serves pages. Nothing throws. When the response has ended before
 * the request, or nobody receives, what the client still sends is discarded.
 */
export interface WebExchange {
  readonly request: WebRequest
  /** Called at most once, in the call that hands the exchange over; onData() and onEnd() come after that call, or within receive(). */
  receive(receiver: WebReceiver): void
  /** So many octets of onData() are done with: the client may send as many more. */
  consumed(octets: number): void
  /** The final response's head, once. `end`: it has no content. A tunnel opens with 101 on HTTP/1.1, with 200 on HTTP/2; write() and onData() carry its octets then. */
  respond(status: number, fields: readonly Field[], end: boolean): void
  /** An interim response: 100 or 103, never 101. A version may leave it out. */
  inform(status: number, fields: readonly Field[]): void
  /** Content, given over: nobody changes it afterwards. False: it is taken, but there should be no more before onDrain(). */
  write(chunk: Uint8Array): boolean
  /** The response is complete; in a tunnel, this direction. `trailers` may be left out where the version has no place for them. */
  end(trailers: readonly Field[]): void
  /** The response cannot be completed: HTTP/1.1 destroys the connection, HTTP/2 resets the stream with INTERNAL_ERROR. onAborted() is not called. */
  abort(): void
}

/** Serves what is not DNS. */
export interface WebServer {
  serve(exchange: WebExchange): void
}
