import { u8 } from '../dns/bytes.ts'
import { HuffmanDecoder, TOO_LONG } from './huffman.ts'

/** RFC 9204 §4.1.1: integers have up to 62 bits, which is at most nine octets behind the first; RFC 7541 §5.1 sets no limit. */
const MAX_INTEGER = 2 ** 62
const MAX_CONTINUATION = 9

/** Reads the integers and strings of HPACK and QPACK (RFC 7541 §5). Everything it gives lives on; what it reads is borrowed. */
export class PrefixReader {
  readonly #huffman: HuffmanDecoder
  bytes: Buffer = Buffer.alloc(0)
  at = 0
  end = 0
  /** The last string is longer than the room for it. */
  isTooLong = false

  /** `room`: octets of the longest string. */
  constructor(room: number) {
    this.#huffman = new HuffmanDecoder(room)
  }

  open(bytes: Buffer, start: number, end: number): void {
    this.bytes = bytes
    this.at = start
    this.end = end
    this.isTooLong = false
  }

  get hasMore(): boolean {
    return this.at < this.end
  }

  /** The next octet, which is there. */
  get next(): number {
    return u8(this.bytes, this.at)
  }

  /** RFC 7541 §5.1: an integer with a prefix of so many bits, whose octet is there; -1 when it is incomplete or too large. */
  integer(prefix: number): number {
    const most = (1 << prefix) - 1
    let value = u8(this.bytes, this.at++) & most
    if (value < most) return value
    for (let i = 0, weight = 1; i < MAX_CONTINUATION && this.at < this.end; i++, weight *= 128) {
      const octet = u8(this.bytes, this.at++)
      value += (octet & 0x7f) * weight
      if (octet < 0x80) return value > MAX_INTEGER ? -1 : value
    }
    return -1
  }

  /** RFC 7541 §5.2, RFC 9204 §4.1.2: the Huffman bit stands before the length. Octets become characters one to one; null when it is malformed. */
  string(prefix: number): string | null {
    if (!this.hasMore) return null
    const coded = (this.next & (1 << prefix)) !== 0
    const length = this.integer(prefix)
    const start = this.at
    if (length < 0 || length > this.end - start) return null
    this.at = start + length
    if (!coded) return this.bytes.toString('latin1', start, this.at)
    const decoded = this.#huffman.decode(this.bytes, start, this.at)
    this.isTooLong = decoded === TOO_LONG
    return decoded < 0 ? null : this.#huffman.out.toString('latin1', 0, decoded)
  }
}
