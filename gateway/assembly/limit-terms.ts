import { PrefixSet } from '../../net/address.ts'
import type { ConcurrencyTerms } from '../../net/concurrency-limit.ts'
import type { Rate } from '../../net/rate-limit.ts'
import type { HandshakeTerms } from '../../transports/governor.ts'
import type { Config } from '../config/config.ts'
import type { OverloadTerms } from '../overload.ts'
import type { LimitTerms } from '../stages/limit.ts'

/** A page of many names, or the start of a browser, is no flood. */
const QUERY_BURST_MS = 10_000
/** What is sent to an address that may be forged comes at most in such a gust. */
const UDP_BURST_MS = 1000
/** Phones behind one address come back all at once when their network does. */
const HANDSHAKE_BURST_MS = 10_000

export function limitTerms({ limits: { queriesPerSecond, exempt, udp } }: Config): LimitTerms {
  return {
    queries: { rate: rateOf(queriesPerSecond, QUERY_BURST_MS), exempt: new PrefixSet(exempt) },
    udp: { rate: rateOf(udp.perSecond, UDP_BURST_MS), slip: udp.slip, exempt: new PrefixSet(udp.exempt) },
  }
}

export function handshakeTerms({ limits: { handshakesPerSecond, exempt } }: Config): HandshakeTerms {
  return { rate: rateOf(handshakesPerSecond, HANDSHAKE_BURST_MS), exempt: new PrefixSet(exempt) }
}

export function connectionTerms({ limits }: Config): ConcurrencyTerms {
  return { perClient: limits.connectionsPerClient, total: limits.connections }
}

/** How many may wait in all, each thread decides for itself. */
export function inFlightTerms({ limits }: Config): ConcurrencyTerms {
  return { perClient: limits.inFlightPerClient, total: Number.POSITIVE_INFINITY }
}

export function overloadTerms({ limits, workers, doh }: Config): OverloadTerms {
  return { memory: limits.memory, threads: workers, exempt: new PrefixSet(doh.trustedProxies) }
}

/** 0: no limit. */
function rateOf(perSecond: number, burstMs: number): Rate | null {
  return perSecond === 0 ? null : { perSecond, burstMs }
}
