import { u16 } from './bytes.ts'
import { additionalCount, answerCount, authorityCount, HEADER_LENGTH, questionCount } from './header.ts'
import { skipName } from './name.ts'
import { RecordView } from './record.ts'
import type { RdataPlace } from './text-rdata.ts'
import { Type } from './types.ts'

export interface QuestionPlace {
  /** Offset of QNAME. */
  readonly owner: number
  readonly type: number
  readonly class: number
}

export interface RecordPlace extends RdataPlace {
  readonly owner: number
  readonly ttl: number
}

/** Where the parts of a message stand, as far as it can be read. */
export interface MessageParts {
  readonly questions: readonly QuestionPlace[]
  readonly answers: readonly RecordPlace[]
  readonly authorities: readonly RecordPlace[]
  readonly additionals: readonly RecordPlace[]
  /** The OPT record of the additional section (RFC 6891 §6.1.1), the first if there are several. */
  readonly opt: RecordPlace | null
  /** Offset of what cannot be read, be it a broken record or octets after the last one; -1 when all of the message could. */
  readonly malformedAt: number
}

/** Null when there is not even a header. What the header counts is never believed: reading ends where the octets do. */
export function readParts(bytes: Uint8Array): MessageParts | null {
  if (bytes.length < HEADER_LENGTH) return null
  const cursor: Cursor = { at: HEADER_LENGTH, broken: false }
  const questions = many(questionCount(bytes), () => readQuestion(bytes, cursor))
  const answers = many(answerCount(bytes), () => readRecord(bytes, cursor))
  const authorities = many(authorityCount(bytes), () => readRecord(bytes, cursor))
  const additionals = many(additionalCount(bytes), () => readRecord(bytes, cursor))
  return {
    questions,
    answers,
    authorities,
    additionals,
    opt: additionals.find((record) => record.type === Type.OPT) ?? null,
    malformedAt: cursor.broken || cursor.at < bytes.length ? cursor.at : -1,
  }
}

interface Cursor {
  at: number
  broken: boolean
}

function many<T>(count: number, read: () => T | null): T[] {
  const parts: T[] = []
  while (parts.length < count) {
    const part = read()
    if (part === null) break
    parts.push(part)
  }
  return parts
}

function readQuestion(bytes: Uint8Array, cursor: Cursor): QuestionPlace | null {
  const owner = cursor.at
  const at = skipName(bytes, owner, bytes.length)
  cursor.broken ||= at < 0 || at + 4 > bytes.length
  if (cursor.broken) return null
  cursor.at = at + 4
  return { owner, type: u16(bytes, at), class: u16(bytes, at + 2) }
}

function readRecord(bytes: Uint8Array, cursor: Cursor): RecordPlace | null {
  const view = new RecordView()
  const after = cursor.broken ? -1 : view.read(bytes, cursor.at, bytes.length)
  cursor.broken ||= after < 0
  if (cursor.broken) return null
  cursor.at = after
  return { owner: view.owner, type: view.type, class: view.class, ttl: view.ttl(bytes), rdata: view.rdata, end: view.end }
}
