import { chmodSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { isMainThread } from 'node:worker_threads'
import { OperationalError, reasonOf } from '../../dns/operational-error.ts'

/**
 * The library writes certificate, private key and roots to files of predictable names in the directory for temporary files,
 * readable for all but for the umask, and removes them once it has read them. So it gets a directory that is ours alone.
 */
export class KeyDirectory {
  readonly #path: string

  /** Makes it, 0700, and removes what a crash may have left behind. Throws ATLAS_STATE. */
  constructor(path: string) {
    try {
      mkdirSync(path, { recursive: true, mode: 0o700 })
      chmodSync(path, 0o700)
      for (const name of readdirSync(path)) rmSync(join(path, name), { recursive: true, force: true })
    } catch (error) {
      throw new OperationalError('ATLAS_STATE', `Cannot use the directory ${path}: ${reasonOf(error)}`, error)
    }
    this.#path = path
  }

  /** One at a time in the whole process: the files are named by the process alone, and two at once spoil each other's. */
  async use<T>(build: () => Promise<T>): Promise<T> {
    const built = lastBuild.then(() => this.#guarded(build))
    lastBuild = built.catch(() => {})
    return built
  }

  async #guarded<T>(build: () => Promise<T>): Promise<T> {
    if (!isMainThread) return this.#inherited(build)
    mkdirSync(this.#path, { recursive: true, mode: 0o700 })
    const umask = process.umask(0o077)
    const { TMPDIR } = process.env
    process.env.TMPDIR = this.#path
    try {
      return await build()
    } finally {
      process.umask(umask)
      if (TMPDIR === undefined) delete process.env.TMPDIR
      else process.env.TMPDIR = TMPDIR
    }
  }

  /** A worker thread cannot set them for the process: the main thread must have done so, and shares its environment. */
  async #inherited<T>(build: () => Promise<T>): Promise<T> {
    if (process.env.TMPDIR === this.#path) return build()
    throw new Error(`Cannot build QUIC in a worker thread: TMPDIR of the process is not ${this.#path}`)
  }
}

let lastBuild: Promise<unknown> = Promise.resolve()
