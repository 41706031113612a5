import { putU16 } from './bytes.ts'
import { EdnsOption, OPT_LENGTH, OPTION_HEADER_LENGTH, putOpt, putOptionHeader, setOptLength } from './edns.ts'
import { Flag, HEADER_LENGTH } from './header.ts'
import { MAX_NAME_LENGTH } from './name.ts'

/** RFC 8467 §4.1: clients pad to the next multiple of this. */
const PADDING_BLOCK = 128
/** TYPE and CLASS. */
const QUESTION_TAIL = 4

/** What to ask and how. */
export interface QueryFacts {
  readonly id: number
  /** Wire form, uncompressed. */
  readonly name: Uint8Array
  readonly type: number
  readonly class: number
  readonly recursionDesired: boolean
  readonly checkingDisabled: boolean
  /** Null: no OPT record. */
  readonly edns: EdnsChoice | null
}

export interface EdnsChoice {
  readonly udpSize: number
  readonly dnssecOk: boolean
  readonly padding: boolean
}

/** The message that asks, in wire format. */
export function buildQuery(facts: QueryFacts): Uint8Array<ArrayBuffer> {
  const wire = new Uint8Array(HEADER_LENGTH + MAX_NAME_LENGTH + QUESTION_TAIL + OPT_LENGTH + PADDING_BLOCK + OPTION_HEADER_LENGTH)
  putU16(wire, 0, facts.id)
  putU16(wire, 2, (facts.recursionDesired ? Flag.RD : 0) | (facts.checkingDisabled ? Flag.CD : 0))
  putU16(wire, 4, 1)
  wire.set(facts.name, HEADER_LENGTH)
  const nameEnd = HEADER_LENGTH + facts.name.length
  putU16(wire, nameEnd, facts.type)
  putU16(wire, nameEnd + 2, facts.class)
  const end = nameEnd + QUESTION_TAIL
  return wire.slice(0, facts.edns === null ? end : putEdns(wire, end, facts.edns))
}

function putEdns(wire: Uint8Array, optAt: number, edns: EdnsChoice): number {
  putU16(wire, 10, 1)
  let at = putOpt(wire, optAt, { extendedRcode: 0, dnssecOk: edns.dnssecOk })
  // the size stands where other records have their class (RFC 6891 §6.1.2)
  putU16(wire, optAt + 3, edns.udpSize)
  if (edns.padding) {
    const used = at + OPTION_HEADER_LENGTH
    const padded = Math.ceil(used / PADDING_BLOCK) * PADDING_BLOCK
    putOptionHeader(wire, at, EdnsOption.PADDING, padded - used)
    at = padded
  }
  setOptLength(wire, optAt, at)
  return at
}
