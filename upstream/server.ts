import type { Service, Upstream, UpstreamMeter, UpstreamSink } from '../dns/contracts.ts'
import type { Query } from '../dns/query.ts'
import type { Endpoint } from '../net/address.ts'
import type { Clock } from '../net/clock.ts'
import type { Flusher } from '../net/flusher.ts'
import type { QuicEngine } from '../net/quic.ts'
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
  /** Made when it is first needed; null: this machine has none. */
  readonly quic: () => QuicEngine | null
}

/** How connections to one server are made and used. */
export interface ConnectionTerms {
  /** How long one may take to be established, milliseconds. */
  readonly connectMs: number
  /** Open at a time: this thread's share of what the upstream may have, at least 1. */
  readonly connections: number
  /** Questions on their way on one before another is opened (RFC 7766 §6.2.1.1); beyond `connections`, the least busy takes more. */
  readonly pipelining: number
  /** After this it takes no more questions, another one takes its place, milliseconds. */
  readonly maxAgeMs: number
  /** RFC 7766 §6.2.3: closed when it was idle for so long, milliseconds; what a server announces by RFC 7828 counts instead. */
  readonly idleMs: number
  /** The address of this machine to ask from; null: as the system chooses. */
  readonly source: string | null
  /** A SOCKS5 proxy (RFC 1928) in between, for TCP; null: none. */
  readonly socks: Endpoint | null
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

/** Whether `query` may be sent once more on behalf of `sink`; it counts as a send. */
export function mayRepeat(query: Query, sink: UpstreamSink): boolean {
  return sink.mayRepeat === undefined || sink.mayRepeat(query)
}
