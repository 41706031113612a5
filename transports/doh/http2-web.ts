import type { Field } from '../../net/fields.ts'
import { ErrorCode } from '../http2/codes.ts'
import { type FieldLine, isPseudo } from '../http2/field-line.ts'
import type { RequestFields } from '../http2/request-fields.ts'
import type { Http2Stream, StreamReceiver } from '../http2/stream.ts'
import type { WebExchange, WebPlace, WebReceiver, WebRequest } from '../web/exchange.ts'

/** One request for a page and its response on HTTP/2. */
export class Http2WebExchange implements WebExchange, StreamReceiver {
  readonly request: WebRequest
  readonly #stream: Http2Stream
  #receiver: WebReceiver | null = null

  /** `fields` are borrowed. */
  constructor(stream: Http2Stream, fields: RequestFields, { client, authority, target }: WebPlace) {
    this.#stream = stream
    const protocol = fields.protocol === '' ? null : fields.protocol.toLowerCase()
    this.request = {
      client,
      authority,
      target,
      method: fields.method,
      fields: fields.lines.filter(({ kind }) => !isPseudo(kind)).map(fieldOf),
      version: '2',
      protocol,
      hasContent: !stream.remoteEnded && protocol === null,
    }
    stream.receiver = this
  }

  receive(receiver: WebReceiver): void {
    this.#receiver = receiver
    // a tunnel whose client has said all there is
    if (this.#stream.remoteEnded && this.request.protocol !== null) receiver.onEnd([])
  }

  consumed(octets: number): void {
    this.#stream.consume(octets)
  }

  respond(status: number, fields: readonly Field[], end: boolean): void {
    // RFC 8441 §5
    if (this.request.protocol !== null && status >= 200 && status < 300) this.#stream.isTunnel = true
    this.#stream.sendHeaders([[':status', String(status)], ...fields], end)
  }

  inform(status: number, fields: readonly Field[]): void {
    this.respond(status, fields, false)
  }

  write(chunk: Uint8Array): boolean {
    return this.#stream.write(chunk)
  }

  end(trailers: readonly Field[]): void {
    this.#stream.end(trailers)
  }

  abort(): void {
    this.#receiver = null
    this.#stream.reset(ErrorCode.INTERNAL_ERROR)
  }

  onData(chunk: Uint8Array): void {
    if (this.#receiver === null) this.#stream.consume(chunk.length)
    else this.#receiver.onData(chunk)
  }

  onEnd(trailers: readonly FieldLine[]): void {
    this.#receiver?.onEnd(trailers.map(fieldOf))
  }

  onLate(): void {}

  onWritable(): void {
    this.#receiver?.onDrain()
  }

  onAborted(): void {
    this.#receiver?.onAborted()
  }
}

function fieldOf({ name, value }: FieldLine): Field {
  return [name, value]
}
