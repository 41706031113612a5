import type { Field } from '../../net/fields.ts'
import { date } from '../../net/http-date.ts'
import { maxFieldsLength, putFields } from '../http2/hpack/encoder.ts'
import type { HeaderBlock } from '../http2/stream.ts'
import { MEDIA_TYPE } from './request.ts'

/** RFC 7541 §6.2.2: a literal that is not indexed, with the name of an entry of the static table. */
const CONTENT_LENGTH = literal('content-length')
const CACHE_CONTROL = literal('cache-control')
const MAX_AGE = Buffer.from('max-age=', 'latin1')
const NO_STORE = Buffer.from('no-store', 'latin1')
/** Digits of a length below 2^16, and of a TTL below 2^31. */
const MAX_LENGTH_DIGITS = 5
const MAX_TTL_DIGITS = 10
const ZERO = 0x30

/**
 * The header block of a DNS answer, as answerHead() has it: what is the same in all of them is encoded once a second. There is one for
 * many connections; it is borrowed until it has been written.
 */
export class AnswerBlock implements HeaderBlock {
  readonly altSvc: string | null
  /** What every response has besides. */
  readonly extra: readonly Field[]
  #date = ''
  #constant: Buffer = Buffer.alloc(0)
  #length = 0
  #freshness = 0

  /** `altSvc`: the value of Alt-Svc, null for none. */
  constructor(altSvc: string | null) {
    this.altSvc = altSvc
    this.extra = altSvc === null ? [] : [['alt-svc', altSvc]]
  }

  /** For an answer of `length` octets that may be stored for `freshness` seconds. */
  of(length: number, freshness: number): this {
    this.#length = length
    this.#freshness = freshness
    const now = date()
    if (now !== this.#date) this.#encode(now)
    return this
  }

  get maxLength(): number {
    return (
      this.#constant.length + CONTENT_LENGTH.length + 1 + MAX_LENGTH_DIGITS + CACHE_CONTROL.length + 1 + MAX_AGE.length + MAX_TTL_DIGITS
    )
  }

  write(bytes: Buffer, at: number): number {
    bytes.set(this.#constant, at)
    at = put(bytes, at + this.#constant.length, CONTENT_LENGTH)
    at = putDigits(bytes, at + 1, this.#length, at)
    at = put(bytes, at, CACHE_CONTROL)
    const value = put(bytes, at + 1, this.#freshness > 0 ? MAX_AGE : NO_STORE)
    if (this.#freshness > 0) return putDigits(bytes, value, this.#freshness, at)
    bytes[at] = NO_STORE.length
    return value
  }

  #encode(now: string): void {
    const fields: readonly Field[] = [[':status', '200'], ['date', now], ['content-type', MEDIA_TYPE], ...this.extra]
    const block = Buffer.alloc(maxFieldsLength(fields))
    this.#constant = block.subarray(0, putFields(block, 0, fields))
    this.#date = now
  }
}

/** A loop is quicker than a call for so few octets. */
function put(bytes: Buffer, at: number, what: Buffer): number {
  for (let i = 0; i < what.length; i++) bytes[at + i] = what[i] as number
  return at + what.length
}

/** Writes a number, and at `lengthAt` the length of the value that it ends; the offset behind it. */
function putDigits(bytes: Buffer, at: number, value: number, lengthAt: number): number {
  let end = at + 1
  for (let rest = value; rest >= 10; rest = (rest / 10) | 0) end++
  bytes[lengthAt] = end - lengthAt - 1
  for (let i = end - 1, rest = value; i >= at; i--, rest = (rest / 10) | 0) bytes[i] = ZERO + (rest % 10)
  return end
}

function literal(name: string): Buffer {
  const fields: readonly Field[] = [[name, '-']]
  const block = Buffer.alloc(maxFieldsLength(fields))
  // without the value and its length
  return block.subarray(0, putFields(block, 0, fields) - 2)
}
