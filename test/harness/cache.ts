import { Cache } from '../../gateway/cache/cache.ts'
import { type CacheMemory, createCacheMemory } from '../../gateway/cache/memory.ts'
import type { CacheMeter } from '../../gateway/cache/meter.ts'

export const NO_CACHE_METER: CacheMeter = {
  stored() {},
  evicted() {},
  coalesced() {},
  withheld() {},
  prefetched() {},
}

export interface TestCacheOptions {
  readonly bytes?: number
  /** Shared with another cache. */
  readonly memory?: CacheMemory
  readonly owner?: number
  readonly serveStaleMs?: number
  readonly prefetch?: boolean
  readonly meter?: CacheMeter
}

export const SECRET = Uint32Array.of(1, 2, 3, 4)

export function testMemory(bytes = 1_048_576): CacheMemory {
  return createCacheMemory({ bytes, secret: SECRET, clockOffset: 0 })
}

export function testCache(options: TestCacheOptions = {}): Cache {
  return new Cache(options.memory ?? testMemory(options.bytes), {
    owner: options.owner ?? 1,
    serveStaleMs: options.serveStaleMs ?? 86_400_000,
    prefetch: options.prefetch ?? true,
    meter: options.meter ?? NO_CACHE_METER,
  })
}
