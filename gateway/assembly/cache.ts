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
  /** Where answers are kept across restarts; null: there are none. */
  readonly #path: string | null
  #writer: SnapshotWriter | null = null
  /** By worker. */
  readonly #owners = new Map<number, number>()
  #lastOwner = MAIN

  /** Opens the snapshot where there is one. Throws OperationalError where the memory is not to be had. */
  constructor(config: Config, { fingerprint, log }: { fingerprint: number; log: Logger }) {
    this.#path = config.cache.memory > 0 ? join(config.state, 'cache', 'snapshot.bin') : null
    const { memory, snapshot, refused } = open(config.cache.persist ? this.#path : null, { bytes: config.cache.memory, fingerprint })
    this.#log = log
    this.#snapshot = snapshot
    this.#memory = memory
    if (refused !== null) this.#refuse(refused)
    this.inspector = new CacheInspector(memory, MAIN)
    if (config.cache.persist) this.#writer = this.#startWriter(fingerprint)
  }

  /** `fingerprint`: of the servers that are asked from now on. */
  reconfigure({ cache }: Config, fingerprint: number): void {
    if (!cache.persist) {
      this.#forget()
      return
    }
    this.#writer ??= this.#startWriter(fingerprint)
    this.#writer?.moveTo(fingerprint)
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

  #startWriter(fingerprint: number): SnapshotWriter | null {
    if (this.#path === null) return null
    const writer = new SnapshotWriter({
      path: this.#path,
      memory: this.#memory,
      owner: MAIN,
      fingerprint,
      log: this.#log,
      clock: monotonicClock,
      wallClock: Date.now,
    })
    writer.start()
    return writer
  }

  /** What was asked is not to be on disk any more. */
  #forget(): void {
    const writer = this.#writer
    this.#writer = null
    if (writer === null || this.#path === null) return
    void writer.discard()
  }

  #refuse(reason: string): void {
    this.#log.warn({ reason }, 'the snapshot of the cache is not used: the cache starts empty')
  }
}

function open(path: string | null, { bytes, fingerprint }: { bytes: number; fingerprint: number }): OpenedCache {
  try {
    return openCacheMemory(path, { owner: MAIN, bytes, fingerprint, now: monotonicClock(), wallClock: Date.now() })
  } catch (error) {
    throw new OperationalError('ATLAS_CACHE', `Cannot reserve ${bytes} bytes for the cache: ${reasonOf(error)}`, error)
  }
}
