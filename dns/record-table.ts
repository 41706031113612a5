import { HEADER_LENGTH } from './header.ts'
import type { Changes } from './name.ts'
import type { RecordView } from './record.ts'

/** Records a message may have (conformance NC-14): a bound on the work one answer can cause. */
export const MAX_RECORDS = 4000

const TTL_LENGTH = 4

/** Where the records of one message stand. One table is reused for message after message. */
export class RecordTable implements Changes {
  readonly #owners = new Uint16Array(MAX_RECORDS)
  readonly #types = new Uint16Array(MAX_RECORDS)
  readonly #ttls = new Uint16Array(MAX_RECORDS)
  readonly #rdatas = new Uint16Array(MAX_RECORDS)
  readonly #dropped = new Uint8Array(MAX_RECORDS)
  #count = 0
  #drops = 0

  get count(): number {
    return this.#count
  }

  /** How many records are marked to be left out. */
  get drops(): number {
    return this.#drops
  }

  clear(): void {
    this.#count = 0
    this.#drops = 0
  }

  add(record: RecordView): void {
    const i = this.#count++
    this.#owners[i] = record.owner
    this.#types[i] = record.type
    this.#ttls[i] = record.ttlAt
    this.#rdatas[i] = record.rdata
    this.#dropped[i] = 0
  }

  /** Also the offset of the record itself. */
  owner(i: number): number {
    return this.#owners[i] as number
  }

  type(i: number): number {
    return this.#types[i] as number
  }

  ttl(i: number): number {
    return this.#ttls[i] as number
  }

  rdata(i: number): number {
    return this.#rdatas[i] as number
  }

  drop(i: number): void {
    if (this.#dropped[i] === 1) return
    this.#dropped[i] = 1
    this.#drops++
  }

  isDropped(i: number): boolean {
    return this.#dropped[i] === 1
  }

  /** Whether any of the octets from `from` up to `to` is one of the header or of a TTL: both are made anew for each client. */
  has(from: number, to: number): boolean {
    const ttls = this.#ttls
    if (from < HEADER_LENGTH) return true
    // nearly all pointers lead to the question
    if (this.#count === 0 || to <= (ttls[0] as number)) return false
    let low = 0
    for (let high = this.#count; high - low > 1; ) {
      const middle = (low + high) >>> 1
      if ((ttls[middle] as number) < to) low = middle
      else high = middle
    }
    return from < (ttls[low] as number) + TTL_LENGTH
  }

  /** A copy of the TTL offsets of the first `count` records. */
  ttls(count: number): Uint16Array {
    return this.#ttls.slice(0, count)
  }
}
