import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { DataPlaneFacts } from '../data-plane.ts'
import type { RestartReason } from '../telemetry/telemetry.ts'
import type { Command, WorkerHandle } from './protocol.ts'

/** How workers are watched. */
export interface Supervision {
  /** How often the main thread looks at the beats of its workers. */
  readonly lookMs: number
  /** Looks in a row without a beat until a worker is replaced. Looks, not time: a process that was suspended has seen nothing. */
  readonly missedLooks: number
  /** The wait before the second replacement; it doubles up to `maxPauseMs`. The first comes at once. */
  readonly pauseMs: number
  readonly maxPauseMs: number
  /** After this long without trouble the next replacement is a first one again. */
  readonly healthyMs: number
  /** How long a command may take, a drain its own deadline besides. Longer than the QUIC library's threads may take to end (5 s). */
  readonly acknowledgeMs: number
}

export const SUPERVISION: Supervision = Object.freeze({
  lookMs: 1000,
  missedLooks: 10,
  pauseMs: 1000,
  maxPauseMs: 30_000,
  healthyMs: 60_000,
  acknowledgeMs: 10_000,
})

export interface SeatOptions {
  readonly index: number
  readonly launch: (isReplacement: boolean) => WorkerHandle
  /** This worker's beats. */
  readonly beats: () => number
  /** A worker serves, or does not serve any more. */
  readonly onChanged: () => void
  /** A worker has ended: nothing of it runs, what it held is free. */
  readonly onEnded: () => void
  readonly onReplaced: (reason: RestartReason) => void
  readonly log: Logger
  readonly times: Supervision
}

/** The place of one worker: when it ends without having been told to, another takes it. */
export class Seat {
  readonly #options: SeatOptions
  readonly #stop = new AbortController()
  #worker: WorkerHandle | null = null
  /** Since when it serves; null while it does not. */
  #servingSince: number | null = null
  #kept: Promise<void> = Promise.resolve()
  #isUnresponsive = false
  /** Of the wait before the next replacement. */
  #pause: AbortController | null = null
  #launched = Promise.withResolvers<WorkerHandle>()
  #beats = 0
  #missed = 0

  constructor(options: SeatOptions) {
    this.#options = options
  }

  get isServing(): boolean {
    return this.#servingSince !== null
  }

  /** Whether it serves, and showed at the last look that it is alive. */
  get isLively(): boolean {
    return this.isServing && this.#missed === 0
  }

  /** Rejects when the first worker cannot start. */
  async start(): Promise<DataPlaneFacts> {
    const worker = this.#launch(false)
    try {
      const facts = await worker.started
      this.#kept = this.#keep(worker)
      return facts
    } catch (error) {
      await worker.ended
      this.#release()
      throw error
    }
  }

  /** As tell(), but what comes of it is for the caller. Rejects when the worker refuses, is late, or cannot start. */
  async apply(command: Command): Promise<DataPlaneFacts> {
    if (this.#worker !== null) return this.#outcome(this.#worker, command)
    // one that is made now is made from the newest state; nobody is sure of that before it serves
    this.#pause?.abort()
    const worker = await this.#launched.promise
    return worker.started
  }

  /** What a worker is told while it starts, it does when it has. One that is not there yet is made from the newest state. */
  async tell(command: Command): Promise<void> {
    if (this.#worker !== null) await this.#acknowledged(this.#worker, command)
  }

  /** Whether the worker has shown that it is alive since the last look. */
  look(): void {
    if (this.#worker === null || !this.isServing || this.#isUnresponsive) return
    const beats = this.#options.beats()
    this.#missed = beats === this.#beats ? this.#missed + 1 : 0
    this.#beats = beats
    if (this.#missed < this.#options.times.missedLooks) return
    this.#isUnresponsive = true
    void this.#worker.terminate()
  }

  /** Nobody takes the place any more. A worker that serves ends by `command`. */
  async end(command: Command): Promise<void> {
    this.#stop.abort()
    this.#nobodyComes()
    const worker = this.#worker
    if (worker === null) return this.#kept
    if (this.isServing) await this.#acknowledged(worker, command)
    await worker.terminate()
    await this.#kept
  }

  #launch(isReplacement: boolean): WorkerHandle {
    const worker = this.#options.launch(isReplacement)
    this.#worker = worker
    this.#launched.resolve(worker)
    this.#missed = 0
    this.#isUnresponsive = false
    void worker.started.then(
      () => this.#serves(isReplacement),
      () => {}, // the worker ends, and its end is told
    )
    return worker
  }

  #serves(isReplacement: boolean): void {
    this.#servingSince = performance.now()
    this.#options.onChanged()
    if (isReplacement) this.#options.log.info({ worker: this.#options.index }, 'the worker is replaced: it serves again')
  }

  async #keep(first: WorkerHandle): Promise<void> {
    const { times } = this.#options
    let pause = 0
    for (let worker = first; ; worker = this.#launch(true)) {
      const error = await worker.ended
      const wasHealthy = this.#servingSince !== null && performance.now() - this.#servingSince >= times.healthyMs
      const reason = this.#isUnresponsive ? 'unresponsive' : 'crashed'
      this.#release()
      if (this.#stop.signal.aborted) return
      if (wasHealthy) pause = 0
      this.#tellOf(reason, { error, pause })
      this.#pause = new AbortController()
      await sleep(pause, null, { signal: AbortSignal.any([this.#stop.signal, this.#pause.signal]) }).catch(() => {})
      if (this.#stop.signal.aborted) return
      pause = Math.min(Math.max(2 * pause, times.pauseMs), times.maxPauseMs)
    }
  }

  #release(): void {
    this.#worker = null
    this.#launched = Promise.withResolvers()
    if (this.#stop.signal.aborted) this.#nobodyComes()
    this.#servingSince = null
    this.#options.onEnded()
    this.#options.onChanged()
  }

  #tellOf(reason: RestartReason, { error, pause }: { error: Error | null; pause: number }): void {
    const { index, log, onReplaced } = this.#options
    onReplaced(reason)
    const facts = { worker: index, inMs: pause, ...(error !== null && { err: error }) }
    if (reason === 'crashed') log.error(facts, 'a worker has crashed: it is replaced')
    else log.error(facts, 'a worker does not respond: it is replaced')
  }

  async #acknowledged(worker: WorkerHandle, command: Command): Promise<void> {
    const { index, log } = this.#options
    try {
      await this.#outcome(worker, command)
    } catch (error) {
      log.error({ worker: index, command: command.name, err: error }, 'a worker has not done what it was told')
      // it may serve as nobody wants it to: another one is made from the newest state
      if (command.name !== 'reconfigure' && command.name !== 'settle') return
      this.#isUnresponsive = true
      await worker.terminate()
    }
  }

  /** For who waits for a worker to be launched. */
  #nobodyComes(): void {
    this.#launched.promise.catch(() => {})
    this.#launched.reject(new Error('the worker was ended'))
  }

  async #outcome(worker: WorkerHandle, command: Command): Promise<DataPlaneFacts> {
    const stop = new AbortController()
    const deadline = this.#options.times.acknowledgeMs + (command.name === 'drain' ? command.deadlineMs : 0)
    const late = sleep(deadline, null, { signal: stop.signal }).then(
      () => Promise.reject(new Error(`no acknowledgement within ${deadline} ms`)),
      // the worker was in time
      () => new Promise<never>(() => {}),
    )
    try {
      return await Promise.race([worker.tell(command), late])
    } finally {
      stop.abort()
    }
  }
}
