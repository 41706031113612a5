import type { ProbeStatus } from '../admin/control.ts'
import type { ProbeOutcome } from './outcome.ts'
import type { ProbeTarget } from './target.ts'

/** Of N workers with one stuck socket only every Nth probe fails, and the next one succeeds: so many of these are no accident … */
const SLIPS = 3
/** … within so many rounds. */
const SLIP_ROUNDS = 10

/** What is known of one target. */
export class TargetHealth {
  target: ProbeTarget
  #status: ProbeStatus
  /** The rounds in which a probe failed and its repetition did not. */
  #slips: readonly number[] = []

  constructor(target: ProbeTarget) {
    this.target = target
    this.#status = { transport: target.transport, outcome: 'pending', reason: null, at: null, seconds: null, rebinds: 0 }
  }

  get status(): ProbeStatus {
    return this.#status
  }

  /** `slipped`: it is the outcome of a repetition. True: the outcome is another one than before. */
  record(outcome: ProbeOutcome, { at, round, slipped }: { at: number; round: number; slipped: boolean }): boolean {
    const before = this.#status
    this.#status = {
      ...before,
      outcome: outcome.outcome,
      reason: outcome.outcome === 'ok' ? null : outcome.reason,
      at: new Date(at).toISOString(),
      seconds: outcome.outcome === 'ok' ? outcome.seconds : before.seconds,
    }
    this.#slips = this.#slips.filter((slip) => slip > round - SLIP_ROUNDS)
    if (slipped && outcome.outcome === 'ok') this.#slips = [...this.#slips, round]
    return outcome.outcome !== before.outcome
  }

  /** Whether some worker may not hear what is sent to it. */
  get isSuspect(): boolean {
    return this.#status.outcome === 'failed' || this.#slips.length >= SLIPS
  }

  /** The workers have been looked at one by one: from now on it counts anew. */
  looked(): void {
    this.#slips = []
  }

  rebound(): void {
    this.#status = { ...this.#status, rebinds: this.#status.rebinds + 1 }
  }
}
