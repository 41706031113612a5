import { putU16, putU32, u8, u16, u32 } from '../../dns/bytes.ts'
import { DEFAULT_WINDOW, FRAME_HEADER_LENGTH, FrameType, MAX_WINDOW, Setting } from '../../transports/http2/codes.ts'
import { PREFACE } from '../../transports/http2/session.ts'

const NOTHING = Buffer.alloc(0)

export interface Frame {
  readonly type: number
  readonly flags: number
  readonly stream: number
  readonly payload: Uint8Array
}

export function encodeFrame({ type, flags, stream, payload }: Frame): Buffer {
  const bytes = Buffer.allocUnsafe(FRAME_HEADER_LENGTH + payload.length)
  bytes[0] = payload.length >>> 16
  putU16(bytes, 1, payload.length)
  bytes[3] = type
  bytes[4] = flags
  putU32(bytes, 5, stream)
  bytes.set(payload, FRAME_HEADER_LENGTH)
  return bytes
}

/** Cuts what comes into frames. */
export class FrameCutter {
  #bytes: Buffer = NOTHING
  #at = 0

  push(chunk: Buffer): void {
    const rest = this.#bytes.subarray(this.#at)
    this.#bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    this.#at = 0
  }

  /** The next whole frame, borrowed; null when more octets are needed. */
  next(): Frame | null {
    const bytes = this.#bytes
    const at = this.#at
    if (at + FRAME_HEADER_LENGTH > bytes.length) return null
    const end = at + FRAME_HEADER_LENGTH + ((u8(bytes, at) << 16) | u16(bytes, at + 1))
    if (end > bytes.length) return null
    this.#at = end
    return {
      type: u8(bytes, at + 3),
      flags: u8(bytes, at + 4),
      stream: u32(bytes, at + 5),
      payload: bytes.subarray(at + FRAME_HEADER_LENGTH, end),
    }
  }
}

/** RFC 9113 §6.5.1: identifier and value. */
export function encodeSetting(id: number, value: number): Buffer {
  const setting = Buffer.alloc(6)
  putU16(setting, 0, id)
  putU32(setting, 2, value)
  return setting
}

/** What a client sends first (RFC 9113 §3.4), with other settings where it has some. All answers of a load fit into the window that it opens. */
export function clientPreface(...settings: readonly Buffer[]): Buffer {
  const payload = Buffer.concat([encodeSetting(Setting.ENABLE_PUSH, 0), ...settings])
  return Buffer.concat([
    PREFACE,
    encodeFrame({ type: FrameType.SETTINGS, flags: 0, stream: 0, payload }),
    windowUpdate(0, MAX_WINDOW - DEFAULT_WINDOW),
  ])
}

/** RFC 9113 §6.9. */
export function windowUpdate(stream: number, increment: number): Buffer {
  const payload = Buffer.alloc(4)
  putU32(payload, 0, increment)
  return encodeFrame({ type: FrameType.WINDOW_UPDATE, flags: 0, stream, payload })
}

/** RFC 7541 appendix A, indexed: `:method: GET` and `:scheme: https`. */
const METHOD_AND_SCHEME = Uint8Array.of(0x82, 0x87)
/** RFC 7541 §6.2.2, without indexing: names of the static table. */
const AUTHORITY = Uint8Array.of(0x01)
const PATH = Uint8Array.of(0x04)
/** Larger than four bits: 15, and 4 more. */
const ACCEPT = Uint8Array.of(0x0f, 0x04)

/** The field section of a GET with nothing that changes the table of the other side, so that every request stands for itself. */
export function fieldSection({ authority, path, accept }: { authority: string; path: string; accept: string }): Buffer {
  return Buffer.concat([METHOD_AND_SCHEME, AUTHORITY, literal(authority), PATH, literal(path), ACCEPT, literal(accept)])
}

/** RFC 7541 §5.1 and §5.2: a length with a prefix of 7 bits, no Huffman code; up to 254 octets. */
function literal(text: string): Buffer {
  const length = text.length < 127 ? [text.length] : [127, text.length - 127]
  return Buffer.concat([Uint8Array.from(length), Buffer.from(text, 'latin1')])
}
