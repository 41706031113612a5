import { u8 } from '../dns/bytes.ts'

/** RFC 1035 §4.2.2: two octets of length before every message on a stream. */
export const PREFIX_LENGTH = 2

const NOTHING = new Uint8Array(0)
/** First size of the buffer for a message that comes in pieces; most are smaller. */
const FIRST_CAPACITY = 512
/** A larger buffer is given back after use, so that one big message does not cost memory for the life of a connection. */
const KEPT_CAPACITY = 4096

/**
 * Cuts a stream into length-prefixed messages (RFC 7766 §8). Sans-IO; messages that lie within one chunk are not copied.
 * Memory: one chunk, and what has arrived of one message, never what was merely announced.
 */
export class Deframer {
  #chunk: Uint8Array = NOTHING
  #at = 0
  /** A frame that began in an earlier chunk. */
  #partial: Uint8Array = NOTHING
  #held = 0

  /** Adds what was read. next() has returned null since the last call, or the rest is kept. */
  push(chunk: Uint8Array): void {
    if (this.#at >= this.#chunk.length) {
      this.#chunk = chunk
    } else {
      const rest = this.#chunk.subarray(this.#at)
      const joined = new Uint8Array(rest.length + chunk.length)
      joined.set(rest)
      joined.set(chunk, rest.length)
      this.#chunk = joined
    }
    this.#at = 0
  }

  /** Whether octets are left that next() has not handed out. */
  get hasRest(): boolean {
    return this.#held > 0 || this.#at < this.#chunk.length
  }

  /** The next whole message, borrowed until the next call; null when more octets are needed. */
  next(): Uint8Array | null {
    if (this.#held > 0) return this.#nextFromPartial()
    const available = this.#chunk.length - this.#at
    if (available >= PREFIX_LENGTH) {
      const length = frameLength(this.#chunk, this.#at)
      if (available >= length) {
        const message = this.#chunk.subarray(this.#at + PREFIX_LENGTH, this.#at + length)
        this.#at += length
        return message
      }
    }
    if (available > 0) this.#hold(available)
    this.#chunk = NOTHING
    this.#at = 0
    if (this.#partial.length > KEPT_CAPACITY && this.#held === 0) this.#partial = NOTHING
    return null
  }

  #nextFromPartial(): Uint8Array | null {
    if (this.#held < PREFIX_LENGTH) this.#hold(PREFIX_LENGTH - this.#held)
    if (this.#held < PREFIX_LENGTH) return null
    const length = frameLength(this.#partial, 0)
    this.#hold(length - this.#held)
    if (this.#held < length) return null
    this.#held = 0
    return this.#partial.subarray(PREFIX_LENGTH, length)
  }

  /** Moves up to `wanted` octets from the chunk to the partial frame. */
  #hold(wanted: number): void {
    const taken = Math.min(wanted, this.#chunk.length - this.#at)
    if (this.#held + taken > this.#partial.length) this.#grow(this.#held + taken)
    this.#partial.set(this.#chunk.subarray(this.#at, this.#at + taken), this.#held)
    this.#held += taken
    this.#at += taken
  }

  #grow(needed: number): void {
    const larger = new Uint8Array(Math.max(needed, 2 * this.#partial.length, FIRST_CAPACITY))
    larger.set(this.#partial.subarray(0, this.#held))
    this.#partial = larger
  }
}

function frameLength(bytes: Uint8Array, at: number): number {
  return PREFIX_LENGTH + ((u8(bytes, at) << 8) | u8(bytes, at + 1))
}
