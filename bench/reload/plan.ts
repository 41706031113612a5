export const LOAD_TRANSPORTS = ['dot', 'doh', 'doq'] as const
export type LoadTransport = (typeof LOAD_TRANSPORTS)[number]

/** Of all questions. */
export const SHARES: Readonly<Record<LoadTransport, number>> = { dot: 0.45, doh: 0.35, doq: 0.2 }
/** Enough that the kernel spreads them over the workers. */
export const CONNECTIONS: Readonly<Record<LoadTransport, number>> = { dot: 12, doh: 12, doq: 4 }

/** The load of one transport, as its process is told: milliseconds, the moment since the epoch. */
export interface LoadPlan {
  readonly transport: LoadTransport
  readonly port: number
  /** Questions a second. */
  readonly rate: number
  readonly startAt: number
  readonly durationMs: number
  /** How much of that does not count: code is compiled, connections have been made once. */
  readonly warmUpMs: number
  /** No other load of the same gateway and transport has the same: the new names are made of it. */
  readonly run: number
}
