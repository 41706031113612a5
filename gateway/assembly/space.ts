import { createHash } from 'node:crypto'
import { formatUpstreamUrl } from '../config/addresses.ts'
import type { UpstreamTarget } from './upstreams.ts'

/**
 * A number for everything besides the question that makes answers differ: which servers are asked, and how they are known.
 * Other servers may see another network; what they said is not said on their behalf. The same in every thread and at every start.
 */
export function spaceOf(targets: readonly UpstreamTarget[]): number {
  // not what the operator calls a server, nor how connections to it are used; the roots stand for their file
  const servers = targets.map(({ server: { urls, serverName, pins }, roots }) => [urls.map(formatUpstreamUrl), serverName, pins, roots])
  return createHash('sha256').update(JSON.stringify(servers)).digest().readInt32LE()
}
