import { chmodSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { isMainThread, locks } from 'node:worker_threads'
import { OperationalError, reasonOf } from '../../dns/operational-error.ts'

/**
 * The library writes certificate, private key and roots to files of predictable names in the directory for temporary files,
 * readable for all but for the umask, and removes them once it has read them. So it gets a directory that is ours alone.
 */
export class KeyDirectory {
  readonly #path: string
  #isClean = false

  /** Makes it, 0700. Throws ATLAS_STATE. */
  constructor(path: string) {
    try {
      mkdirSync(path, { recursive: true, mode: 0o700 })
      chmodSync(path, 0o700)
      readdirSync(path)
    } catch (error) {
      throw new OperationalError('ATLAS_STATE', `Cannot use the directory ${path}: ${reasonOf(error)}`, error)
    }
    this.#path = path
  }

  /**
   * One at a time in the whole process, in whatever thread: the files are named by the process alone, and of two at once one
   * would get the roots or the key of the other. The first removes what a crash may have left behind.
   */
  async use<T>(build: () => Promise<T>): Promise<T> {
    return locks.request(LOCK, () => this.#guarded(build))
  }

  async #guarded<T>(build: () => Promise<T>): Promise<T> {
    if (!isMainThread) return this.#inherited(build)
    mkdirSync(this.#path, { recursive: true, mode: 0o700 })
    const umask = process.umask(0o077)
    const { TMPDIR } = process.env
    process.env.TMPDIR = this.#path
    try {
      this.#clean()
      return await build()
    } finally {
      process.umask(umask)
      if (TMPDIR === undefined) delete process.env.TMPDIR
      else process.env.TMPDIR = TMPDIR
    }
  }

  /** A worker thread cannot set them for the process: the main thread must have done so, and shares its environment. */
  async #inherited<T>(build: () => Promise<T>): Promise<T> {
    if (process.env.TMPDIR !== this.#path) {
      throw new Error(`Cannot build QUIC in a worker thread: TMPDIR of the process is not ${this.#path}`)
    }
    this.#clean()
    return build()
  }

  #clean(): void {
    if (this.#isClean) return
    this.#isClean = true
    for (const name of readdirSync(this.#path)) rmSync(join(this.#path, name), { recursive: true, force: true })
  }
}

/** Held by a thread of this process; one that ends in the middle lets go of it. */
const LOCK = 'net/quic/key-files'
