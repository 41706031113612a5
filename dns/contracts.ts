import type { Answer } from './answer.ts'
import type { Failure } from './failure.ts'
import type { Query } from './query.ts'

/**
 * The contracts between the parts (docs/ARCHITECTURE.md). Implementations live in transports/, upstream/ and gateway/;
 * none of them imports another, gateway/gateway.ts joins them.
 */

/** What holds for every connection of one kind of transport. */
export interface TransportTraits {
  /** The `transport` label of the metrics. */
  readonly label: 'udp' | 'tcp' | 'dot' | 'doh1' | 'doh2' | 'doh3' | 'doq'
  /** Position among the transports, for counters. */
  readonly index: number
  /** TLS or QUIC: answers are padded (RFC 7830 §6 forbids it elsewhere), and `access.encrypted` decides who may ask. */
  readonly encrypted: boolean
  /** UDP: answers have a size limit and may be truncated. */
  readonly datagram: boolean
}

export const TRANSPORTS = Object.freeze({
  udp: Object.freeze({ label: 'udp', index: 0, encrypted: false, datagram: true }),
  tcp: Object.freeze({ label: 'tcp', index: 1, encrypted: false, datagram: false }),
  dot: Object.freeze({ label: 'dot', index: 2, encrypted: true, datagram: false }),
  doh1: Object.freeze({ label: 'doh1', index: 3, encrypted: true, datagram: false }),
  doh2: Object.freeze({ label: 'doh2', index: 4, encrypted: true, datagram: false }),
  doh3: Object.freeze({ label: 'doh3', index: 5, encrypted: true, datagram: false }),
  doq: Object.freeze({ label: 'doq', index: 6, encrypted: true, datagram: false }),
}) satisfies Record<string, TransportTraits>

/** Facts of one connection (of one datagram on UDP), shared by all its queries. */
export interface Client {
  readonly traits: TransportTraits
  /** Textual IP address, without zone; IPv4-mapped IPv6 is already IPv4. */
  readonly address: string
  /** The same as 16 octets, IPv4 in its mapped form (RFC 4291 §2.5.5.2). */
  readonly octets: Uint8Array
  readonly port: number
  /** Whose token or certificate it has shown; null: none. */
  readonly holder: Holder | null
  /** Why it may not ask; null: it may. */
  readonly refusal: Failure | null
  /** The idle timeout to announce by RFC 7828, in units of 100 ms; NO_KEEPALIVE where the option has no meaning; 0 while draining. */
  readonly keepalive: number
}

export const NO_KEEPALIVE = -1

/** Somebody whom the operator knows: by a token, or by a client certificate. */
export interface Holder {
  /** As the operator calls it, or the certificate does: 64 characters at most, no control characters. */
  readonly name: string
  /** 16 octets under which its use is counted, as that of others is under their addresses; of a token, and of a certificate's key, always the same. */
  readonly account: Uint8Array
  /** The id of the client CA that the certificate led to; null: it is a token. */
  readonly clientCa: string | null
}

/** What limits are counted under. */
export function accountOf({ holder, octets }: Pick<Client, 'holder' | 'octets'>): Uint8Array {
  return holder === null ? octets : holder.account
}

/** Where a query's answer goes. Implemented by transports; called by the pipeline only, exactly once per query. */
export interface ReplySink {
  /** Encodes `answer` before it returns; both arguments' bytes may be reused afterwards. */
  deliver(query: Query, answer: Answer): void
  /** No DNS message answers this (`failure.rcode` is NO_ANSWER): silence, close or an HTTP status, as the transport's RFC says. */
  refuse(query: Query, failure: Failure): void
}

/** What transports hand queries to. `query.wire` is borrowed for the length of the call. */
export interface QueryAcceptor {
  accept(query: Query): void
}

export const Verdict = {
  /** Go on with the next stage. */
  NEXT: 0,
  /** `query.answer` is set: deliver it. */
  ANSWERED: 1,
  /** The query copied what it needs; the stage will hand it back to the pipeline. */
  PARKED: 2,
  /** `query.failure` is set: answer with its RCODE, or refuse where it has none. */
  FAILED: 3,
} as const
export type Verdict = (typeof Verdict)[keyof typeof Verdict]

/** One step of the pipeline, synchronous. Decides, and may look at the answer on its way back. */
export interface Stage {
  readonly name: string
  onQuery?(query: Query): Verdict
  onAnswer?(query: Query, answer: Answer): void
}

/** Receives the outcome of one `Upstream.send`, exactly once. `answer`'s bytes are borrowed for the length of the call. */
export interface UpstreamSink {
  answered(query: Query, answer: Answer): void
  failed(query: Query, failure: Failure): void
  /**
   * Asked by a server that has to ask again in other words (without EDNS, with the cookie it was given): false when the question has been
   * sent often enough (RFC 9520 §3.1), or is settled. Absent: it may.
   */
  mayRepeat?(query: Query): boolean
}

/** A component with a life: every `drain` and `close` may be called in any state, any number of times. */
export interface Service {
  readonly name: string
  /** No new work; resolves when what is open has ended, at the latest after `deadlineMs`. */
  drain(deadlineMs: number): Promise<void>
  /** Ends at once; resolves when all sockets are closed. */
  close(): Promise<void>
}

/** Turns bytes into queries and answers into bytes. `Slice` is its part of the configuration. */
export interface Transport<Slice = unknown> extends Service {
  /**
   * Brings the transport to what `slice` says, from nothing at start; on an error everything is as it was before. Addresses that
   * are left out serve on until settle(), so that the former slice can be brought back without binding anything.
   */
  reconfigure(slice: Slice): Promise<void>
  /** The last reconfigure() is final: what it left out drains, and ends at the latest after `deadlineMs`. */
  settle(deadlineMs: number): Promise<void>
}

/** Something that can be asked. Never throws; calls its sink exactly once, at the latest at `query.deadline`. The query is parked. */
export interface Upstream {
  readonly name: string
  send(query: Query, sink: UpstreamSink): void
}

/** Whom a query is asked of. It lives as long as a query has it, whatever is configured meanwhile. */
export interface Route {
  /** A number for the servers: what they said is kept under it. */
  readonly space: number
  readonly upstream: Upstream
}

/** Counts what happens to connections. Implemented by telemetry, one per transport. */
export interface TransportMeter {
  connectionOpened(): void
  connectionClosed(): void
  handshake(outcome: 'ok' | 'failed', version: string, resumed: boolean): void
  dropped(failure: Failure): void
}

/** Counts what happens towards one upstream, probes apart from the questions of clients. Implemented by telemetry. */
export interface UpstreamMeter {
  sent(query: Query): void
  /** `answer` is used; SERVFAIL is a failure besides. */
  answered(query: Query, answer: Answer, rttMs: number): void
  failed(query: Query, failure: Failure): void
  /** A message that answers nothing that was asked. */
  ignored(): void
  connectionOpened(): void
  connectionClosed(): void
}
