import type { Stored } from './table.ts'

/** Counts what the cache does; what it answers is counted with the answers. Implemented by telemetry. */
export interface CacheMeter {
  stored(outcome: Stored): void
  /** Entries that went to make room for others. */
  evicted(entries: number): void
  /** A query waits for the answer to the same question of another. */
  coalesced(): void
  /** A question is asked without its network, because it is on its way for too many. */
  withheld(): void
  /** An answer is asked for again ahead of its end. */
  prefetched(): void
}
