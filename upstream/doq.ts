import { putU16, u16 } from '../dns/bytes.ts'
import { DOQ_EXCESSIVE_LOAD, DOQ_NO_ERROR, DOQ_PROTOCOL_ERROR, DOQ_REQUEST_CANCELLED } from '../dns/failure.ts'
import { HEADER_LENGTH } from '../dns/header.ts'
import type { Query } from '../dns/query.ts'
import { QUERY_BLOCK, writeQuestion } from '../dns/question.ts'
import { Deframer, PREFIX_LENGTH } from '../net/framing.ts'
import { type QuicClientConnection, SERVER_INITIATED, UNIDIRECTIONAL } from '../net/quic.ts'
import { scratch } from '../net/scratch.ts'
import type { DialectEvents, QuicDialect, QuicProtocol } from './quic-dialect.ts'

/** Streams whose answer has come and whose FIN has not; it mostly stands beside the answer, so that more of them say that it never comes. */
const MAX_UNFINISHED = 1000

/** DNS over dedicated QUIC connections (RFC 9250). */
export const DOQ: QuicProtocol = {
  token: 'doq',
  codes: { noError: DOQ_NO_ERROR, excessiveLoad: DOQ_EXCESSIVE_LOAD, cancelled: DOQ_REQUEST_CANCELLED, keepalive: DOQ_PROTOCOL_ERROR },
  needsUnidirectional: false,
  open: (connection, events) => new DoqDialect(connection, events),
}

/** An answer that comes in pieces. */
interface Partial {
  readonly deframer: Deframer
  octets: number
}

class DoqDialect implements QuicDialect {
  held = 0
  readonly #connection: QuicClientConnection
  readonly #events: DialectEvents
  readonly #partial = new Map<number, Partial>()
  readonly #unfinished = new Set<number>()

  constructor(connection: QuicClientConnection, events: DialectEvents) {
    this.#connection = connection
    this.#events = events
  }

  /** RFC 9250 §4.2: id 0 (§4.2.1), no edns-tcp-keepalive (§5.5.2), and the FIN behind it. */
  ask(stream: number, query: Query): void {
    const length = writeQuestion(query, scratch, PREFIX_LENGTH, { id: 0, keepalive: false, padding: QUERY_BLOCK })
    putU16(scratch, 0, length)
    this.#connection.send(stream, Buffer.from(scratch.subarray(0, PREFIX_LENGTH + length)), true)
  }

  received(stream: number, bytes: Uint8Array, fin: boolean): void {
    // RFC 9250 §4.3.3: servers open no streams
    if ((stream & (UNIDIRECTIONAL | SERVER_INITIATED)) !== 0) {
      this.#violated(-1)
      return
    }
    if (this.#unfinished.has(stream)) {
      // RFC 9250 §4.2: one answer, then nothing but the FIN
      if (bytes.length > 0) this.#violated(-1)
      else if (fin) this.#unfinished.delete(stream)
      return
    }
    if (!this.#events.isWaiting(stream)) return
    const partial = this.#partial.get(stream)
    if (partial === undefined && isWhole(bytes)) this.#message(stream, bytes.subarray(PREFIX_LENGTH), fin)
    else this.#assemble(stream, { partial, bytes, fin })
  }

  reset(stream: number): void {
    this.#unfinished.delete(stream)
    this.#events.refused(stream)
  }

  forget(stream: number): void {
    const partial = this.#partial.get(stream)
    if (partial === undefined) return
    this.held -= partial.octets
    this.#partial.delete(stream)
  }

  #assemble(stream: number, { partial, bytes, fin }: { partial: Partial | undefined; bytes: Uint8Array; fin: boolean }): void {
    const { deframer, octets } = partial ?? { deframer: new Deframer(), octets: 0 }
    deframer.push(bytes)
    const message = deframer.next()
    // RFC 9250 §4.3.3: a FIN before all octets of the message, or octets after it
    if (message === null ? fin : deframer.hasRest) {
      this.#violated(stream)
      return
    }
    this.#partial.set(stream, { deframer, octets: octets + bytes.length })
    this.held += bytes.length
    if (message !== null) this.#message(stream, message, fin)
  }

  #message(stream: number, message: Uint8Array, fin: boolean): void {
    // RFC 9250 §4.2.1, §4.3.3
    if (message.length < HEADER_LENGTH || u16(message, 0) !== 0) {
      this.#violated(stream)
      return
    }
    if (!fin) this.#unfinished.add(stream)
    if (this.#unfinished.size > MAX_UNFINISHED) this.#violated(stream)
    else this.#events.answered(stream, message, 0)
  }

  #violated(stream: number): void {
    this.#events.violated(DOQ_PROTOCOL_ERROR, stream)
  }
}

function isWhole(bytes: Uint8Array): boolean {
  return bytes.length >= PREFIX_LENGTH && bytes.length === PREFIX_LENGTH + u16(bytes, 0)
}
