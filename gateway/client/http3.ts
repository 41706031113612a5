import { DNS_MESSAGE, postFields, targetFields } from '../../net/doh-post.ts'
import { H3, type Http3Error } from '../../net/http3/errors.ts'
import type { Http3Response } from '../../net/http3/fields.ts'
import { type MessageHandler, MessageReader, RESPONSE } from '../../net/http3/message-reader.ts'
import { encodeMessage } from '../../net/http3/message-writer.ts'
import { CONTROL_PREAMBLE } from '../../net/http3/own-control.ts'
import { PeerStreams } from '../../net/http3/peer-streams.ts'
import { FIRST_CLIENT_UNIDIRECTIONAL, type QuicClientConnection, SERVER_INITIATED, UNIDIRECTIONAL } from '../../net/quic.ts'
import { Content, getUrl, wrongResponse } from './doh.ts'
import { RefusedError, type Settle } from './exchange.ts'
import { mismatch } from './message.ts'
import type { QuicAnswer, QuicAsking, QuicProtocol } from './quic.ts'
import { http3CodeText } from './quic-codes.ts'

const NOTHING = new Uint8Array(0)

/** DNS over HTTPS on HTTP/3 (RFC 8484, RFC 9114), without asking over another version first. */
export function http3({ url, get }: { url: URL; get: boolean }): QuicProtocol {
  return {
    token: 'h3',
    name: 'HTTP/3',
    noError: H3.NO_ERROR,
    excessiveLoad: H3.EXCESSIVE_LOAD,
    needsUnidirectional: true,
    codeText: http3CodeText,
    ask: (connection, query, settle) => {
      // RFC 9114 §6.2.1: the control stream comes first
      connection.send(FIRST_CLIENT_UNIDIRECTIONAL, CONTROL_PREAMBLE, false)
      const asking = new Http3Asking(connection, query, { method: get ? 'GET' : 'POST', settle })
      connection.send(asking.stream, get ? getRequest(url, query) : postRequest(url, query), true)
      return asking
    },
  }
}

function getRequest(url: URL, query: Uint8Array): Uint8Array {
  return encodeMessage([...targetFields('GET', getUrl(url, query)), ['accept', DNS_MESSAGE]], NOTHING)
}

function postRequest(url: URL, query: Uint8Array): Uint8Array {
  return encodeMessage(postFields(url, query.length), query)
}

interface Http3Facts {
  readonly method: 'GET' | 'POST'
  readonly settle: Settle<QuicAnswer>
}

class Http3Asking implements QuicAsking, MessageHandler<Http3Response> {
  readonly stream: number
  readonly #connection: QuicClientConnection
  readonly #query: Uint8Array
  readonly #facts: Http3Facts
  readonly #reader = new MessageReader<Http3Response>(RESPONSE, this)
  readonly #peerStreams = new PeerStreams('server')
  readonly #content = new Content()
  #status = 0
  #failed = false

  constructor(connection: QuicClientConnection, query: Uint8Array, facts: Http3Facts) {
    this.#connection = connection
    this.#query = query
    this.#facts = facts
    this.stream = connection.openStream()
  }

  received(stream: number, bytes: Uint8Array, fin: boolean): void {
    if (stream === this.stream) {
      if (!this.#failed) this.#react(stream, this.#reader.push(bytes, fin))
    } else if ((stream & UNIDIRECTIONAL) !== 0) {
      this.#react(stream, this.#peerStreams.push(stream, bytes, fin))
      if (this.#peerStreams.goaway <= this.stream) this.#end(new RefusedError('the server takes no more requests (GOAWAY)'))
    } else if ((stream & SERVER_INITIATED) !== 0) {
      // RFC 9114 §6.1
      this.#react(stream, { code: H3.STREAM_CREATION_ERROR, scope: 'connection' })
    }
  }

  reset(stream: number, code: number): void {
    if (stream === this.stream) this.#fail(`the server reset the stream (${http3CodeText(code)})`)
    else this.#react(stream, this.#peerStreams.reset(stream))
  }

  overdue(): string | null {
    return this.#status === 0 ? null : `the content of the response (HTTP status ${this.#status}) did not come to its end in time`
  }

  onHeaders({ status, fields }: Http3Response): void {
    this.#status = status
    const wrong = wrongResponse(status, fields.get('content-type'))
    if (wrong !== null) this.#end(wrong)
  }

  onHeadersTooLarge(): void {
    this.#fail('the header section of the response is too large')
  }

  onData(chunk: Uint8Array): void {
    this.#failIf(this.#content.add(chunk))
  }

  onEnd(): void {
    const message = this.#content.take()
    this.#failIf(mismatch(this.#query, message))
    const { method, settle } = this.#facts
    settle.resolve({ message, http: { version: '3', method, status: this.#status } })
  }

  #react(stream: number, error: Http3Error | null): void {
    if (error === null) return
    if (error.scope === 'connection') this.#connection.close(error.code)
    else this.#connection.reset(stream, error.code)
    // RFC 9114 §6.2.3: a stream of an unknown type does no harm
    if (error.scope === 'connection' || stream === this.stream) this.#fail(`the server violates HTTP/3 (${http3CodeText(error.code)})`)
  }

  #failIf(reason: string | null): void {
    if (reason !== null) this.#fail(reason)
  }

  #fail(reason: string): void {
    this.#end(new Error(reason))
  }

  #end(error: Error): void {
    this.#failed = true
    this.#facts.settle.reject(error)
  }
}
