import { u16 } from './bytes.ts'

/** RFC 1035 §4.1.1: the fixed header of every message. */
export const HEADER_LENGTH = 12
/** RFC 1035 §4.2.2: the length prefix of a stream transport is 16 bits. */
export const MAX_MESSAGE_LENGTH = 65_535

export const Flag = {
  QR: 0x8000,
  OPCODE: 0x7800,
  AA: 0x0400,
  TC: 0x0200,
  RD: 0x0100,
  RA: 0x0080,
  AD: 0x0020,
  CD: 0x0010,
  RCODE: 0x000f,
} as const

export function flagsOf(message: Uint8Array): number {
  return u16(message, 2)
}

export function opcodeOf(flags: number): number {
  return (flags & Flag.OPCODE) >>> 11
}

export function questionCount(message: Uint8Array): number {
  return u16(message, 4)
}

export function answerCount(message: Uint8Array): number {
  return u16(message, 6)
}

export function authorityCount(message: Uint8Array): number {
  return u16(message, 8)
}

export function additionalCount(message: Uint8Array): number {
  return u16(message, 10)
}
