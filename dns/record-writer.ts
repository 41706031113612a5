import type { AnswerBody } from './answer.ts'
import { putU16, u8 } from './bytes.ts'
import { HEADER_LENGTH, MAX_MESSAGE_LENGTH } from './header.ts'
import { expandName, MAX_NAME_LENGTH, sameName } from './name.ts'
import { MAX_EXPANSION, writeRdata } from './rdata.ts'
import { RecordView } from './record.ts'
import type { RecordTable } from './record-table.ts'

/** A pointer to the question's name (RFC 1035 §4.1.4). */
const QUESTION_POINTER = 0xc000 | HEADER_LENGTH
const FIXED_LENGTH = 10

export interface RewriteFacts {
  /** Offset at which the records begin: after the question. */
  readonly start: number
  readonly answers: number
  readonly authorities: number
  readonly freshness: number
  readonly at: number
}

const record = new RecordView()

/**
 * Builds the sections anew from the records that are not dropped. Names are written out, because a pointer may lead into a
 * record that is gone; only the question's name is pointed at. Null when the result does not fit into a message.
 */
export function rewriteRecords(message: Uint8Array, table: RecordTable, facts: RewriteFacts): AnswerBody | null {
  const out = new Uint8Array(MAX_MESSAGE_LENGTH)
  const ttls: number[] = []
  const kept = [0, 0, 0]
  let at = facts.start
  let additional = -1
  for (let i = 0; i < table.count; i++) {
    if (table.isDropped(i)) continue
    const section = i < facts.answers ? 0 : i < facts.answers + facts.authorities ? 1 : 2
    if (section === 2 && additional < 0) additional = at
    record.read(message, table.owner(i), message.length)
    const worst = MAX_NAME_LENGTH + FIXED_LENGTH + Math.max(record.end - record.rdata, MAX_EXPANSION)
    if (at + worst > out.length) return null
    const fixed = writeOwner(message, record.owner, out, at)
    for (let o = 0; o < FIXED_LENGTH; o++) out[fixed + o] = u8(message, record.ttlAt - 4 + o)
    ttls.push(fixed + 4)
    at = writeRdata(message, record, out, fixed + FIXED_LENGTH)
    putU16(out, fixed + 8, at - fixed - FIXED_LENGTH)
    kept[section] = (kept[section] as number) + 1
  }
  const [answers = 0, authorities = 0, additionals = 0] = kept
  return {
    bytes: out,
    start: facts.start,
    additional: additional < 0 ? at : additional,
    end: at,
    answers,
    authorities,
    additionals,
    ttls: Uint16Array.from(ttls),
    freshness: facts.freshness,
    at: facts.at,
  }
}

function writeOwner(message: Uint8Array, owner: number, out: Uint8Array, at: number): number {
  if (!sameName(message, owner, message, HEADER_LENGTH)) return expandName(message, owner, out, at)
  putU16(out, at, QUESTION_POINTER)
  return at + 2
}
