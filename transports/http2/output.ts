import { putU32 } from '../../dns/bytes.ts'
import { FRAME_HEADER_LENGTH } from './codes.ts'

/** Room for the answers of most turns. */
const CAPACITY = 65_536
/** Buffers that wait to be lent again. Only connections with something to say in this turn have one. */
const MAX_SPARE = 16
const spare: Buffer[] = []
const NOTHING = Buffer.alloc(0)

/** Where the frames of one turn of the event loop collect. The buffer is lent by the thread, so that an idle connection has none. */
export class Output {
  /** Write here what was reserved. */
  bytes: Buffer = NOTHING
  length = 0

  /** Makes room for `octets` more; the offset at which they begin. */
  reserve(octets: number): number {
    const needed = this.length + octets
    if (needed > this.bytes.length) this.#grow(needed)
    return this.length
  }

  /** Writes a frame header (RFC 9113 §4.1), for which there is room; the offset behind it. */
  putFrameHeader(at: number, { length, type, flags, stream }: { length: number; type: number; flags: number; stream: number }): number {
    const { bytes } = this
    putU32(bytes, at, (length << 8) | type)
    bytes[at + 4] = flags
    putU32(bytes, at + 5, stream)
    return at + FRAME_HEADER_LENGTH
  }

  /** A copy of everything; the buffer goes back. */
  take(): Buffer {
    const taken = Buffer.allocUnsafe(this.length)
    this.bytes.copy(taken, 0, 0, this.length)
    this.discard()
    return taken
  }

  discard(): void {
    if (this.bytes.length === CAPACITY && spare.length < MAX_SPARE) spare.push(this.bytes)
    this.bytes = NOTHING
    this.length = 0
  }

  #grow(needed: number): void {
    const larger =
      needed <= CAPACITY
        ? (spare.pop() ?? Buffer.allocUnsafeSlow(CAPACITY))
        : Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.bytes.length))
    this.bytes.copy(larger, 0, 0, this.length)
    const { length } = this
    this.discard()
    this.bytes = larger
    this.length = length
  }
}
