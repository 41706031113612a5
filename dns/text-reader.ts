import { u8, u16, u32 } from './bytes.ts'
import { skipName, skipPlainName } from './name.ts'
import { nameText } from './text-name.ts'

const NOTHING = new Uint8Array(0)

/**
 * Reads the fields of RDATA one after the other. Never beyond `end` and never an exception: what is not there reads as zero
 * or empty and `failed` is set, so that a printer need not check each field.
 */
export class RdataReader {
  readonly #bytes: Uint8Array
  readonly #end: number
  #at: number
  #failed = false

  constructor(bytes: Uint8Array, at: number, end: number) {
    this.#bytes = bytes
    this.#at = at
    this.#end = end
  }

  get left(): number {
    return this.#end - this.#at
  }

  /** Whether everything was there and nothing is left. */
  get finished(): boolean {
    return !this.#failed && this.#at === this.#end
  }

  fail(): void {
    this.#failed = true
    this.#at = this.#end
  }

  u8(): number {
    const at = this.#skip(1)
    return at < 0 ? 0 : u8(this.#bytes, at)
  }

  u16(): number {
    const at = this.#skip(2)
    return at < 0 ? 0 : u16(this.#bytes, at)
  }

  u32(): number {
    const at = this.#skip(4)
    return at < 0 ? 0 : u32(this.#bytes, at)
  }

  /** The next `length` octets, borrowed. */
  octets(length: number): Uint8Array {
    const at = this.#skip(length)
    return at < 0 ? NOTHING : this.#bytes.subarray(at, at + length)
  }

  /** All that is left, at least one octet. */
  rest(): Uint8Array {
    if (this.left === 0) this.fail()
    return this.octets(this.left)
  }

  /** A reader of the next `length` octets alone. */
  slice(length: number): RdataReader {
    const at = this.#skip(length)
    return at < 0 ? new RdataReader(NOTHING, 0, 0) : new RdataReader(this.#bytes, at, at + length)
  }

  /** A name as it must stand in all types but the old ones: without compression (RFC 3597 §4). */
  name(): string {
    return this.#name(skipPlainName(this.#bytes, this.#at, this.#end))
  }

  /** A name that may end in a compression pointer. */
  compressedName(): string {
    return this.#name(skipName(this.#bytes, this.#at, this.#end))
  }

  #name(after: number): string {
    const text = after < 0 ? null : nameText(this.#bytes, this.#at)
    if (text === null) this.fail()
    else this.#at = after
    return text ?? ''
  }

  /** The offset of a field of `length` octets, -1 when it is not there. */
  #skip(length: number): number {
    if (length > this.left) {
      this.fail()
      return -1
    }
    const at = this.#at
    this.#at += length
    return at
  }
}
