import { createHash } from 'node:crypto'
import type { UpstreamTarget } from './upstreams.ts'

/**
 * A number for everything besides the question that makes answers differ: which servers are asked, and how they are known.
 * Other servers may see another network; what they said is not said on their behalf. The same in every thread and at every start.
 */
export function spaceOf(targets: readonly UpstreamTarget[]): number {
  const servers = targets.map(({ server: { name: _name, origin: _origin, ...server }, roots }) => ({ ...server, roots }))
  return createHash('sha256').update(JSON.stringify(servers)).digest().readInt32LE()
}
