import { putU16, u8, u16 } from './bytes.ts'
import { KEEPALIVE_ABSENT, type Query } from './query.ts'
import type { RecordView } from './record.ts'
import { Type } from './types.ts'

export const EdnsOption = { CLIENT_SUBNET: 8, COOKIE: 10, KEEPALIVE: 11, PADDING: 12, EDE: 15 } as const

/** RFC 6891 §6.2.5 names 4096, RFC 9715 §3.2 and DNS flag day 2020 settled on what crosses any IPv6 path unfragmented. */
export const OUR_UDP_SIZE = 1232
/** RFC 6891 §6.2.3: smaller values mean 512. */
export const MIN_UDP_SIZE = 512
/** Root owner, TYPE, CLASS, TTL, RDLENGTH. */
export const OPT_LENGTH = 11
export const OPTION_HEADER_LENGTH = 4

/** Work a client may cause with one OPT record (conformance EDNS-17); the longest honest list has about ten. */
const MAX_OPTIONS = 32
const MAX_OPTIONS_LENGTH = 4096

const DO = 0x8000

/** EXTENDED-RCODE, VERSION and flags of an OPT record stand where others have their TTL (RFC 6891 §6.1.3). */
export function optVersion(wire: Uint8Array, opt: RecordView): number {
  return u8(wire, opt.ttlAt + 1)
}

export function optExtendedRcode(wire: Uint8Array, opt: RecordView): number {
  return u8(wire, opt.ttlAt)
}

/** Takes the facts of a query's OPT record. The options are not looked at: their meaning depends on the version. */
export function readOptHeader(query: Query, opt: RecordView): void {
  query.edns = true
  query.udpSize = Math.max(opt.class, MIN_UDP_SIZE)
  query.dnssecOk = (u16(query.wire, opt.ttlAt + 2) & DO) !== 0
}

/**
 * Reads the options of a query's OPT record; false when they are malformed. Unknown options are ignored (RFC 6891 §6.1.2),
 * so is NSID, which is not offered.
 */
export function readOptions(query: Query, opt: RecordView): boolean {
  const { wire } = query
  if (opt.end - opt.rdata > MAX_OPTIONS_LENGTH) return false
  let padded = false
  let options = 0
  for (let at = opt.rdata; at < opt.end; ) {
    if (at + OPTION_HEADER_LENGTH > opt.end || ++options > MAX_OPTIONS) return false
    const code = u16(wire, at)
    const length = u16(wire, at + 2)
    at += OPTION_HEADER_LENGTH + length
    if (at > opt.end) return false
    // RFC 7873 §5.2.2: 8, or 16 to 40
    if (code === EdnsOption.COOKIE && length !== 8 && (length < 16 || length > 40)) return false
    // RFC 7873 §5.2: only the first one counts
    if (code === EdnsOption.COOKIE && query.cookieLength === 0) {
      query.cookieAt = at - length
      query.cookieLength = length
    }
    if (code === EdnsOption.CLIENT_SUBNET && query.clientSubnetAt === 0) {
      query.clientSubnetAt = at - length
      query.clientSubnetLength = length
    }
    if (code === EdnsOption.KEEPALIVE && query.keepaliveLength === KEEPALIVE_ABSENT) query.keepaliveLength = length
    if (code === EdnsOption.PADDING) {
      // RFC 7830 §3: at most one
      if (padded) return false
      padded = true
    }
  }
  return true
}

export interface OptFacts {
  readonly extendedRcode: number
  readonly dnssecOk: boolean
}

/** Writes an OPT record without options; returns the offset after it. `setOptLength` closes it once options follow. */
export function putOpt(out: Uint8Array, at: number, facts: OptFacts): number {
  out[at] = 0
  putU16(out, at + 1, Type.OPT)
  putU16(out, at + 3, OUR_UDP_SIZE)
  out[at + 5] = facts.extendedRcode
  out[at + 6] = 0
  // RFC 3225 §3: DO is copied; RFC 6891 §6.1.4: all other flags are zero
  putU16(out, at + 7, facts.dnssecOk ? DO : 0)
  putU16(out, at + 9, 0)
  return at + OPT_LENGTH
}

export function setOptLength(out: Uint8Array, optAt: number, end: number): void {
  putU16(out, optAt + 9, end - optAt - OPT_LENGTH)
}

/** Writes an option's header; its data follows at the returned offset. */
export function putOptionHeader(out: Uint8Array, at: number, code: number, length: number): number {
  putU16(out, at, code)
  putU16(out, at + 2, length)
  return at + OPTION_HEADER_LENGTH
}
