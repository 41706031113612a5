import { rm } from 'node:fs/promises'
import type { Logger } from 'pino'
import type { Clock } from '../../net/clock.ts'
import { type CacheMemory, checksumSeed } from './memory.ts'
import { writeSnapshot } from './snapshot.ts'
import { Table } from './table.ts'

/** How much of what was learned a crash may cost. */
const INTERVAL_MS = 300_000

export interface SnapshotWriterOptions {
  readonly path: string
  readonly memory: CacheMemory
  /** Of the locks, see PageLocks. */
  readonly owner: number
  readonly fingerprint: number
  readonly log: Pick<Logger, 'info' | 'error'>
  readonly clock: Clock
  readonly wallClock: Clock
}

/** Writes the snapshot of the cache from time to time, and once more at the end. */
export class SnapshotWriter {
  readonly #options: SnapshotWriterOptions
  readonly #table: Table
  #fingerprint: number
  #timer: NodeJS.Timeout | null = null
  #writing: Promise<void> | null = null
  #isFailing = false

  constructor(options: SnapshotWriterOptions) {
    this.#options = options
    // it stores nothing
    this.#table = new Table(options.memory.answers, { owner: options.owner, seed: checksumSeed(options.memory), keepMs: 0 })
    this.#fingerprint = options.fingerprint
  }

  start(): void {
    this.#timer = setInterval(() => void this.#write(), INTERVAL_MS).unref()
  }

  /** What was learned until now is not for a gateway to come. */
  moveTo(fingerprint: number): void {
    this.#fingerprint = fingerprint
  }

  /** Writes no more from time to time. */
  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
  }

  /** Writes once more, when no thread learns anything any longer; resolves when that is over. */
  async stop(): Promise<void> {
    this.close()
    await this.write()
  }

  /** Writes what is known after this call was made. */
  async write(): Promise<void> {
    await this.#writing // it may have passed pages that have changed since
    await this.#write()
  }

  /** Writes no more, and takes away what was written. */
  async discard(): Promise<void> {
    this.close()
    await this.#writing
    const { path, log } = this.#options
    try {
      await rm(path, { force: true })
    } catch (error) {
      log.error({ err: error }, 'cannot remove the snapshot of the cache')
    }
  }

  /** Never two at a time: they would share a file. */
  #write(): Promise<void> {
    this.#writing ??= this.#tryWrite().finally(() => {
      this.#writing = null
    })
    return this.#writing
  }

  async #tryWrite(): Promise<void> {
    const { path, memory, log, clock, wallClock } = this.#options
    try {
      const source = { memory, table: this.#table, fingerprint: this.#fingerprint, now: clock(), wallClock: wallClock() }
      const facts = await writeSnapshot(path, source)
      if (this.#isFailing) log.info(facts, 'the snapshot of the cache is written again')
      this.#isFailing = false
    } catch (error) {
      if (!this.#isFailing) log.error({ err: error }, 'cannot write the snapshot of the cache: the one before stays')
      this.#isFailing = true
    }
  }
}
