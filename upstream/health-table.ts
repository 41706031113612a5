import { FAILURES, type Failure } from '../dns/failure.ts'

/**
 * What is known of every way to an upstream server, in memory that all threads share: what one worker has found out spares the others the same. A row
 * is a few numbers of 32 bits. States are exchanged with compare-and-swap, so that a change has one author; averages are stored
 * plainly: of two threads that write at once one sample is lost, no more.
 */

/** Ways: upstreams × URLs × addresses of a name (knobs.ts, bootstrap), with room for those that are being replaced. */
export const HEALTH_ROWS = 4096
const FIELDS = 16

const Field = {
  STATE: 0,
  SINCE: 1,
  PROBE_AT: 2,
  MISSES: 3,
  REASON: 4,
  RTT: 5,
  P95: 6,
  LOSS: 7,
  RECOVERED: 8,
  NONCE: 9,
  LOOP_AT: 10,
} as const

export const HealthState = { UNKNOWN: 0, UP: 1, SUSPECT: 2, DOWN: 3, LOOP: 4 } as const
export type HealthState = (typeof HealthState)[keyof typeof HealthState]

/** Times are kept in ticks of 100 ms: 32 bits of them are six years. */
const TICK_MS = 100
const MICROS_PER_MS = 1000
const LOSS_ONE = 65_536

/** RFC 6298 §2: weight of a new sample. */
const RTT_GAIN = 1 / 8
/** How far an estimate of the 95th percentile moves with each sample, as a share of itself: upwards nineteen times as far as downwards. */
const P95_STEP = 0.1
/** Of the last thirty questions or so. */
const LOSS_GAIN = 1 / 32

export function allocateHealth(): SharedArrayBuffer {
  return new SharedArrayBuffer(HEALTH_ROWS * FIELDS * Int32Array.BYTES_PER_ELEMENT)
}

/** One row. */
export class HealthRow {
  readonly #cells: Int32Array
  readonly #at: number

  constructor(memory: SharedArrayBuffer, row: number) {
    this.#cells = new Int32Array(memory)
    this.#at = row * FIELDS
  }

  get state(): HealthState {
    return Atomics.load(this.#cells, this.#at + Field.STATE) as HealthState
  }

  /** Milliseconds of the clock of all threads. */
  get since(): number {
    return this.#get(Field.SINCE) * TICK_MS
  }

  get probeAt(): number {
    return this.#get(Field.PROBE_AT) * TICK_MS
  }

  /** Probes that were not answered, one after the other. */
  get misses(): number {
    return this.#get(Field.MISSES)
  }

  /** Why it is not asked; null: nothing was wrong yet. */
  get reason(): Failure | null {
    return FAILURES[this.#get(Field.REASON) - 1] ?? null
  }

  /** When it came back after it had been down, milliseconds; 0: it never was. */
  get recoveredAt(): number {
    return this.#get(Field.RECOVERED) * TICK_MS
  }

  get rttMs(): number {
    return orUnknown(this.#get(Field.RTT))
  }

  get p95Ms(): number {
    return orUnknown(this.#get(Field.P95))
  }

  /** Share of the questions that got no answer, 0 to 1. */
  get loss(): number {
    return this.#get(Field.LOSS) / LOSS_ONE
  }

  /** What the question that looks for a loop carries; 0: none was sent. */
  get nonce(): number {
    return this.#get(Field.NONCE)
  }

  set nonce(nonce: number) {
    this.#set(Field.NONCE, nonce)
  }

  /** False: another thread was quicker, or it is in another state. */
  change(from: HealthState, to: HealthState, now: number): boolean {
    if (Atomics.compareExchange(this.#cells, this.#at + Field.STATE, from, to) !== from) return false
    this.#set(Field.SINCE, ticks(now))
    return true
  }

  /** The one thread that gets true sends the probe that is due; the next is at `next`. */
  claimProbe(now: number, next: number): boolean {
    return this.#claim(Field.PROBE_AT, now, next)
  }

  probeAgain(at: number): void {
    this.#set(Field.PROBE_AT, ticks(at))
  }

  /** The one thread that gets true sends the question that looks for a loop; the next is due at `next`. */
  claimLoopQuestion(now: number, next: number): boolean {
    return this.#claim(Field.LOOP_AT, now, next)
  }

  /** The last one was lost. */
  loopQuestionAgain(at: number): void {
    this.#set(Field.LOOP_AT, ticks(at))
  }

  /** Counts one more; how many there are now. */
  miss(): number {
    return Atomics.add(this.#cells, this.#at + Field.MISSES, 1) + 1
  }

  forgetMisses(): void {
    this.#set(Field.MISSES, 0)
  }

  blame(failure: Failure): void {
    this.#set(Field.REASON, failure.index + 1)
  }

  recovered(now: number): void {
    this.#set(Field.RECOVERED, ticks(now))
  }

  answered(ms: number): void {
    const sample = Math.max(1, Math.min(ms * MICROS_PER_MS, 0x7fff_ffff))
    const rtt = this.#get(Field.RTT)
    const p95 = this.#get(Field.P95)
    this.#set(Field.RTT, rtt === 0 ? sample : rtt + RTT_GAIN * (sample - rtt))
    this.#set(Field.P95, p95 === 0 ? 2 * sample : Math.max(1, p95 * (sample > p95 ? 1 + P95_STEP * 0.95 : 1 - P95_STEP * 0.05)))
    const loss = this.#get(Field.LOSS)
    if (loss !== 0) this.#set(Field.LOSS, Math.floor(loss * (1 - LOSS_GAIN)))
  }

  lost(): void {
    const loss = this.#get(Field.LOSS)
    this.#set(Field.LOSS, loss + LOSS_GAIN * (LOSS_ONE - loss))
  }

  /** For another server. */
  clear(): void {
    for (let i = 0; i < FIELDS; i++) Atomics.store(this.#cells, this.#at + i, 0)
  }

  #claim(field: number, now: number, next: number): boolean {
    const due = this.#get(field)
    if (ticks(now) < due) return false
    return Atomics.compareExchange(this.#cells, this.#at + field, due, Math.max(ticks(next), due + 1)) === due
  }

  #get(field: number): number {
    return this.#cells[this.#at + field] as number
  }

  #set(field: number, value: number): void {
    this.#cells[this.#at + field] = value
  }
}

/** The question with this nonce has come back to us: the row whose it is, or null where there is none. */
export function rowOfNonce(memory: SharedArrayBuffer, nonce: number): HealthRow | null {
  if (nonce === 0) return null
  const cells = new Int32Array(memory)
  for (let row = 0; row < HEALTH_ROWS; row++) if (cells[row * FIELDS + Field.NONCE] === nonce) return new HealthRow(memory, row)
  return null
}

function ticks(ms: number): number {
  return Math.floor(ms / TICK_MS)
}

function orUnknown(micros: number): number {
  return micros === 0 ? Number.NaN : micros / MICROS_PER_MS
}
