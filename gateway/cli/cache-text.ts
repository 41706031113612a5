import type { CacheStatus } from '../admin/control.ts'
import { count, counted, octets, percent } from './quantities.ts'

/** "12.3 MiB of 64.0 MiB (19.2 %), 1,200 entries" */
export function cacheUse({ entries, bytesUsed, bytes }: CacheStatus): string {
  return `${octets(bytesUsed)} of ${octets(bytes)} (${percent(bytesUsed / bytes)}), ${counted(entries, 'entry', 'entries')}`
}

export function cacheText(cache: CacheStatus): string {
  const { evictions, prefetches, coalesced } = cache
  return `${cacheUse(cache)}; ${count(evictions)} evicted, ${count(prefetches)} prefetched, ${count(coalesced)} coalesced`
}
