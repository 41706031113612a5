import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { inChild } from '../child.ts'
import type { LatencyPlan } from '../load/latency-child.ts'
import { now, PATIENCE_MS } from '../load/ledger.ts'
import type { LoadFigures } from '../load/scheduled-load.ts'
import { type Window, windowOf } from '../load/window.ts'
import { type Place, type Server, startGateway } from '../servers/server.ts'
import type { Fault, Strategy } from './cases.ts'
import { Faulty } from './faulty.ts'

const LOAD_SCRIPT = new URL('../load/latency-child.ts', import.meta.url)
const SECOND = 1000
const PORT = 28_296
export const UPSTREAMS = 3
/** A little less than the shortest time after which another upstream is asked. */
export const WAITED_MS = 140
/** What the strategy does is measured, not the limits: all that a client has asked may wait as long as it is patient. */
const LIMITS = { connectionsPerClient: 100, inFlightPerClient: 20_000, idle: { stream: '10m' } }

export interface TailLoad {
  /** Questions a second, for names of their own. */
  readonly rate: number
  readonly connections: number
  readonly seconds: number
}

export interface TailFigures {
  /** Of the time that counts: after the first second, where an upstream dies after the first second from then. */
  readonly window: Window
  /** Of all questions of the run. */
  readonly lost: number
  /** The share of all questions that waited for as long as it takes to ask elsewhere. */
  readonly waited: number
  /** How many questions the upstreams were asked for each of the clients. */
  readonly asked: number
}

/** One run: upstreams and a gateway that have just been started, and a load. */
export async function runTail(
  place: Place,
  { fault, strategy }: { fault: Fault; strategy: Strategy },
  load: TailLoad,
): Promise<TailFigures> {
  const folder = mkdtempSync(join(place.folder, 'run-'))
  const upstreams: Faulty[] = []
  let gateway: Server | null = null
  try {
    for (let i = 0; i < UPSTREAMS; i++) upstreams.push(await Faulty.start({ ...place, kind: fault.kind }))
    if (fault.from === 'start') await upstreams[0]?.behave(fault.behaviour)
    gateway = await startForwarder({ ...place, folder }, upstreams, strategy)
    return await measure(gateway.port, upstreams, { fault, load })
  } finally {
    await gateway?.stop()
    for (const upstream of upstreams) await upstream.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

function startForwarder(place: Place, upstreams: readonly Faulty[], strategy: Strategy): Promise<Server> {
  const entries = upstreams.map(({ kind, port }, i) => {
    const entry = { name: `u${i}`, url: `${kind}://127.0.0.1:${port}` }
    return kind === 'tls' ? { ...entry, ca: place.certificate } : entry
  })
  const settings = { cache: { memory: 0 }, strategy, upstreams: entries, limits: LIMITS }
  const form = { kind: 'dot', port: PORT, connectionsPerClient: LIMITS.connectionsPerClient, settings } as const
  return startGateway(form, { ...place, upstream: { url: entries[0]?.url ?? '' } })
}

async function measure(
  port: number,
  upstreams: readonly Faulty[],
  { fault, load }: { fault: Fault; load: TailLoad },
): Promise<TailFigures> {
  const { rate, connections, seconds } = load
  // until the process of the load has started and is connected
  const startAt = now() + SECOND
  const faultAt = fault.from === 'middle' ? Math.floor((seconds * SECOND) / 3) : 0
  if (fault.from !== 'start') await upstreams[0]?.behave(fault.behaviour, startAt + faultAt)
  const schedule = { rate, connections, startAt, durationMs: SECOND * seconds, warmUpMs: 0, names: rate * seconds }
  const { latencies } = await inChild<LatencyPlan, LoadFigures>(LOAD_SCRIPT, { ...schedule, kind: 'dot', port })
  const asked = await Promise.all(upstreams.map((upstream) => upstream.questions()))
  return {
    window: windowOf(latencies.slice(Math.ceil(((faultAt + SECOND) * rate) / SECOND))),
    lost: latencies.filter((latency) => latency >= PATIENCE_MS).length,
    waited: latencies.filter((latency) => latency >= WAITED_MS).length / latencies.length,
    asked: asked.reduce((sum, count) => sum + count, 0) / latencies.length,
  }
}
