import { LOAD_TRANSPORTS, type LoadFigures, type LoadTransport, PATIENCE_MS, SHARES } from './plan.ts'

const SECOND = 1000

/** The load of all transports: each in a process of its own. */
export type Loads = Readonly<Record<LoadTransport, LoadFigures>>

/** A part of the time, by when its questions were due. Milliseconds. */
export interface Window {
  readonly asked: number
  readonly lost: number
  readonly p50: number
  readonly p99: number
}

/** Windows of `lengthMs` one after the other; `rate`: of all transports together. */
export function windowsOf(
  loads: Loads,
  { rate, lengthMs, durationMs }: { rate: number; lengthMs: number; durationMs: number },
): readonly Window[] {
  return Array.from({ length: durationMs / lengthMs }, (_, i) => {
    const at = (transport: LoadTransport, window: number): number => Math.round((window * lengthMs * rate * SHARES[transport]) / SECOND)
    return windowOf(LOAD_TRANSPORTS.flatMap((each) => loads[each].latencies.slice(at(each, i), at(each, i + 1))))
  })
}

export function windowOf(latencies: readonly number[]): Window {
  const sorted = Float64Array.from(latencies).toSorted()
  const at = (share: number): number => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN
  const lost = sorted.reduce((sum, latency) => sum + (latency >= PATIENCE_MS ? 1 : 0), 0)
  return { asked: sorted.length, lost, p50: at(0.5), p99: at(0.99) }
}
