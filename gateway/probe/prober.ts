import { setTimeout as sleep } from 'node:timers/promises'
import { type Clock, monotonicClock } from '../../net/clock.ts'
import type { ProbeStatus } from '../admin/control.ts'
import { silentWorkers } from './burst.ts'
import { TargetHealth } from './health.ts'
import type { Ask, ProbeOutcome } from './outcome.ts'
import { Patience } from './patience.ts'
import { type ProbeTarget, targetKey } from './target.ts'

/** From the end of one round to the next: as often as orchestrators ask for readiness; a round costs 110 ms of CPU (docs/self-probe.md). */
const ROUND_MS = 10_000
/** QUIC is asked every so many rounds: the library's client costs ten times as much as all of the others. */
const QUIC_ROUNDS = 3
/** How often workers may be asked one by one on one target. */
const BURST_MS = 60_000
/** How often the socket of a worker may be bound anew: its clients lose what the kernel had queued for them. */
const REBIND_MS = 60_000
const MAX_REBIND_MS = 600_000
/** Which worker serves QUIC (docs/ARCHITECTURE.md, threads). */
const QUIC_WORKER = 0

export interface ProberOptions {
  readonly ask: Ask
  readonly workers: number
  /** False while a worker is being replaced, or shows no beat: then its sockets are not to blame. */
  readonly isServing: (worker: number) => boolean
  /** Whether the access list admits this machine: on UDP, others get no answer. */
  readonly isAdmitted: (target: ProbeTarget) => boolean
  /** Has a worker bind an address anew. Whether it did shows in the next probe; a rejection is for the log of who carries it out. */
  readonly rebind: (worker: number, target: ProbeTarget) => Promise<void>
  /** The outcome on a target is another one than before. Must not throw. */
  readonly onChanged: (change: ProbeReport) => void
  readonly times?: ProberTimes
}

/** How the prober knows the time; tests turn it by hand. */
export interface ProberTimes {
  readonly clock: Clock
  /** Milliseconds since 1970. */
  readonly wallClock: () => number
  /** Resolves after `ms`, or at once when `stop` says so. */
  readonly pause: (ms: number, stop: AbortSignal) => Promise<void>
}

export interface ProbeReport {
  readonly target: ProbeTarget
  readonly status: ProbeStatus
}

const TIMES: ProberTimes = {
  clock: monotonicClock,
  wallClock: Date.now,
  // it does not keep the process alive
  pause: (ms, signal) => sleep(ms, undefined, { signal, ref: false }).catch(() => {}),
}

/** Asks every listener as a client does, all the time, and has those bound anew that a worker has become deaf on. */
export class Prober {
  readonly #options: ProberOptions
  readonly #times: ProberTimes
  readonly #stop = new AbortController()
  /** By key, in the order in which they are asked. */
  #targets: ReadonlyMap<string, TargetHealth> = new Map()
  readonly #bursts: Patience
  readonly #rebindWaits: Patience
  #round = 0
  #rebinds = 0
  #running: Promise<void> | null = null

  constructor(options: ProberOptions) {
    const { times = TIMES } = options
    this.#options = options
    this.#times = times
    this.#bursts = new Patience(times.clock, { firstMs: BURST_MS, longestMs: BURST_MS })
    this.#rebindWaits = new Patience(times.clock, { firstMs: REBIND_MS, longestMs: MAX_REBIND_MS })
  }

  /** What is asked from now on. What is known of a target that stays, stays. */
  follow(targets: readonly ProbeTarget[]): void {
    const next = new Map<string, TargetHealth>()
    for (const target of targets) {
      const key = targetKey(target)
      const health = this.#targets.get(key) ?? new TargetHealth(target)
      health.target = target
      next.set(key, health)
    }
    this.#targets = next
    this.#bursts.retain((key) => next.has(key))
    this.#rebindWaits.retain((key) => next.has(key.slice(key.indexOf(' ') + 1)))
  }

  /** Begins the first round. */
  start(): void {
    this.#running ??= this.#run()
  }

  /** Ends what is under way at once; resolves when nothing of it is left. */
  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  get reports(): readonly ProbeReport[] {
    return Array.from(this.#targets.values(), ({ target, status }) => ({ target, status }))
  }

  /** How often a socket was bound anew, on all targets there have been. */
  get rebinds(): number {
    return this.#rebinds
  }

  /** Asks those that `isMeant` now, beside the rounds, up to the first that does not answer; nothing is bound anew. Null: all answer. */
  async findDeaf(isMeant: (target: ProbeTarget) => boolean): Promise<ProbeReport | null> {
    for (const health of this.#targets.values()) {
      if (!isMeant(health.target)) continue
      await this.#probe(health)
      if (health.status.outcome === 'failed') return { target: health.target, status: health.status }
    }
    return null
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      this.#round++
      for (const health of this.#targets.values()) if (this.#isDue(health)) await this.#lookAfter(health)
      await this.#times.pause(ROUND_MS, this.#stop.signal)
    }
  }

  #isDue({ target, status }: TargetHealth): boolean {
    const isWell = status.outcome === 'ok' || status.outcome === 'refused'
    return !isWell || !isQuic(target) || this.#round % QUIC_ROUNDS === 1
  }

  async #lookAfter(health: TargetHealth): Promise<void> {
    await this.#probe(health)
    if (!health.isSuspect || this.#isOver(health)) return
    const deaf = await this.#deafWorkers(health)
    for (const worker of deaf) await this.#rebind(worker, health)
    if (deaf.length > 0) await this.#probe(health)
  }

  /** A failure counts when it happens twice in a row, the second time on another port: it may reach another worker. */
  async #probe(health: TargetHealth): Promise<void> {
    const first = await this.#ask(health.target)
    const slipped = first.outcome === 'failed'
    const outcome = slipped ? await this.#ask(health.target) : first
    if (this.#isOver(health)) return
    const changed = health.record(outcome, { at: this.#times.wallClock(), round: this.#round, slipped })
    if (changed) this.#options.onChanged({ target: health.target, status: health.status })
  }

  async #ask(target: ProbeTarget): Promise<ProbeOutcome> {
    if (target.transport === 'udp' && !this.#options.isAdmitted(target))
      return { outcome: 'refused', reason: 'not asked: the access list does not admit this machine, and on UDP silence would say nothing' }
    if (this.#stop.signal.aborted) return { outcome: 'failed', reason: 'the gateway ends' }
    return this.#options.ask(target, this.#stop.signal)
  }

  /** The workers that are to bind the target anew. */
  async #deafWorkers(health: TargetHealth): Promise<readonly number[]> {
    const key = targetKey(health.target)
    const workers = this.#workersOf(health.target).filter((worker) => this.#options.isServing(worker))
    const mayRebind = (worker: number): boolean => !this.#rebindWaits.mustWait(`${worker} ${key}`)
    // one worker alone has been asked twice already
    if (workers.length === 1) return health.status.outcome === 'failed' ? workers.filter(mayRebind) : []
    if (!workers.some(mayRebind) || this.#bursts.mustWait(key)) return []
    this.#bursts.begin(key)
    const silent = await silentWorkers(workers, () => this.#ask(health.target), this.#stop.signal)
    health.looked()
    return silent.filter((worker) => this.#options.isServing(worker) && mayRebind(worker))
  }

  #workersOf(target: ProbeTarget): readonly number[] {
    if (isQuic(target)) return [QUIC_WORKER]
    return Array.from({ length: this.#options.workers }, (_, worker) => worker)
  }

  async #rebind(worker: number, health: TargetHealth): Promise<void> {
    if (this.#isOver(health)) return
    this.#rebindWaits.begin(`${worker} ${targetKey(health.target)}`)
    this.#rebinds++
    health.rebound()
    const rebound = this.#options.rebind(worker, health.target).catch(() => {})
    await unlessAborted(rebound, this.#stop.signal)
  }

  /** Whether nobody wants to know any more. */
  #isOver(health: TargetHealth): boolean {
    return this.#stop.signal.aborted || this.#targets.get(targetKey(health.target)) !== health
  }
}

function isQuic({ transport }: ProbeTarget): boolean {
  return transport === 'doq' || transport === 'doh3'
}

/** Resolves when `work` has, or as soon as `signal` says so. */
async function unlessAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  const aborted = Promise.withResolvers<void>()
  const onAbort = (): void => aborted.resolve()
  signal.addEventListener('abort', onAbort, { once: true })
  await Promise.race([work, aborted.promise])
  signal.removeEventListener('abort', onAbort)
}
