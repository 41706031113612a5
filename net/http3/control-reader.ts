import { u8 } from '../../dns/bytes.ts'
import { connectionError, H3, type Http3Error } from './errors.ts'
import { FRAME_BEGINS, FrameReader, FrameType, HTTP2_FRAME_TYPES, NEED_MORE } from './frames.ts'
import { checkSettings } from './settings.ts'
import { VarintReader } from './varint.ts'

/** Which end of the connection is heard. */
export type PeerRole = 'client' | 'server'

const MAX_SETTINGS_LENGTH = 1024
/** Frames that consist of one integer. */
const MAX_ID_LENGTH = 8

const FRAME_UNEXPECTED = connectionError(H3.FRAME_UNEXPECTED)
const FRAME_ERROR = connectionError(H3.FRAME_ERROR)
const ID_ERROR = connectionError(H3.ID_ERROR)

/** Reads the peer's control stream (RFC 9114 §6.2.1) behind its type. Sans-IO. */
export class ControlReader {
  /** The ID of the last GOAWAY (RFC 9114 §5.2): a server does not serve streams from it on. Infinite before. */
  goaway = Number.POSITIVE_INFINITY
  readonly #peer: PeerRole
  readonly #frames = new FrameReader()
  #hasSettings = false
  #maxPushId = -1

  constructor(peer: PeerRole) {
    this.#peer = peer
  }

  push(bytes: Uint8Array): Http3Error | null {
    this.#frames.push(bytes)
    for (let event = this.#frames.next(); event !== NEED_MORE; event = this.#frames.next()) {
      const error = event === FRAME_BEGINS ? this.#begin() : this.#payload()
      if (error !== null) return error
    }
    return null
  }

  #begin(): Http3Error | null {
    const { type, length } = this.#frames
    // RFC 9114 §6.2.1: nothing else may be first, unknown types neither
    if (!this.#hasSettings && type !== FrameType.SETTINGS) return connectionError(H3.MISSING_SETTINGS)
    switch (type) {
      case FrameType.SETTINGS:
        return this.#beginSettings()
      // RFC 9114 §7.2.1, 7.2.2, 7.2.5: request streams only
      case FrameType.DATA:
      case FrameType.HEADERS:
      case FrameType.PUSH_PROMISE:
        return FRAME_UNEXPECTED
      case FrameType.MAX_PUSH_ID:
        // RFC 9114 §7.2.7: servers do not send it
        if (this.#peer === 'server') return FRAME_UNEXPECTED
        break
      case FrameType.GOAWAY:
      case FrameType.CANCEL_PUSH:
        break
      default:
        // RFC 9114 §9: unknown types are skipped
        return HTTP2_FRAME_TYPES.has(type) ? FRAME_UNEXPECTED : null
    }
    return length > MAX_ID_LENGTH ? FRAME_ERROR : null
  }

  #beginSettings(): Http3Error | null {
    // RFC 9114 §7.2.4: only once
    if (this.#hasSettings) return FRAME_UNEXPECTED
    this.#hasSettings = true
    return this.#frames.length > MAX_SETTINGS_LENGTH ? connectionError(H3.EXCESSIVE_LOAD) : null
  }

  #payload(): Http3Error | null {
    switch (this.#frames.type) {
      case FrameType.SETTINGS: {
        const payload = this.#frames.collect()
        return payload === null ? null : checkSettings(payload)
      }
      case FrameType.GOAWAY:
      case FrameType.CANCEL_PUSH:
      case FrameType.MAX_PUSH_ID: {
        const payload = this.#frames.collect()
        return payload === null ? null : this.#id(payload)
      }
      default:
        return null
    }
  }

  #id(payload: Uint8Array): Http3Error | null {
    const reader = new VarintReader()
    const end = reader.push(payload, 0)
    // RFC 9114 §7.1: the integer is the whole payload
    if (!reader.complete || end < payload.length) return FRAME_ERROR
    const id = reader.take()
    switch (this.#frames.type) {
      case FrameType.GOAWAY:
        // RFC 9114 §7.2.6: a server names a request stream, whose last two bits are 0 (RFC 9000 §2.1)
        return this.#peer === 'server' && (u8(payload, end - 1) & 3) !== 0 ? ID_ERROR : this.#goaway(id)
      case FrameType.MAX_PUSH_ID:
        // RFC 9114 §7.2.7: never smaller
        if (id < this.#maxPushId) return ID_ERROR
        this.#maxPushId = id
        return null
      default:
        // RFC 9114 §7.2.3: nobody pushes here, so there is nothing to cancel
        return ID_ERROR
    }
  }

  #goaway(id: number): Http3Error | null {
    // RFC 9114 §5.2: never larger
    if (id > this.goaway) return ID_ERROR
    this.goaway = id
    return null
  }
}
