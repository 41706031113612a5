import { AUDIENCE_BYTES } from './audience.ts'
import { LEASE_BYTES } from './leases.ts'
import { createTableMemory, type TableMemory } from './table.ts'

/** All that the threads share of the cache; it can be given to a worker as it is. */
export interface CacheMemory {
  readonly answers: TableMemory
  readonly failures: TableMemory
  readonly leases: SharedArrayBuffer
  /** See AudienceMap. */
  readonly audiences: SharedArrayBuffer
  /** Four random words: the key of the hash, the seed of the checksums. */
  readonly secret: Uint32Array
  /** Milliseconds to add to the clock: the table's time goes on where that of its snapshot ended. */
  readonly clockOffset: number
}

/** RFC 9520 §5: failures have their own, bounded room: this share of the whole, and no less than this. */
const FAILURE_SHARE = 1 / 32
const MIN_FAILURE_BYTES = 262_144

export interface CacheMemoryOptions {
  /** Octets in all; 0: no answers are kept, failures are. */
  readonly bytes: number
  readonly secret: Uint32Array
  readonly clockOffset: number
}

/** Memory of the system is taken as it is filled. */
export function createCacheMemory({ bytes, secret, clockOffset }: CacheMemoryOptions): CacheMemory {
  const failures = Math.max(bytes * FAILURE_SHARE, MIN_FAILURE_BYTES)
  return {
    answers: createTableMemory(Math.max(bytes - failures - LEASE_BYTES, 0)),
    failures: createTableMemory(failures),
    leases: new SharedArrayBuffer(LEASE_BYTES),
    audiences: new SharedArrayBuffer(AUDIENCE_BYTES),
    secret,
    clockOffset,
  }
}

/** What checksums of entries begin with. */
export function checksumSeed({ secret }: CacheMemory): number {
  return (secret[2] as number) ^ (secret[3] as number)
}
