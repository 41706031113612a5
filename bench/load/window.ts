import { PATIENCE_MS } from './ledger.ts'

/** A part of the time, by when its questions were due. Milliseconds. */
export interface Window {
  readonly asked: number
  readonly lost: number
  readonly p50: number
  readonly p99: number
  /** p99.9. */
  readonly p999: number
}

export function windowOf(latencies: readonly number[]): Window {
  const sorted = Float64Array.from(latencies).toSorted()
  const at = (share: number): number => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN
  const lost = sorted.reduce((sum, latency) => sum + (latency >= PATIENCE_MS ? 1 : 0), 0)
  return { asked: sorted.length, lost, p50: at(0.5), p99: at(0.99), p999: at(0.999) }
}
