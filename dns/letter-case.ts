import { u8 } from './bytes.ts'
import { HEADER_LENGTH } from './header.ts'
import type { Query } from './query.ts'
import type { RecordTable } from './record-table.ts'

/** In ASCII the bit that tells lower case from upper. */
const CASE_BIT = 0x20

/**
 * Gives the letters of the valid, uncompressed name in `bytes` from `from` up to `to` the case that `pattern` has for them: 32 bits,
 * repeated, 1 for lower case. Lengths of labels are below all letters.
 */
export function putLetterCase(bytes: Uint8Array, from: number, to: number, pattern: number): void {
  for (let i = from; i < to; i++) {
    const octet = u8(bytes, i)
    if (isLetter(octet)) bytes[i] = (octet & ~CASE_BIT) | caseBit(pattern, i)
  }
}

/** Whether the question's name in `message`, an answer to `query`, has the case of `pattern`; see putLetterCase(). */
export function hasLetterCase(query: Query, message: Uint8Array, pattern: number): boolean {
  const nameEnd = query.questionEnd - 4
  for (let i = HEADER_LENGTH; i < nameEnd; i++) {
    const octet = u8(message, i)
    if (isLetter(octet) && (octet & CASE_BIT) !== caseBit(pattern, i)) return false
  }
  return true
}

/**
 * Makes an answer that has another letter case than the client's question one to that question: names that point at it follow (RFC
 * 1035 §4.1.4), so do owners that repeat it in full. What a server says of itself keeps its case (RFC 4343 §4.1).
 */
export function restoreLetterCase(query: Query, message: Uint8Array, table: RecordTable): void {
  const nameEnd = query.questionEnd - 4
  if (isEqual(query.wire, message, HEADER_LENGTH, nameEnd)) return
  for (let i = 0; i < table.count; i++) {
    const owner = table.owner(i)
    if (isEqual(message, message, owner, owner + nameEnd - HEADER_LENGTH)) copyName(query, message, owner)
  }
  copyName(query, message, HEADER_LENGTH)
}

/** Whether `message` has from `from` up to `to` the octets with which the name of the question in `of` begins. */
function isEqual(of: Uint8Array, message: Uint8Array, from: number, to: number): boolean {
  for (let i = from, o = HEADER_LENGTH; i < to; i++, o++) if (message[i] !== of[o]) return false
  return true
}

function copyName({ wire, questionEnd }: Query, message: Uint8Array, at: number): void {
  for (let i = HEADER_LENGTH; i < questionEnd - 4; i++) message[at + i - HEADER_LENGTH] = u8(wire, i)
}

function isLetter(octet: number): boolean {
  const upper = octet & ~CASE_BIT
  return upper >= 0x41 && upper <= 0x5a
}

/** 32 bits for names that are longer: nobody guesses those. */
function caseBit(pattern: number, at: number): number {
  return ((pattern >>> (at & 31)) & 1) * CASE_BIT
}
