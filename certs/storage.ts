import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { OperationalError, reasonOf } from '../dns/operational-error.ts'
import { readSmallFile, writeAtomic } from './disk.ts'

/**
 * Where accounts, keys and certificates are kept. Paths are relative, with "/". Several gateways may share one some day; so far
 * there is the state directory, which belongs to one process (its lock).
 */
export interface Storage {
  /** Text, null when there is none. Throws OperationalError. */
  read(path: string): Promise<string | null>
  /** All of it or nothing, also when the machine loses power. `mode`: of the file. Throws OperationalError. */
  write(path: string, file: { readonly text: string; readonly mode: number }): Promise<void>
  /** Also when there is none. Throws OperationalError. */
  remove(path: string): Promise<void>
  /** Runs `work` while nobody else who shares the storage runs work of the same name. */
  exclusively<T>(name: string, work: () => Promise<T>): Promise<T>
}

/** The state directory. */
export class DirectoryStorage implements Storage {
  readonly #directory: string
  readonly #last = new Map<string, Promise<unknown>>()

  constructor(directory: string) {
    this.#directory = directory
  }

  async read(path: string): Promise<string | null> {
    const file = join(this.#directory, path)
    try {
      return readSmallFile(file)
    } catch (error) {
      throw new OperationalError('ATLAS_STATE', `Cannot read ${file}: ${reasonOf(error)}`, error)
    }
  }

  async write(path: string, file: { readonly text: string; readonly mode: number }): Promise<void> {
    await writeAtomic(join(this.#directory, path), file)
  }

  async remove(path: string): Promise<void> {
    const file = join(this.#directory, path)
    try {
      await rm(file, { force: true })
    } catch (error) {
      throw new OperationalError('ATLAS_STATE', `Cannot remove ${file}: ${reasonOf(error)}`, error)
    }
  }

  /** One after the other: the lock of the state directory keeps other processes out. */
  async exclusively<T>(name: string, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(name) ?? Promise.resolve()
    const result = before.then(work)
    const settled = result.then(
      () => {},
      () => {},
    )
    this.#last.set(name, settled)
    try {
      return await result
    } finally {
      if (this.#last.get(name) === settled) this.#last.delete(name)
    }
  }
}
