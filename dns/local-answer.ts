import { Answer, type AnswerBody } from './answer.ts'
import { HEADER_LENGTH } from './header.ts'
import { Class } from './types.ts'

/** Octets of a name that is the question's (RFC 1035 §4.1.4). */
export const OWNER: readonly number[] = [0xc0, HEADER_LENGTH]
/** Octets of TYPE and CLASS, behind the name of a question (RFC 1035 §4.1.2). */
export const QUESTION_TAIL = 4

interface LocalAnswer {
  readonly rcode: number
  readonly records: readonly number[]
  readonly answers?: number
  readonly authorities?: number
  /** Seconds for which an HTTP cache may keep it. */
  readonly freshness: number
}

/** An answer of our own making, whose records never age. */
export function localAnswer({ rcode, records, answers = 0, authorities = 0, freshness }: LocalAnswer): Answer {
  const bytes = Uint8Array.from(records)
  const body: AnswerBody = {
    bytes,
    start: 0,
    additional: bytes.length,
    end: bytes.length,
    answers,
    authorities,
    additionals: 0,
    ttls: new Uint16Array(0),
    freshness,
    at: Number.POSITIVE_INFINITY,
  }
  return new Answer({ rcode, source: 'local', body })
}

/** A record of class IN. */
export function recordOf(owner: readonly number[], type: number, ttl: number, rdata: readonly number[]): readonly number[] {
  return [...owner, 0, type, 0, Class.IN, ...uint32(ttl), rdata.length >>> 8, rdata.length & 0xff, ...rdata]
}

export function uint32(value: number): readonly number[] {
  return [value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff]
}
