import { crc32 } from 'node:zlib'
import { AUDIENCE_BYTES } from './audience.ts'

/**
 * The file of a snapshot, little-endian. A checksum is the CRC-32 of all before it and of what it stands for, so that a record
 * holds only in its own file and at its own place.
 *
 *   header   magic 8 | version 4 | pages 4 | fingerprint 4 | secret 16 | table's time 8 | wall clock 8 | audiences 28 |
 *            checksum 4
 *   record   checksum 4 | page 4 | length 4 | the octets in use of the page
 *   end      checksum 4 | END_OF_RECORDS 4 | records 4
 */
const MAGIC = Buffer.from('\x89AtlasC\n', 'latin1')
/** Of the file and of the pages in it: whoever changes geometry.ts or the words of an entry changes this. */
const VERSION = 2
export const HEADER_BYTES = 56 + AUDIENCE_BYTES
const AUDIENCES_AT = 52
const CHECKSUM_AT = HEADER_BYTES - 4
export const RECORD_BYTES = 12
export const END_OF_RECORDS = 0xffff_ffff

export interface SnapshotHeader {
  readonly pages: number
  /** 32 bits of what makes answers differ: upstreams, settings. */
  readonly fingerprint: number
  readonly secret: Uint32Array
  /** Milliseconds of the table's time, and of the wall clock in the same moment. */
  readonly time: number
  readonly wallClock: number
  /** Of the AudienceMap. */
  readonly audiences: Uint8Array
}

export interface SnapshotRecord {
  readonly checksum: number
  /** Or END_OF_RECORDS. */
  readonly page: number
  /** Octets that follow; at the end, how many records there are. */
  readonly length: number
}

/** Returns the checksum, which the records go on from. */
export function putHeader(to: Buffer, header: SnapshotHeader): number {
  MAGIC.copy(to)
  to.writeUInt32LE(VERSION, 8)
  to.writeUInt32LE(header.pages, 12)
  to.writeUInt32LE(header.fingerprint >>> 0, 16)
  for (const [i, word] of header.secret.entries()) to.writeUInt32LE(word, 20 + 4 * i)
  to.writeDoubleLE(header.time, 36)
  to.writeDoubleLE(header.wallClock, 44)
  to.set(header.audiences, AUDIENCES_AT)
  const checksum = crc32(to.subarray(0, CHECKSUM_AT))
  to.writeUInt32LE(checksum, CHECKSUM_AT)
  return checksum
}

/** Throws an Error whose message is the bare reason. */
export function readHeader(from: Buffer): SnapshotHeader & { readonly checksum: number } {
  if (!from.subarray(0, 8).equals(MAGIC)) throw new Error('it is no snapshot')
  // another version may have its checksum elsewhere
  const version = from.readUInt32LE(8)
  if (version !== VERSION) throw new Error(`it is of version ${version} instead of ${VERSION}`)
  const checksum = from.readUInt32LE(CHECKSUM_AT)
  if (checksum !== crc32(from.subarray(0, CHECKSUM_AT))) throw new Error('it is damaged: the checksum of the header is wrong')
  return {
    pages: from.readUInt32LE(12),
    fingerprint: from.readUInt32LE(16),
    secret: Uint32Array.from([20, 24, 28, 32], (at) => from.readUInt32LE(at)),
    time: from.readDoubleLE(36),
    wallClock: from.readDoubleLE(44),
    audiences: Uint8Array.from(from.subarray(AUDIENCES_AT, CHECKSUM_AT)),
    checksum,
  }
}

/** Puts the head before the octets of a record, which are there already; `before` is the checksum so far. Returns the new one. */
export function putRecord(to: Buffer, { page, length }: Pick<SnapshotRecord, 'page' | 'length'>, before: number): number {
  const octets = page === END_OF_RECORDS ? 0 : length
  to.writeUInt32LE(page, 4)
  to.writeUInt32LE(length, 8)
  const checksum = crc32(to.subarray(4, RECORD_BYTES + octets), before)
  to.writeUInt32LE(checksum, 0)
  return checksum
}
