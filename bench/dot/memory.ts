import { fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Context, type Outcome, type Part, type Row, skipped } from '../bench.ts'
import { hasDnsperf } from '../dnsperf.ts'
import { openFiles } from '../servers/programs.ts'
import { residentBytes } from '../servers/resident-bytes.ts'
import type { Server } from '../servers/server.ts'
import { Stage } from '../servers/stage.ts'
import { contenders, SERVERS, type ServerName } from './servers.ts'

const SCRIPT = new URL('./idle-child.ts', import.meta.url)
const COUNTS = [2000, 10_000]
const BAR_KB = 58
/** Until what the handshakes have left behind is collected. */
const SETTLE_MS = 15_000
const KB = 1000

export interface IdlePlan {
  readonly port: number
  readonly count: number
}

export const MEMORY: Part = {
  name: 'memory',
  title: 'Memory of an idle connection',
  method: [
    `Connections of TLS 1.3 that have asked one question and stay. What the process has resident ${SETTLE_MS / 1000} s after the last of them has come, less what it had before the first, for each. Every count with servers started anew; “core tls” is the least server on Node’s own tls.`,
  ],
  run,
}

async function run({ isQuick, progress }: Context): Promise<Outcome> {
  if (!hasDnsperf()) return skipped('dnsperf, which warms the servers up, is not installed')
  const rows: Row[] = []
  const notes: string[] = []
  for (const count of isQuick ? COUNTS.slice(0, 1) : COUNTS) {
    if (openFiles() < count + 500) {
      notes.push(`Left out: ${count} connections; a process may have ${openFiles()} open files.`)
      continue
    }
    progress(`${count.toLocaleString('en')} connections: starting the servers`)
    const stage = await Stage.set(contenders(SERVERS))
    try {
      const kilobytes = new Map<ServerName, number>()
      for (const [name, server] of stage.servers) {
        progress(`${count.toLocaleString('en')} connections: ${name}`)
        kilobytes.set(name, await idle(server, count))
      }
      const ours = kilobytes.get('ours') ?? Number.NaN
      const cells = [count.toLocaleString('en'), ...SERVERS.map((name) => kilobytes.get(name) ?? null)]
      rows.push({ cells, bar: { text: `≤ ${BAR_KB} kB`, isMet: ours <= BAR_KB } })
      if (notes.length === 0) notes.push(...stage.notes)
    } finally {
      await stage.strike()
    }
  }
  return { columns: COLUMNS, rows, notes }
}

/** Kilobytes that the server has grown by for each of `count` connections. */
async function idle({ port, pid }: Server, count: number): Promise<number> {
  const before = residentBytes(pid)
  const child = fork(SCRIPT, [JSON.stringify({ port, count } satisfies IdlePlan)])
  const exit = once(child, 'exit')
  await Promise.race([once(child, 'message'), exit.then(([code]) => Promise.reject(new Error(`Child process failed: exit code ${code}`)))])
  await sleep(SETTLE_MS)
  const after = residentBytes(pid)
  const last = once(child, 'message') as Promise<[{ ended: number }]>
  child.send('looked')
  const [{ ended }] = await last
  await exit
  if (ended > 0) throw new Error(`Cannot measure: ${ended} of ${count} connections were ended by the server`)
  return (after - before) / KB / count
}

const COLUMNS = [{ title: 'connections' }, ...SERVERS.map((name) => ({ title: `${name}, kB`, digits: 1 }))]
