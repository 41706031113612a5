import { ControlReader, type PeerRole } from './control-reader.ts'
import { connectionError, H3, type Http3Error, streamError } from './errors.ts'
import { DecoderStreamReader, EncoderStreamReader } from './qpack-streams.ts'
import { VarintReader } from './varint.ts'

/** RFC 9114 §6.2, RFC 9204 §4.2. */
const StreamType = { CONTROL: 0x00, PUSH: 0x01, QPACK_ENCODER: 0x02, QPACK_DECODER: 0x03 } as const

/** A stream that must stay open as long as the connection (RFC 9114 §6.2.1, RFC 9204 §4.2). */
interface CriticalStream {
  push(bytes: Uint8Array): Http3Error | null
}

/** 'unknown' has a type that means nothing to us; null: the type is not complete yet. */
interface Incoming {
  readonly type: VarintReader
  stream: CriticalStream | 'unknown' | null
}

/** Opened in the life of a connection; some clients open unknown ones, to see that they are ignored. */
const MAX_STREAMS = 32
const CLOSED_CRITICAL_STREAM = connectionError(H3.CLOSED_CRITICAL_STREAM)
const STREAM_CREATION_ERROR = connectionError(H3.STREAM_CREATION_ERROR)

/**
 * All unidirectional streams of the peer of one connection (RFC 9114 §6.2). Sans-IO. Memory: a few octets per open stream, whose
 * number QUIC limits. An error of scope 'stream' asks to abort reading (STOP_SENDING).
 */
export class PeerStreams {
  readonly #peer: PeerRole
  readonly #open = new Map<number, Incoming>()
  readonly #seen = new Set<number>()
  #accepted = 0
  readonly #control: ControlReader

  constructor(peer: PeerRole) {
    this.#peer = peer
    this.#control = new ControlReader(peer)
  }

  /** See ControlReader. */
  get goaway(): number {
    return this.#control.goaway
  }

  /** Takes what was read from a stream, in any pieces; `fin` when it ends here. */
  push(streamId: number, bytes: Uint8Array, fin: boolean): Http3Error | null {
    // each costs the library 8 kB for the life of the connection, and three are all that HTTP/3 has a use for
    if (!this.#open.has(streamId) && ++this.#accepted > MAX_STREAMS) return connectionError(H3.EXCESSIVE_LOAD)
    const incoming = this.#open.get(streamId) ?? this.#accept(streamId)
    const error = this.#read(incoming, bytes)
    if (fin && error?.scope !== 'connection') return this.reset(streamId)
    return error
  }

  /** The peer ended the stream before its end. */
  reset(streamId: number): Http3Error | null {
    const incoming = this.#open.get(streamId)
    this.#open.delete(streamId)
    // RFC 9114 §6.2: all others may end at any time, even before its type
    if (incoming === undefined || incoming.stream === null || incoming.stream === 'unknown') return null
    return CLOSED_CRITICAL_STREAM
  }

  #accept(streamId: number): Incoming {
    const incoming: Incoming = { type: new VarintReader(), stream: null }
    this.#open.set(streamId, incoming)
    return incoming
  }

  #read(incoming: Incoming, bytes: Uint8Array): Http3Error | null {
    if (incoming.stream === 'unknown') return null
    if (incoming.stream !== null) return incoming.stream.push(bytes)
    const at = incoming.type.push(bytes, 0)
    return incoming.type.complete ? this.#begin(incoming, bytes.subarray(at)) : null
  }

  #begin(incoming: Incoming, rest: Uint8Array): Http3Error | null {
    const type = incoming.type.take()
    // RFC 9114 §6.2.2: clients do not push; RFC 9114 §4.6: as a client we send no MAX_PUSH_ID, so every push ID is too large
    if (type === StreamType.PUSH) return this.#peer === 'client' ? STREAM_CREATION_ERROR : connectionError(H3.ID_ERROR)
    // RFC 9114 §6.2.1, RFC 9204 §4.2: one of each
    if (this.#seen.has(type)) return STREAM_CREATION_ERROR
    const stream = this.#streamOf(type)
    incoming.stream = stream ?? 'unknown'
    // RFC 9114 §6.2.3: unknown types are no error of the connection
    if (stream === null) return streamError(H3.STREAM_CREATION_ERROR)
    this.#seen.add(type)
    return stream.push(rest)
  }

  #streamOf(type: number): CriticalStream | null {
    switch (type) {
      case StreamType.CONTROL:
        return this.#control
      case StreamType.QPACK_ENCODER:
        return new EncoderStreamReader()
      case StreamType.QPACK_DECODER:
        return new DecoderStreamReader()
      default:
        return null
    }
  }
}
