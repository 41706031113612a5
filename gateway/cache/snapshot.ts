import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { OperationalError, reasonOf } from '../../dns/operational-error.ts'
import { PAGE_BYTES, PAGE_COUNT } from './geometry.ts'
import type { CacheMemory } from './memory.ts'
import { SLICE_PAGES, walkPages } from './page-walk.ts'
import { END_OF_RECORDS, HEADER_BYTES, putHeader, putRecord, RECORD_BYTES } from './snapshot-format.ts'
import type { Table } from './table.ts'

export interface SnapshotSource {
  readonly memory: CacheMemory
  /** The answers of that memory, as the calling thread sees them. */
  readonly table: Table
  readonly fingerprint: number
  /** Milliseconds of the clock, and of the wall clock in the same moment. */
  readonly now: number
  readonly wallClock: number
}

export interface SnapshotFacts {
  readonly entries: number
  readonly bytes: number
}

/**
 * Replaces the snapshot as a whole or leaves it as it was, also when the machine loses power. Other threads go on using the
 * table meanwhile: each page is as it was at some moment, and a page that is busy all the time is left out. Throws
 * OperationalError.
 */
export async function writeSnapshot(path: string, source: SnapshotSource): Promise<SnapshotFacts> {
  const directory = dirname(path)
  // a fixed name, so that what a crash left behind does not pile up: the state directory has one writer (its lock)
  const temporary = join(directory, `.${basename(path)}.new`)
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 })
    await rm(temporary, { force: true })
    const facts = await writeNew(temporary, source)
    await rename(temporary, path)
    await synchronize(directory)
    return facts
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {})
    throw new OperationalError('ATLAS_CACHE', `Cannot write ${path}: ${reasonOf(error)}`, error)
  }
}

async function writeNew(path: string, source: SnapshotSource): Promise<SnapshotFacts> {
  const file = await open(path, 'wx', 0o600)
  try {
    await file.chmod(0o600) // the umask may have taken bits away
    const facts = await new SnapshotFile(file).write(source)
    await file.sync()
    return facts
  } finally {
    await file.close()
  }
}

/** Without it the rename itself may be lost. */
async function synchronize(directory: string): Promise<void> {
  const handle = await open(directory, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

class SnapshotFile {
  readonly #file: FileHandle
  readonly #buffer = Buffer.allocUnsafe(SLICE_PAGES * (RECORD_BYTES + PAGE_BYTES))
  #used = 0
  #checksum = 0
  #records = 0
  #entries = 0
  #bytes = 0

  constructor(file: FileHandle) {
    this.#file = file
  }

  async write({ memory, table, fingerprint, now, wallClock }: SnapshotSource): Promise<SnapshotFacts> {
    const { secret, clockOffset } = memory
    // a network that is new from here on costs its next asker a question
    const audiences = Uint8Array.from(new Uint8Array(memory.audiences))
    this.#checksum = putHeader(this.#buffer, { pages: table.pages, fingerprint, secret, time: now + clockOffset, wallClock, audiences })
    this.#used = HEADER_BYTES
    await this.#flush()
    await walkPages(Array(table.pages).keys(), { visit: (page) => this.#addPage(table, page), rest: () => this.#flush() })
    this.#addRecord(END_OF_RECORDS, this.#records)
    await this.#flush()
    return { entries: this.#entries, bytes: this.#bytes }
  }

  #addPage(table: Table, page: number): boolean {
    const octets = this.#buffer.subarray(this.#used + RECORD_BYTES)
    const length = table.copyPage(page, octets)
    if (length > 0) {
      this.#addRecord(page, length)
      this.#used += length
      this.#records++
      this.#entries += octets.readUInt32LE(4 * PAGE_COUNT)
    }
    return length >= 0
  }

  #addRecord(page: number, length: number): void {
    this.#checksum = putRecord(this.#buffer.subarray(this.#used), { page, length }, this.#checksum)
    this.#used += RECORD_BYTES
  }

  async #flush(): Promise<void> {
    // a table may be empty for long stretches
    if (this.#used === 0) return nextTurn()
    await this.#file.writeFile(this.#buffer.subarray(0, this.#used))
    this.#bytes += this.#used
    this.#used = 0
  }
}
