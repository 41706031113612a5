import type { Logger } from 'pino'
import type { DataPlaneFacts, WorkerSetup } from '../data-plane.ts'
import type { WorkerMeter } from '../telemetry/telemetry.ts'
import type { Command, Launcher } from './protocol.ts'
import { Seat, type Supervision } from './seat.ts'

/** What the setup of one worker depends on. */
export interface WorkerPlace {
  readonly index: number
  /** Whether another worker was there before. */
  readonly isReplacement: boolean
  /** What the first worker has bound; null while that is being found out. */
  readonly first: DataPlaneFacts | null
}

export interface SupervisorOptions {
  readonly workers: number
  readonly launcher: Pick<Launcher, 'launch'>
  /** Called for every worker that is started: with the newest state. */
  readonly setupOf: (place: WorkerPlace) => WorkerSetup
  readonly beats: Int32Array
  readonly onEnded: (index: number) => void
  readonly meter: WorkerMeter
  readonly log: Logger
  readonly times: Supervision
}

/** All workers: starts them, watches them, tells them all the same, ends them. */
export class Supervisor {
  readonly #options: SupervisorOptions
  readonly #seats: readonly Seat[]
  #first: DataPlaneFacts | null = null
  #looking: NodeJS.Timeout | null = null

  constructor(options: SupervisorOptions) {
    this.#options = options
    this.#seats = Array.from({ length: options.workers }, (_, index) => this.#makeSeat(index))
  }

  /** Starts the first worker, which finds out the ports, then the others. Rejects when one of them cannot; then close() is due. */
  async start(): Promise<DataPlaneFacts> {
    const [first, ...others] = this.#seats as [Seat, ...Seat[]]
    const facts = await first.start()
    this.#first = facts
    await Promise.all(others.map((seat) => seat.start()))
    this.#looking = setInterval(() => this.#look(), this.#options.times.lookMs).unref()
    return facts
  }

  /** Resolves when all have acknowledged, or have been complained about. */
  async tell(command: Command): Promise<void> {
    await Promise.all(this.#seats.map((seat) => seat.tell(command)))
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
    const { launcher, setupOf, beats, onEnded, meter, log, times } = this.#options
    return new Seat({
      index,
      launch: (isReplacement) => launcher.launch(setupOf({ index, isReplacement, first: this.#first })),
      beats: () => Atomics.load(beats, index),
      onChanged: () => meter.running(this.#seats.filter(({ isServing }) => isServing).length),
      onEnded: () => onEnded(index),
      onReplaced: (reason) => meter.restarted(reason),
      log,
      times,
    })
  }
}
