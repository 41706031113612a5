import { copyOf, putU16, u16 } from '../../dns/bytes.ts'
import { EdnsOption, OPTION_HEADER_LENGTH } from '../../dns/edns.ts'
import { DOQ_EXCESSIVE_LOAD, DOQ_NO_ERROR, DOQ_PROTOCOL_ERROR } from '../../dns/failure.ts'
import { readParts } from '../../dns/text-parts.ts'
import { Type } from '../../dns/types.ts'
import { Deframer, PREFIX_LENGTH } from '../../net/framing.ts'
import type { QuicClientConnection } from '../../net/quic.ts'
import type { Settle } from './exchange.ts'
import { mismatch } from './message.ts'
import type { QuicAnswer, QuicAsking, QuicProtocol } from './quic.ts'
import { doqCodeText } from './quic-codes.ts'

/** DNS over QUIC (RFC 9250). */
export const DOQ: QuicProtocol = {
  token: 'doq',
  name: 'DNS over QUIC',
  noError: DOQ_NO_ERROR,
  excessiveLoad: DOQ_EXCESSIVE_LOAD,
  needsUnidirectional: false,
  codeText: doqCodeText,
  ask: (connection, query, settle) => new DoqAsking(connection, query, settle),
}

class DoqAsking implements QuicAsking {
  readonly #connection: QuicClientConnection
  readonly #query: Uint8Array
  readonly #settle: Settle<QuicAnswer>
  readonly #stream: number
  readonly #deframer = new Deframer()
  #message: Uint8Array | null = null

  constructor(connection: QuicClientConnection, query: Uint8Array, settle: Settle<QuicAnswer>) {
    this.#connection = connection
    this.#query = query
    this.#settle = settle
    this.#stream = connection.openStream()
    const frame = new Uint8Array(PREFIX_LENGTH + query.length)
    putU16(frame, 0, query.length)
    frame.set(query, PREFIX_LENGTH)
    // RFC 9250 §4.2: one query on each stream, and the FIN behind it
    connection.send(this.#stream, frame, true)
  }

  received(stream: number, bytes: Uint8Array, fin: boolean): void {
    const violation = stream === this.#stream ? this.#read(bytes, fin) : 'the server opened a stream'
    if (violation !== null) this.#settle.reject(new Error(this.#violated(violation)))
    else if (fin && this.#message !== null) this.#settle.resolve({ message: this.#message, http: null })
  }

  reset(_stream: number, code: number): void {
    this.#settle.reject(new Error(`the server reset the stream (${doqCodeText(code)})`))
  }

  overdue(): string | null {
    return this.#message === null ? null : this.#violated('the answer came, but in time no FIN behind it')
  }

  /** What RFC 9250 §4.3.3 does not allow; null when all is well so far. */
  #read(bytes: Uint8Array, fin: boolean): string | null {
    this.#deframer.push(bytes)
    const message = this.#deframer.next()
    if (message !== null) {
      if (this.#message !== null) return 'more than one message came on the stream'
      this.#message = copyOf(message, message.length)
      const reason = mismatch(this.#query, message) ?? (hasKeepalive(message) ? 'the answer has the option edns-tcp-keepalive' : null)
      if (reason !== null) return reason
    }
    if (this.#message === null) return fin ? 'the stream ended before a whole answer had come' : null
    return this.#deframer.hasRest ? 'more than one message came on the stream' : null
  }

  #violated(reason: string): string {
    this.#connection.close(DOQ_PROTOCOL_ERROR)
    return reason
  }
}

/** RFC 9250 §5.5.2. */
function hasKeepalive(message: Uint8Array): boolean {
  const opt = readParts(message)?.additionals.find(({ type }) => type === Type.OPT)
  if (opt === undefined) return false
  for (let at = opt.rdata; at + OPTION_HEADER_LENGTH <= opt.end; at += OPTION_HEADER_LENGTH + u16(message, at + 2)) {
    if (u16(message, at) === EdnsOption.KEEPALIVE) return true
  }
  return false
}
