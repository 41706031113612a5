import { u8, u32 } from '../../dns/bytes.ts'
import { FRAME_HEADER_LENGTH, MAX_FRAME_SIZE } from './codes.ts'

/** next(): a frame is there, more octets are needed, or the frame is larger than MAX_FRAME_SIZE. */
export const FRAME = 0
export const NEED_MORE = 1
export const TOO_LARGE = 2
type FrameResult = typeof FRAME | typeof NEED_MORE | typeof TOO_LARGE

const NOTHING = Buffer.alloc(0)
/** RFC 9113 §4.1: the first bit is reserved and ignored. */
const STREAM_MASK = 0x7fff_ffff

/** Cuts a stream into frames (RFC 9113 §4.1). Sans-IO; frames that lie within one chunk are not copied. Memory: one chunk and one frame. */
export class FrameReader {
  /** Of the last frame. After TOO_LARGE, the first three are known. */
  type = 0
  flags = 0
  stream = 0
  /** The payload of the last frame is here, from `start` to `end`; borrowed until the next call. */
  bytes: Buffer = NOTHING
  start = 0
  end = 0
  #chunk: Buffer = NOTHING
  #at = 0
  /** A frame that began in an earlier chunk. */
  #partial: Buffer = NOTHING
  #held = 0

  /** Adds what was read, borrowed until next() returns NEED_MORE. It has done so since the last call. */
  push(chunk: Uint8Array, from: number): void {
    this.#chunk = chunk instanceof Buffer ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length)
    this.#at = from
  }

  next(): FrameResult {
    if (this.#held > 0) return this.#nextFromPartial()
    const available = this.#chunk.length - this.#at
    if (available < FRAME_HEADER_LENGTH) return this.#hold(available)
    const length = this.#readHeader(this.#chunk, this.#at)
    if (length > MAX_FRAME_SIZE) return TOO_LARGE
    if (available < FRAME_HEADER_LENGTH + length) return this.#hold(available)
    this.bytes = this.#chunk
    this.start = this.#at + FRAME_HEADER_LENGTH
    this.end = this.start + length
    this.#at = this.end
    return FRAME
  }

  #nextFromPartial(): FrameResult {
    if (this.#held < FRAME_HEADER_LENGTH && !this.#fill(FRAME_HEADER_LENGTH)) return NEED_MORE
    const length = this.#readHeader(this.#partial, 0)
    if (length > MAX_FRAME_SIZE) return TOO_LARGE
    if (!this.#fill(FRAME_HEADER_LENGTH + length)) return NEED_MORE
    this.bytes = this.#partial
    this.start = FRAME_HEADER_LENGTH
    this.end = FRAME_HEADER_LENGTH + length
    this.#partial = NOTHING
    this.#held = 0
    return FRAME
  }

  /** The length of the payload. */
  #readHeader(bytes: Buffer, at: number): number {
    this.type = u8(bytes, at + 3)
    this.flags = u8(bytes, at + 4)
    this.stream = u32(bytes, at + 5) & STREAM_MASK
    return u32(bytes, at) >>> 8
  }

  /** Keeps the beginning of a frame until the rest of it comes. */
  #hold(available: number): FrameResult {
    if (available > 0) this.#fill(available)
    this.#chunk = NOTHING
    this.#at = 0
    return NEED_MORE
  }

  /** Moves octets to the partial frame until it has `wanted`; false when the chunk is used up before that. */
  #fill(wanted: number): boolean {
    const taken = Math.min(wanted - this.#held, this.#chunk.length - this.#at)
    if (this.#held + taken > this.#partial.length) this.#grow(this.#held + taken)
    this.#chunk.copy(this.#partial, this.#held, this.#at, this.#at + taken)
    this.#held += taken
    this.#at += taken
    if (this.#held === wanted) return true
    this.#chunk = NOTHING
    this.#at = 0
    return false
  }

  /** What was merely announced takes no memory. */
  #grow(needed: number): void {
    const larger = Buffer.allocUnsafe(Math.max(needed, Math.min(2 * this.#partial.length, FRAME_HEADER_LENGTH + MAX_FRAME_SIZE)))
    this.#partial.copy(larger, 0, 0, this.#held)
    this.#partial = larger
  }
}
