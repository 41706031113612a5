import type { Upstream, UpstreamMeter } from '../dns/contracts.ts'
import type { Clock } from '../net/clock.ts'
import type { Flusher } from '../net/flusher.ts'
import type { Wheel } from '../net/wheel.ts'

/** One server that can be asked over one kind of transport. */
export interface UpstreamServer extends Upstream<never> {
  /** Smoothed round-trip time, milliseconds; NaN while unknown. */
  readonly rtt: number
  /** How often one question may be sent to it: at most 3 (RFC 9520 §3.1), 1 where the transport itself repeats. */
  readonly maxSends: number
}

export interface UpstreamDependencies {
  readonly clock: Clock
  readonly wheel: Wheel
  readonly flusher: Flusher
  readonly meter: UpstreamMeter
}

/** RFC 6298 §2: weight of a new sample in the smoothed round-trip time. */
const GAIN = 1 / 8

export function smooth(rtt: number, sample: number): number {
  return Number.isNaN(rtt) ? sample : rtt + GAIN * (sample - rtt)
}
