import { putU16 } from '../dns/bytes.ts'
import { OPT_LENGTH } from '../dns/edns.ts'
import { madeUpNames } from './names.ts'
import { questionOf } from './traffic.ts'

export const NAMES = 10_000
/** ARCOUNT (RFC 1035 §4.1.1). */
const ADDITIONAL_COUNT = 10

export interface QuestionForm {
  /** With an OPT record: the gateway then pads its answer (RFC 8467 §4.1). */
  readonly hasOpt: boolean
}

/** For `count` names, with id 0, as RFC 8484 §4.1 asks for. */
export function questions({ hasOpt }: QuestionForm, count = NAMES): readonly Buffer[] {
  return madeUpNames(count).map((name) => {
    const wire = questionOf(name)
    if (hasOpt) return wire
    putU16(wire, ADDITIONAL_COUNT, 0)
    return wire.subarray(0, -OPT_LENGTH)
  })
}
