import { u8 } from './bytes.ts'
import { type Changes, expandName, isChangeable, MAX_NAME_LENGTH, skipName } from './name.ts'
import type { RecordView } from './record.ts'
import { Type } from './types.ts'

/**
 * Where domain names stand in the RDATA of the types in which they may be compressed: those of RFC 1035 and the few that
 * RFC 3597 §4 lists. All other RDATA is opaque and never touched.
 * `before`: octets ahead of the first name, `strings`: character-strings after them, `names`: how many, `after`: octets behind.
 */
interface RdataLayout {
  readonly before: number
  readonly strings: number
  readonly names: number
  readonly after: number
}

const layout = (before: number, names: number, after = 0, strings = 0): RdataLayout => Object.freeze({ before, strings, names, after })

const ONE_NAME = layout(0, 1)
const LAYOUTS = new Map<number, RdataLayout>([
  [Type.NS, ONE_NAME],
  [3 /* MD */, ONE_NAME],
  [4 /* MF */, ONE_NAME],
  [Type.CNAME, ONE_NAME],
  [Type.SOA, layout(0, 2, 20)],
  [7 /* MB */, ONE_NAME],
  [8 /* MG */, ONE_NAME],
  [9 /* MR */, ONE_NAME],
  [Type.PTR, ONE_NAME],
  [14 /* MINFO */, layout(0, 2)],
  [15 /* MX */, layout(2, 1)],
  [17 /* RP */, layout(0, 2)],
  [18 /* AFSDB */, layout(2, 1)],
  [21 /* RT */, layout(2, 1)],
  [26 /* PX */, layout(2, 2)],
  [33 /* SRV */, layout(6, 1)],
  [35 /* NAPTR */, layout(4, 1, 0, 3)],
  [36 /* KX */, layout(2, 1)],
  [Type.DNAME, ONE_NAME],
])

const FIXED_LENGTHS = new Map<number, number>([
  [Type.A, 4],
  [Type.AAAA, 16],
])

/** Longest RDATA that writeRdata() makes out of compressed names: NAPTR, three full strings and a name. */
export const MAX_EXPANSION = 4 + 3 * 256 + 2 * MAX_NAME_LENGTH + 20

/** Whether the RDATA of a record is well-formed as far as a forwarder must know: names, their places, address lengths. `changes`: what no name may depend on. */
export function isRdataValid(bytes: Uint8Array, record: RecordView, changes: Changes): boolean {
  const fixed = FIXED_LENGTHS.get(record.type)
  if (fixed !== undefined) return record.end - record.rdata === fixed
  const shape = LAYOUTS.get(record.type)
  if (shape === undefined) return true
  let at = nameStart(bytes, record, shape)
  for (let i = 0; i < shape.names; i++) {
    const name = at
    at = name < 0 || name >= record.end ? -1 : skipName(bytes, name, bytes.length)
    if (at < 0 || at > record.end || isChangeable(bytes, name, changes)) return false
  }
  return at + shape.after === record.end
}

/** Copies the RDATA of a valid record, its names uncompressed; returns the offset after it. */
export function writeRdata(bytes: Uint8Array, record: RecordView, out: Uint8Array, to: number): number {
  const shape = LAYOUTS.get(record.type)
  if (shape === undefined) return copy(bytes, record.rdata, record.end, out, to)
  let at = nameStart(bytes, record, shape)
  to = copy(bytes, record.rdata, at, out, to)
  for (let i = 0; i < shape.names; i++) {
    to = expandName(bytes, at, out, to)
    at = skipName(bytes, at, bytes.length)
  }
  return copy(bytes, at, record.end, out, to)
}

function nameStart(bytes: Uint8Array, record: RecordView, shape: RdataLayout): number {
  let at = record.rdata + shape.before
  for (let i = 0; i < shape.strings; i++) {
    if (at >= record.end) return -1
    at += 1 + u8(bytes, at)
  }
  return at
}

function copy(bytes: Uint8Array, from: number, end: number, out: Uint8Array, to: number): number {
  out.set(bytes.subarray(from, end), to)
  return to + end - from
}
