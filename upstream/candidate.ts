import type { Failure } from '../dns/failure.ts'
import type { UpstreamServer } from './server.ts'

/** How good a choice a server is at the moment; whoever can, takes a better one. */
export const Grade = {
  GOOD: 0,
  /** It loses questions, is new, or has just come back. */
  POOR: 1,
  /** It seems not to answer: that is being found out. */
  DOUBTFUL: 2,
  /** It does not answer. */
  DOWN: 3,
  /** It leads back to us: not asked at all. */
  LOOP: 4,
} as const
export type Grade = (typeof Grade)[keyof typeof Grade]

/** Watches one server by what becomes of the questions that it is sent. */
export interface Watch {
  grade(now: number): Grade
  /** Smoothed round-trip time, milliseconds; NaN while unknown. */
  readonly rttMs: number
  /** What nineteen of twenty answers are quicker than, milliseconds; NaN while unknown. */
  readonly p95Ms: number
  /** Whether it is not asked because its certificate was not accepted. */
  readonly isRefused: boolean
  sent(now: number): void
  answered(sentAt: number, now: number): void
  failed(failure: Failure, sentAt: number, now: number): void
  /** No answer yet to what was sent then, and another server is asked besides. */
  late(sentAt: number, now: number): void
}

/** One of the servers that a question may be sent to. */
export interface Candidate {
  readonly server: UpstreamServer
  readonly watch: Watch
  /** Its share beside others (strategy `weighted`), at least 1. */
  readonly weight: number
  /** A number for the server that is the same wherever it stands in a list (strategy `hash`). */
  readonly key: number
  /** Whether it proves who it is before it is asked anything. */
  readonly isAuthenticated: boolean
}
