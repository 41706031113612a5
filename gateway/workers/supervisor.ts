import type { Logger } from 'pino'
import { reasonOf } from '../../dns/operational-error.ts'
import type { DataPlaneFacts, DataPlaneSettings, WorkerSetup } from '../data-plane.ts'
import type { RestartReason, WorkerMeter } from '../telemetry/telemetry.ts'
import type { Command, Launcher } from './protocol.ts'
import { Seat, type Supervision } from './seat.ts'

/** What the setup of one worker depends on. */
export interface WorkerPlace {
  readonly index: number
  /** Whether another worker was there before. */
  readonly isReplacement: boolean
}

/** Hears what the first worker has bound, before the others are told to bind the same. */
type OnFirst = (facts: DataPlaneFacts) => void

export interface SupervisorOptions {
  readonly workers: number
  readonly launcher: Pick<Launcher, 'launch'>
  /** Called for every worker that is started: with the newest state. */
  readonly setupOf: (place: WorkerPlace) => WorkerSetup
  readonly beats: Int32Array
  readonly onEnded: (index: number) => void
  readonly onReplaced: (index: number, reason: RestartReason) => void
  readonly meter: WorkerMeter
  readonly log: Logger
  readonly times: Supervision
}

/** All workers: starts them, watches them, tells them all the same, ends them. */
export class Supervisor {
  readonly #options: SupervisorOptions
  readonly #seats: readonly Seat[]
  #looking: NodeJS.Timeout | null = null

  constructor(options: SupervisorOptions) {
    this.#options = options
    this.#seats = Array.from({ length: options.workers }, (_, index) => this.#makeSeat(index))
  }

  /** Starts the first worker, which finds out the ports, then the others. Rejects when one of them cannot; then close() is due. */
  async start(onFirst: OnFirst): Promise<void> {
    const [first, ...others] = this.#seats as [Seat, ...Seat[]]
    onFirst(await first.start())
    await Promise.all(others.map((seat) => seat.start()))
    this.#looking = setInterval(() => this.#look(), this.#options.times.lookMs).unref()
  }

  /** Whether the worker of this place serves. */
  isServing(index: number): boolean {
    return this.#seats[index]?.isServing ?? false
  }

  /** Whether it serves, and has shown just now that it is alive. */
  isLively(index: number): boolean {
    return this.#seats[index]?.isLively ?? false
  }

  /**
   * Other settings for all workers, first for the first, which finds out the ports. Rejects when one of them cannot; then the
   * former settings are due.
   */
  async reconfigure(settingsOf: (index: number) => DataPlaneSettings, onFirst: OnFirst): Promise<void> {
    const [first, ...others] = this.#seats as [Seat, ...Seat[]]
    onFirst(await first.apply({ name: 'reconfigure', settings: settingsOf(0) }))
    await Promise.all(others.map((seat, i) => seat.apply({ name: 'reconfigure', settings: settingsOf(i + 1) })))
  }

  /** Settings for all workers; those that cannot take them are complained about. */
  async announce(settingsOf: (index: number) => DataPlaneSettings): Promise<void> {
    await Promise.all(this.#seats.map((seat, index) => seat.tell({ name: 'reconfigure', settings: settingsOf(index) })))
  }

  /** Tells one worker. */
  async tellOne(index: number, command: Command): Promise<void> {
    await this.#seats[index]?.tell(command)
  }

  /** Resolves when all have acknowledged, or have been complained about. */
  async tell(command: Command): Promise<void> {
    await Promise.all(this.#seats.map((seat) => seat.tell(command)))
  }

  /** Resolves when all have acknowledged; rejects when one of them has not, or cannot start. */
  async apply(command: Command): Promise<void> {
    const applied = async (seat: Seat, index: number): Promise<void> => {
      try {
        await seat.apply(command)
      } catch (error) {
        throw new Error(`worker ${index}: ${reasonOf(error)}`, { cause: error })
      }
    }
    await Promise.all(this.#seats.map(applied))
  }

  async drain(deadlineMs: number): Promise<void> {
    await this.#end({ name: 'drain', deadlineMs })
  }

  async close(): Promise<void> {
    await this.#end({ name: 'close' })
  }

  async #end(command: Command): Promise<void> {
    if (this.#looking !== null) clearInterval(this.#looking)
    await Promise.all(this.#seats.map((seat) => seat.end(command)))
  }

  #look(): void {
    for (const seat of this.#seats) seat.look()
  }

  #makeSeat(index: number): Seat {
    const { launcher, setupOf, beats, onEnded, onReplaced, meter, log, times } = this.#options
    return new Seat({
      index,
      launch: (isReplacement) => launcher.launch(setupOf({ index, isReplacement })),
      beats: () => Atomics.load(beats, index),
      onChanged: () => meter.running(this.#seats.filter(({ isServing }) => isServing).length),
      onEnded: () => onEnded(index),
      onReplaced: (reason) => {
        meter.restarted(reason)
        onReplaced(index, reason)
      },
      log,
      times,
    })
  }
}
