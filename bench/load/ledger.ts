import { answerCount, Flag, flagsOf, HEADER_LENGTH } from '../../dns/header.ts'
import { Rcode } from '../../dns/types.ts'

const SECOND = 1000
/** What no answer came to in this long, milliseconds, is lost. */
export const PATIENCE_MS = 4000

/** The clock of all processes of the machine. */
export function now(): number {
  return performance.timeOrigin + performance.now()
}

/** When each question is due, and how long after that its answer came. */
export class Ledger {
  readonly #rate: number
  readonly #startAt: number
  /** NaN: open. */
  readonly #latencies: Float64Array
  #open: number

  constructor({ rate, startAt, count }: { rate: number; startAt: number; count: number }) {
    this.#rate = rate
    this.#startAt = startAt
    this.#latencies = new Float64Array(count).fill(Number.NaN)
    this.#open = count
  }

  get open(): number {
    return this.#open
  }

  dueAt(index: number): number {
    return this.#startAt + (index * SECOND) / this.#rate
  }

  settle(index: number, message: Uint8Array | null): void {
    if (!Number.isNaN(this.#latencies[index])) return
    this.#open--
    this.#latencies[index] = message !== null && isAnswer(message) ? Math.min(now() - this.dueAt(index), PATIENCE_MS) : PATIENCE_MS
  }

  /** Of the questions from `first` on; what is open is lost. */
  latenciesFrom(first: number): readonly number[] {
    return Array.from(this.#latencies.subarray(first), (latency) =>
      Number.isNaN(latency) ? PATIENCE_MS : Math.round(1000 * latency) / 1000,
    )
  }
}

/** Nobody asks for names that do not exist. */
function isAnswer(message: Uint8Array): boolean {
  return message.length >= HEADER_LENGTH && (flagsOf(message) & Flag.RCODE) === Rcode.NOERROR && answerCount(message) > 0
}
