import type { Service, Upstream, UpstreamMeter } from '../dns/contracts.ts'
import type { Clock } from '../net/clock.ts'
import type { Flusher } from '../net/flusher.ts'
import type { Wheel } from '../net/wheel.ts'

/** One server that can be asked over one kind of transport. It is never reconfigured: another one takes its place. */
export interface UpstreamServer extends Upstream, Service {
  /** Smoothed round-trip time, milliseconds; NaN while unknown. */
  readonly rtt: number
  /** Whether a question that got no answer yet may be sent again: on datagrams; a stream repeats what is lost by itself. */
  readonly isLossy: boolean
}

export interface UpstreamDependencies {
  readonly clock: Clock
  readonly wheel: Wheel
  readonly flusher: Flusher
  readonly meter: UpstreamMeter
  readonly trust: TrustObserver
}

/** Hears when the certificate of a server ceases to be accepted, and when it is again: of the change, not of every connection. */
export interface TrustObserver {
  /** `reason`: for the operator, as TLS has it. It may repeat text of the server's certificate. */
  refused(reason: string): void
  accepted(): void
}

/** RFC 6298 §2: weight of a new sample in the smoothed round-trip time. */
const GAIN = 1 / 8

export function smooth(rtt: number, sample: number): number {
  return Number.isNaN(rtt) ? sample : rtt + GAIN * (sample - rtt)
}
