import { putU32 } from '../../dns/bytes.ts'
import { FRAME_HEADER_LENGTH } from './codes.ts'

/** Room for a few answers, and for those of most turns; of each, octets that wait to be lent again. Only connections with something to say in this turn have any. */
const SMALL = 2048
const LARGE = 65_536
const MAX_SPARE = 1_048_576
const spares: ReadonlyMap<number, Buffer[]> = new Map([
  [SMALL, []],
  [LARGE, []],
])
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
    giveBack(this.bytes)
    this.bytes = NOTHING
    this.length = 0
  }

  #grow(needed: number): void {
    const larger =
      needed <= SMALL ? lend(SMALL) : needed <= LARGE ? lend(LARGE) : Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.bytes.length))
    this.bytes.copy(larger, 0, 0, this.length)
    giveBack(this.bytes)
    this.bytes = larger
  }
}

function lend(capacity: number): Buffer {
  return spares.get(capacity)?.pop() ?? Buffer.allocUnsafeSlow(capacity)
}

function giveBack(bytes: Buffer): void {
  const spare = spares.get(bytes.length)
  if (spare !== undefined && spare.length * bytes.length < MAX_SPARE) spare.push(bytes)
}
