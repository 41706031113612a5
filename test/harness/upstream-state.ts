import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { AdminClient } from '../../gateway/admin/client.ts'
import type { UpstreamStatus } from '../../gateway/admin/control.ts'
import type { TestGateway } from './gateway.ts'

/** How long a change may take on a machine that has much else to do. */
const PATIENCE_MS = 30_000
const BETWEEN_LOOKS_MS = 20

/** What the admin door says of the upstream `name`. */
export async function upstreamStatus({ state }: TestGateway, name: string): Promise<UpstreamStatus> {
  const all = await new AdminClient(join(state, 'admin.sock')).get<readonly UpstreamStatus[]>('/v1/upstreams')
  const found = all.find((each) => each.name === name)
  if (found === undefined) throw new RangeError(`Cannot find the upstream: received ${name}`)
  return found
}

/** Looks again and again until the admin door says so of the upstream; what it said then. */
export async function untilStatus(gateway: TestGateway, name: string, holds: (now: UpstreamStatus) => boolean): Promise<UpstreamStatus> {
  const end = performance.now() + PATIENCE_MS
  for (;;) {
    const now = await upstreamStatus(gateway, name)
    if (holds(now)) return now
    if (performance.now() > end) throw new Error(`Cannot wait longer: expected: ${holds}: received ${JSON.stringify(now)}`)
    await pause(BETWEEN_LOOKS_MS)
  }
}
