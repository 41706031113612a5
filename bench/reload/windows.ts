import type { LoadFigures } from '../load/scheduled-load.ts'
import { type Window, windowOf } from '../load/window.ts'
import { LOAD_TRANSPORTS, type LoadTransport, SHARES } from './plan.ts'

const SECOND = 1000

/** The load of all transports: each in a process of its own. */
export type Loads = Readonly<Record<LoadTransport, LoadFigures>>

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
