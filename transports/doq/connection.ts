import type { Answer } from '../../dns/answer.ts'
import { putU16, u16 } from '../../dns/bytes.ts'
import type { QueryAcceptor, ReplySink } from '../../dns/contracts.ts'
import { DOQ_EXCESSIVE_LOAD, DOQ_NO_ERROR, DOQ_PROTOCOL_ERROR, Failure } from '../../dns/failure.ts'
import { HEADER_LENGTH } from '../../dns/header.ts'
import { Query } from '../../dns/query.ts'
import { Deframer, PREFIX_LENGTH } from '../../net/framing.ts'
import { SERVER_INITIATED, UNIDIRECTIONAL } from '../../net/quic.ts'
import { scratch } from '../../net/scratch.ts'
import { type QuicConnectionFacts, QuicServerConnection } from '../quic-connection.ts'

/** RFC 9250 §4.3. */
export const DOQ_CODES = { noError: DOQ_NO_ERROR, excessiveLoad: DOQ_EXCESSIVE_LOAD }

/** How long a client may take for the FIN after its query, and how many streams it may leave without (conformance DOQ-05, K09). */
const FIN_MS = 5000
const MAX_UNFINISHED_STREAMS = 16

/** A query that arrives in pieces. */
interface Partial {
  readonly deframer: Deframer
  octets: number
}

/** One client of DNS over QUIC (RFC 9250): one query on each of its bidirectional streams, answered in whatever order. */
export class DoqConnection extends QuicServerConnection implements ReplySink {
  readonly #acceptor: QueryAcceptor
  readonly #partial = new Map<number, Partial>()
  /** Streams whose query is with the pipeline. */
  readonly #waiting = new Set<number>()
  /** Streams with a whole query and no FIN yet, and since when. */
  readonly #unfinished = new Map<number, number>()

  constructor(facts: QuicConnectionFacts, acceptor: QueryAcceptor) {
    super(facts)
    this.#acceptor = acceptor
  }

  received(stream: number, bytes: Uint8Array, fin: boolean): void {
    // RFC 9250 §4.2: queries come on bidirectional streams of the client
    if ((stream & (UNIDIRECTIONAL | SERVER_INITIATED)) !== 0) {
      this.#protocolError(Failure.doq_framing)
      return
    }
    if (this.#unfinished.has(stream)) {
      // RFC 9250 §4.2: one query, then nothing but the FIN
      if (bytes.length > 0) this.#protocolError(Failure.doq_framing)
      else if (fin) this.#unfinished.delete(stream)
      return
    }
    const partial = this.#partial.get(stream)
    if (partial === undefined && isWhole(bytes)) this.#ask(stream, bytes.subarray(PREFIX_LENGTH), fin)
    else this.#assemble(stream, { partial, bytes, fin })
  }

  deliver(query: Query, answer: Answer): void {
    const stream = query.token
    if (this.#waiting.delete(stream) && !this.isClosing) {
      const length = answer.encodeInto(scratch, PREFIX_LENGTH, query, query.answeredAt)
      putU16(scratch, 0, length)
      const message = Buffer.allocUnsafe(PREFIX_LENGTH + length)
      scratch.copy(message, 0, 0, message.length)
      // RFC 9250 §4.2: the FIN says that this was the last response
      this.quic.send(stream, message, true)
    }
    this.#settled()
  }

  refuse(query: Query, failure: Failure): void {
    const stream = query.token
    if (this.#waiting.delete(stream) && !this.isClosing) {
      // counted by the pipeline already
      if (failure.doq === DOQ_PROTOCOL_ERROR) this.end(DOQ_PROTOCOL_ERROR)
      else this.quic.reset(stream, failure.doq)
    }
    this.#settled()
  }

  protected override cancelled(stream: number): void {
    this.#waiting.delete(stream)
    this.#unfinished.delete(stream)
    this.#forget(stream)
  }

  /** RFC 9250 has no word for it; a client notices when the connection closes, and asks again elsewhere. */
  protected override announceDrain(_last: boolean): void {}

  protected override housekeep(now: number): boolean {
    let overdue = 0
    for (const since of this.#unfinished.values()) if (now - since >= FIN_MS) overdue++
    if (overdue > MAX_UNFINISHED_STREAMS) this.fail(Failure.doq_unfinished_streams, DOQ_EXCESSIVE_LOAD)
    return this.#unfinished.size > 0
  }

  #assemble(stream: number, { partial, bytes, fin }: { partial: Partial | undefined; bytes: Uint8Array; fin: boolean }): void {
    const { deframer, octets } = partial ?? { deframer: new Deframer(), octets: 0 }
    if (!this.hold(bytes.length)) return
    deframer.push(bytes)
    const message = deframer.next()
    // RFC 9250 §4.3.3: a FIN before all octets of the message, or octets after it
    if (message === null ? fin : deframer.hasRest) {
      this.#protocolError(Failure.doq_framing)
      return
    }
    this.#partial.set(stream, { deframer, octets: octets + bytes.length })
    if (message === null) return
    this.#forget(stream)
    this.#ask(stream, message, fin)
  }

  #ask(stream: number, message: Uint8Array, fin: boolean): void {
    if (message.length < HEADER_LENGTH) {
      this.#protocolError(Failure.frame_too_short)
      return
    }
    // RFC 9250 §4.2.1
    if (u16(message, 0) !== 0) {
      this.#protocolError(Failure.doq_message_id)
      return
    }
    if (!this.admit()) return
    this.workload.questions++
    this.workload.asked++
    if (!fin) {
      if (this.#unfinished.size === 0) this.watch()
      this.#unfinished.set(stream, this.dependencies.clock())
    }
    this.#waiting.add(stream)
    this.#acceptor.accept(new Query(this.client, this, stream, message))
  }

  #settled(): void {
    this.workload.questions--
    this.touch()
  }

  #forget(stream: number): void {
    const partial = this.#partial.get(stream)
    if (partial === undefined) return
    this.release(partial.octets)
    this.#partial.delete(stream)
  }

  #protocolError(failure: Failure): void {
    this.fail(failure, DOQ_PROTOCOL_ERROR)
  }
}

function isWhole(bytes: Uint8Array): boolean {
  return bytes.length >= PREFIX_LENGTH && bytes.length === PREFIX_LENGTH + u16(bytes, 0)
}
