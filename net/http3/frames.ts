import { putVarint, VarintReader, varintSize } from './varint.ts'

/** Frame types (RFC 9114 §7.2). */
export const FrameType = {
  DATA: 0x00,
  HEADERS: 0x01,
  CANCEL_PUSH: 0x03,
  SETTINGS: 0x04,
  PUSH_PROMISE: 0x05,
  GOAWAY: 0x07,
  MAX_PUSH_ID: 0x0d,
} as const

/** RFC 9114 §7.2.8: frame types of HTTP/2 that have no meaning here; their receipt is an error. */
export const HTTP2_FRAME_TYPES: ReadonlySet<number> = new Set([0x02, 0x06, 0x08, 0x09])

/** Writes type and length of a frame (RFC 9114 §7.1) whose payload follows; the offset behind them. */
export function putDataHeader(bytes: Uint8Array, at: number, length: number): number {
  bytes[at] = FrameType.DATA
  return putVarint(bytes, at + 1, length)
}

/** As putDataHeader(), for a field section. */
export function putHeadersHeader(bytes: Uint8Array, at: number, length: number): number {
  bytes[at] = FrameType.HEADERS
  return putVarint(bytes, at + 1, length)
}

/** Octets of a DATA or HEADERS frame without its payload. */
export function frameHeaderLength(length: number): number {
  return 1 + varintSize(length)
}

const NOTHING = new Uint8Array(0)
/** First size of the buffer for a payload that comes in pieces. */
const FIRST_CAPACITY = 512

/** FrameReader.next(): more octets are needed. */
export const NEED_MORE = 0
/** FrameReader.next(): a frame began; its type and length are known. */
export const FRAME_BEGINS = 1
/** FrameReader.next(): a part of its payload is there; the last one when nothing is left. Every frame has one, maybe empty. */
export const FRAME_PAYLOAD = 2
type FrameEvent = typeof NEED_MORE | typeof FRAME_BEGINS | typeof FRAME_PAYLOAD

/**
 * Cuts a stream into frames (RFC 9114 §7.1). Sans-IO; payloads are handed on as they come, and held only if collect() is called
 * for them. Memory: what has arrived of one collected payload, never what was merely announced.
 */
export class FrameReader {
  type = 0
  length = 0
  /** Octets of the payload that are still to come. */
  left = 0
  /** Borrowed from the chunk. */
  payload: Uint8Array = NOTHING
  readonly #varint = new VarintReader()
  #stage: 'type' | 'length' | 'payload' = 'type'
  #chunk: Uint8Array = NOTHING
  #at = 0
  #collected: Uint8Array = NOTHING
  #held = 0

  /** Adds what was read. next() has returned NEED_MORE since the last call. */
  push(chunk: Uint8Array): void {
    this.#chunk = chunk
  }

  next(): FrameEvent {
    if (this.#stage === 'payload') return this.#nextPayload()
    if (this.#stage === 'type') {
      if (!this.#readVarint()) return this.#needMore()
      this.type = this.#varint.take()
      this.#stage = 'length'
    }
    if (!this.#readVarint()) return this.#needMore()
    this.length = this.#varint.take()
    this.left = this.length
    this.#stage = 'payload'
    return FRAME_BEGINS
  }

  /** After FRAME_PAYLOAD: the payload, borrowed until the next call, once it is whole; null before. */
  collect(): Uint8Array | null {
    // in one piece: not copied
    if (this.left === 0 && this.#held === 0) return this.payload
    const held = this.#held + this.payload.length
    if (held > this.#collected.length) this.#grow(held)
    this.#collected.set(this.payload, this.#held)
    this.#held = held
    if (this.left > 0) return null
    const whole = this.#collected.subarray(0, held)
    this.#collected = NOTHING
    this.#held = 0
    return whole
  }

  /** Whether the stream may end here: no frame is incomplete. */
  get betweenFrames(): boolean {
    return this.#stage === 'type' && !this.#varint.begun
  }

  #nextPayload(): FrameEvent {
    const taken = Math.min(this.left, this.#chunk.length - this.#at)
    if (taken === 0 && this.left > 0) return this.#needMore()
    this.payload = this.#chunk.subarray(this.#at, this.#at + taken)
    this.#at += taken
    this.left -= taken
    if (this.left === 0) this.#stage = 'type'
    return FRAME_PAYLOAD
  }

  #readVarint(): boolean {
    this.#at = this.#varint.push(this.#chunk, this.#at)
    return this.#varint.complete
  }

  /** The chunk was borrowed. */
  #needMore(): FrameEvent {
    this.#chunk = NOTHING
    this.payload = NOTHING
    this.#at = 0
    return NEED_MORE
  }

  #grow(needed: number): void {
    const capacity = Math.min(Math.max(2 * this.#collected.length, FIRST_CAPACITY), this.length)
    const larger = new Uint8Array(Math.max(needed, capacity))
    larger.set(this.#collected.subarray(0, this.#held))
    this.#collected = larger
  }
}
