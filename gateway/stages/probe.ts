import type { Answer } from '../../dns/answer.ts'
import { u8 } from '../../dns/bytes.ts'
import { type Stage, Verdict } from '../../dns/contracts.ts'
import { HEADER_LENGTH } from '../../dns/header.ts'
import { localAnswer, OWNER, QUESTION_TAIL, recordOf } from '../../dns/local-answer.ts'
import { lower } from '../../dns/name.ts'
import type { Query } from '../../dns/query.ts'
import { parseNameText } from '../../dns/text-name.ts'
import { Rcode, Type } from '../../dns/types.ts'

const TOKEN = /^[0-9a-f]{32}$/i
/** What follows the token. */
export const PROBE_ZONE = 'probe.invalid'

/** The name that the self-probe asks for, in wire form and lower case. */
export function probeName(token: string): Uint8Array {
  const name = TOKEN.test(token) ? parseNameText(`${token.toLowerCase()}.${PROBE_ZONE}`) : null
  if (name === null)
    throw new RangeError(`Cannot make the name of the self-probe: expected 32 hexadecimal digits: received ${token.length} characters`)
  return name
}

/**
 * Answers the self-probe (docs/self-probe.md) with the index of this worker. Who does not know the token gets what any other name
 * below "invalid" gets, a denial.
 */
export class ProbeStage implements Stage {
  readonly name = 'probe'
  readonly #qname: Uint8Array
  readonly #answer: Answer

  constructor({ token, worker }: { readonly token: string; readonly worker: number }) {
    const text = Buffer.from(String(worker))
    this.#qname = probeName(token)
    // TTL 0, and no freshness: every probe is to come here
    const records = recordOf(OWNER, Type.TXT, 0, [text.length, ...text])
    this.#answer = localAnswer({ rcode: Rcode.NOERROR, records, answers: 1, freshness: 0 })
  }

  onQuery(query: Query): Verdict {
    if (query.qtype !== Type.TXT || !this.#isProbe(query)) return Verdict.NEXT
    query.answer = this.#answer
    return Verdict.ANSWERED
  }

  #isProbe({ wire, questionEnd }: Query): boolean {
    const qname = this.#qname
    if (questionEnd - HEADER_LENGTH - QUESTION_TAIL !== qname.length) return false
    // all of it, so that the time it takes does not tell how much of a guess is right
    let difference = 0
    for (let i = 0; i < qname.length; i++) difference |= lower(u8(wire, HEADER_LENGTH + i)) ^ u8(qname, i)
    return difference === 0
  }
}
