import { reasonOf } from '../../dns/operational-error.ts'
import type { CacheMemory } from '../../gateway/cache/memory.ts'
import * as reader from '../../gateway/cache/snapshot-reader.ts'

/** Opens the memory and restores the snapshot, as a start of the gateway does. */
export function openCacheMemory(
  path: string | null,
  options: Omit<reader.OpenCacheOptions, 'owner'>,
): { memory: CacheMemory; restored: reader.Restored | null; refused: string | null } {
  const { memory, snapshot, refused } = reader.openCacheMemory(path, { owner: 1, ...options })
  if (snapshot === null) return { memory, restored: null, refused }
  try {
    return { memory, restored: snapshot.restore(), refused }
  } catch (error) {
    return { memory, restored: null, refused: reasonOf(error) }
  }
}
