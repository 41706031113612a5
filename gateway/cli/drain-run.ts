import { setTimeout as sleep } from 'node:timers/promises'
import { OperationalError } from '../../dns/operational-error.ts'
import type { AdminClient } from '../admin/client.ts'
import type { Status } from '../admin/control.ts'
import { controlClient } from './control-client.ts'
import type { DrainOptions } from './drain.ts'
import type { Output } from './output.ts'
import { parseTimeout } from './timeout.ts'

const POLL_MS = 100

/** Has the gateway end. Fails with ATLAS_ADMIN when it was to be waited for and is still there. */
export async function runDrain({ wait = false, timeout, ...options }: DrainOptions, output: Output): Promise<void> {
  const timeoutMs = parseTimeout(timeout)
  const client = controlClient(options)
  const before = await client.get<Status>('/v1/status')
  const answer = await client.post<unknown>('/v1/drain')
  if (wait) await waitForEnd(client, before, timeoutMs)
  if (options.json) return output.json(answer)
  output.lines([`process ${before.pid} ${wait ? 'has stopped' : 'drains: it answers what is open, then it ends'}`])
}

async function waitForEnd(client: AdminClient, { pid, startedAt }: Status, timeoutMs: number): Promise<void> {
  const deadline = performance.now() + timeoutMs
  while (performance.now() < deadline) {
    if (await hasEnded(client, startedAt, deadline)) return
    await sleep(POLL_MS)
  }
  throw new OperationalError(
    'ATLAS_ADMIN',
    `Cannot wait any longer: process ${pid} drains, and has not stopped within ${timeoutMs / 1000} s`,
  )
}

async function hasEnded(client: AdminClient, startedAt: string, deadline: number): Promise<boolean> {
  try {
    const timeoutMs = Math.max(1, Math.ceil(deadline - performance.now()))
    // a service manager may have started the next one already
    return (await client.get<Status>('/v1/status', { timeoutMs })).startedAt !== startedAt
  } catch (error) {
    const cause = error instanceof Error ? error.cause : null
    // without its socket, or with one that a crash left behind; anything else says that somebody is there, or nothing
    return cause instanceof Error && 'code' in cause && (cause.code === 'ENOENT' || cause.code === 'ECONNREFUSED')
  }
}
