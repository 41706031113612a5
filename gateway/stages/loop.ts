import { createHash } from 'node:crypto'
import { u8 } from '../../dns/bytes.ts'
import { type Stage, Verdict } from '../../dns/contracts.ts'
import { Failure } from '../../dns/failure.ts'
import { HEADER_LENGTH } from '../../dns/header.ts'
import { lower } from '../../dns/name.ts'
import { loopQuestion } from '../../dns/own-question.ts'
import type { Query } from '../../dns/query.ts'

/** Octets of the first label, the nonce in hexadecimal, with its length. */
const NONCE_LABEL = 9

/** The last label of the names by which this gateway recognizes its own questions; it says nothing of the token. */
export function loopLabel(token: string): string {
  return createHash('sha256').update(`loop ${token}`).digest('hex').slice(0, 32)
}

/** Hears of a question of our own that has come back. */
export interface LoopObserver {
  returned(nonce: number): void
}

/** Recognizes the questions that upstreams are sent to find out whether they lead back here (upstream/health-prober.ts). */
export class LoopStage implements Stage {
  readonly name = 'loop'
  readonly #pattern: Uint8Array
  readonly #observer: LoopObserver

  constructor(label: string, observer: LoopObserver) {
    this.#pattern = loopQuestion(0, label).subarray(HEADER_LENGTH)
    this.#observer = observer
  }

  onQuery(query: Query): Verdict {
    if (query.questionEnd - HEADER_LENGTH !== this.#pattern.length || !this.#isOurs(query)) return Verdict.NEXT
    const digits = Buffer.from(query.wire.subarray(HEADER_LENGTH + 1, HEADER_LENGTH + NONCE_LABEL)).toString('latin1')
    this.#observer.returned(Number.parseInt(digits, 16) || 0)
    query.failure = Failure.upstream_loop
    return Verdict.FAILED
  }

  #isOurs({ wire }: Query): boolean {
    for (let i = 0; i < this.#pattern.length; i++) {
      const isNonce = i > 0 && i < NONCE_LABEL
      if (!isNonce && lower(u8(wire, HEADER_LENGTH + i)) !== u8(this.#pattern, i)) return false
    }
    return true
  }
}
