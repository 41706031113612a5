import { join } from 'node:path'
import type { Logger } from 'pino'
import { OperationalError, reasonOf } from '../../dns/operational-error.ts'
import { monotonicClock } from '../../net/clock.ts'
import { CacheInspector, type CacheStatistics, type Purged } from '../cache/inspect.ts'
import type { CacheMemory } from '../cache/memory.ts'
import { type OpenedCache, openCacheMemory, type Snapshot } from '../cache/snapshot-reader.ts'
import { SnapshotWriter } from '../cache/snapshot-writer.ts'
import type { Config } from '../config/config.ts'

/** Of the locks: the main thread's, then one for each worker that ever was. */
const MAIN = 1

/** What a worker is given of the cache. */
export interface WorkerCache {
  readonly memory: CacheMemory
  readonly owner: number
}

/** The shared cache, as the main thread sees it. */
export class CacheAssembly {
  readonly inspector: CacheInspector
  readonly #memory: CacheMemory
  readonly #log: Logger
  readonly #snapshot: Snapshot | null
  #writer: SnapshotWriter | null
  /** By worker. */
  readonly #owners = new Map<number, number>()
  #lastOwner = MAIN

  /** Opens the snapshot where there is one. Throws OperationalError where the memory is not to be had. */
  constructor(config: Config, { space, log }: { space: number; log: Logger }) {
    const path = config.cache.persist && config.cache.memory > 0 ? join(config.state, 'cache', 'snapshot.bin') : null
    const { memory, snapshot, refused } = open(path, { bytes: config.cache.memory, space })
    this.#log = log
    this.#snapshot = snapshot
    this.#memory = memory
    if (refused !== null) this.#refuse(refused)
    this.inspector = new CacheInspector(memory, MAIN)
    const writer = { memory, owner: MAIN, fingerprint: space, log, clock: monotonicClock, wallClock: Date.now }
    this.#writer = path === null ? null : new SnapshotWriter({ path, ...writer })
    this.#writer?.start()
  }

  get statistics(): CacheStatistics {
    return this.inspector.statistics()
  }

  /** What the worker of this place is given, each time there is a new one. */
  of(worker: number): WorkerCache {
    this.#owners.set(worker, ++this.#lastOwner)
    return { memory: this.#memory, owner: this.#lastOwner }
  }

  /** A worker has ended: what it was writing to is cleared. */
  release(worker: number): void {
    const owner = this.#owners.get(worker)
    this.#owners.delete(worker)
    if (owner !== undefined) this.inspector.wipe(owner)
  }

  /** Other servers are asked from now on. */
  moveTo(space: number): void {
    this.#writer?.moveTo(space)
  }

  /** Throws out what is named, from the snapshot too. `name`: wire form; null with 'all'. */
  async purge(kind: 'name' | 'suffix' | 'all', name: Uint8Array | null): Promise<Purged> {
    const { inspector } = this
    const purged = name === null ? inspector.purgeAll() : kind === 'suffix' ? inspector.purgeSuffix(name) : inspector.purgeName(name)
    const outcome = await purged
    // who throws out a name does not want it back with the next start
    await this.#writer?.write()
    return outcome
  }

  /** Brings back what the snapshot has. Takes one or two tenths of a second, in which workers may serve already. */
  restore(): void {
    if (this.#snapshot === null) return
    try {
      this.#log.info(this.#snapshot.restore(), 'the cache has what its snapshot had')
    } catch (error) {
      this.#refuse(reasonOf(error))
    }
  }

  close(): void {
    this.#snapshot?.close()
    this.#writer?.close()
  }

  /** Keeps what is known for the next start. When all workers have ended. */
  async persist(): Promise<void> {
    const writer = this.#writer
    this.#writer = null
    await writer?.stop()
  }

  #refuse(reason: string): void {
    this.#log.warn({ reason }, 'the snapshot of the cache is not used: the cache starts empty')
  }
}

function open(path: string | null, { bytes, space }: { bytes: number; space: number }): OpenedCache {
  try {
    return openCacheMemory(path, { owner: MAIN, bytes, fingerprint: space, now: monotonicClock(), wallClock: Date.now() })
  } catch (error) {
    throw new OperationalError('ATLAS_CACHE', `Cannot reserve ${bytes} bytes for the cache: ${reasonOf(error)}`, error)
  }
}
