import { u16, u32 } from './bytes.ts'
import { skipName } from './name.ts'

/** TYPE, CLASS, TTL and RDLENGTH (RFC 1035 §4.1.3). */
const FIXED_LENGTH = 10

/** Where the parts of one resource record stand. Reused from record to record: no object per record. */
export class RecordView {
  owner = 0
  type = 0
  class = 0
  ttlAt = 0
  rdata = 0
  end = 0

  /** Reads the record at `at`; the offset after it, or -1 when it is malformed. RDATA is not looked into. */
  read(bytes: Uint8Array, at: number, end: number): number {
    const fixed = skipName(bytes, at, end)
    if (fixed < 0 || fixed + FIXED_LENGTH > end) return -1
    const rdata = fixed + FIXED_LENGTH
    const after = rdata + u16(bytes, fixed + 8)
    if (after > end) return -1
    this.owner = at
    this.type = u16(bytes, fixed)
    this.class = u16(bytes, fixed + 2)
    this.ttlAt = fixed + 4
    this.rdata = rdata
    this.end = after
    return after
  }

  ttl(bytes: Uint8Array): number {
    return u32(bytes, this.ttlAt)
  }
}
