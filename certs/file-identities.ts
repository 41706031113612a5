import { stat } from 'node:fs/promises'
import { isDeepStrictEqual } from 'node:util'
import { reasonOf } from '../dns/operational-error.ts'
import { type CertificateSource, filesNamed, filesOf, loadIdentityFiles } from './files.ts'
import { checkDates, type Identity } from './identity.ts'
import type { CertificateObserver, CertificateProblem, CertificateState, IdentityProvider } from './provider.ts'

/**
 * How often the files are looked at. inotify would be told neither what another machine writes to a network file system, nor that a
 * symbolic link on the way to a file (Kubernetes: `..data`) leads elsewhere now; stat() sees both.
 */
const LOOK_MS = 2000
/** How often files that cannot be used are read again though they look the same: clocks are set, servers of files come back. */
const RETRY_MS = 60_000
/** In so many looks in a row what has changed must be found unfit: in one, it may just be being written. */
const LOOKS_TO_FAIL = 2

/** Files, and what is in them. */
export interface FileSource {
  readonly files: CertificateSource
  readonly identity: Identity
}

/** The certificate of a few files, which are watched: whatever happens to them, what was good once stays in use. */
export class FileIdentities implements IdentityProvider {
  readonly #files: CertificateSource
  readonly #observer: CertificateObserver
  readonly #timer: NodeJS.Timeout
  #identity: Identity
  #problem: CertificateProblem | null = null
  /** How the files looked when they were judged the last time. */
  #judged: string | null = null
  /** Looks in a row that found unfit what has changed. */
  #doubts = 0
  /** One read after the other; never rejects. */
  #last: Promise<void> = Promise.resolve()
  #isLooking = false

  /** `identity`: what is in the files, in date or not. */
  constructor({ files, identity }: FileSource, observer: CertificateObserver) {
    this.#files = files
    this.#identity = identity
    this.#observer = observer
    this.#timer = setInterval(() => void this.look(), LOOK_MS).unref()
    try {
      checkDates(identity, { source: filesNamed(files), now: Date.now() })
    } catch (error) {
      this.#fail(error)
    }
  }

  get certificates(): readonly CertificateState[] {
    return [this.#state]
  }

  /** What was read last that can be used. */
  get source(): FileSource {
    return { files: this.#files, identity: this.#identity }
  }

  /** Looks whether there is something else in the files; that is done every two seconds anyway. Never rejects. */
  async look(): Promise<void> {
    // a server of files that has gone may keep us waiting
    if (this.#isLooking) return
    this.#isLooking = true
    await this.#afterOthers(() => this.#look())
    this.#isLooking = false
  }

  renew(): Promise<void> {
    return this.#afterOthers(async () => {
      const look = await lookOf(this.#files)
      try {
        this.#use(await loadIdentityFiles(this.#files), look)
      } catch (error) {
        this.#fail(error)
        throw error
      }
    })
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await this.#last
  }

  get #state(): CertificateState {
    const { names, addresses } = this.#identity
    return {
      source: filesNamed(this.#files).cert,
      names: [...names, ...addresses],
      identities: [this.#identity],
      renewsAt: null,
      problem: this.#problem,
    }
  }

  async #look(): Promise<void> {
    const look = await lookOf(this.#files)
    const isKnown = look === this.#judged
    if (isKnown && (this.#problem === null || isAhead(this.#problem))) return
    try {
      this.#use(await loadIdentityFiles(this.#files), look)
    } catch (error) {
      this.#doubts += 1
      if (!isKnown && this.#doubts < LOOKS_TO_FAIL) return
      this.#judged = look
      this.#fail(error)
    }
  }

  /** `look`: from before they were read, so that what was written meanwhile is found by the next one. */
  #use(identity: Identity, look: string): void {
    this.#judged = look
    this.#doubts = 0
    this.#problem = null
    if (isDeepStrictEqual(identity, this.#identity)) return
    this.#identity = identity
    this.#observer.changed(this.#state)
  }

  #fail(error: unknown): void {
    const now = Date.now()
    this.#doubts = 0
    const { message = null, since = now, attempts = 0 } = this.#problem ?? {}
    this.#problem = { message: reasonOf(error), since, retriesAt: now + RETRY_MS, attempts: attempts + 1 }
    if (message !== this.#problem.message) this.#observer.failed(this.#state)
  }

  async #afterOthers(work: () => Promise<void>): Promise<void> {
    const result = this.#last.then(work)
    this.#last = result.catch(() => {})
    await result
  }
}

/** Whether it is retried later; a clock that was set back makes nobody wait longer. */
function isAhead({ retriesAt }: CertificateProblem): boolean {
  const wait = (retriesAt ?? 0) - Date.now()
  return wait > 0 && wait <= RETRY_MS
}

/** What tells whether files are still the same ones with the same content, symbolic links followed to their end. */
async function lookOf(source: CertificateSource): Promise<string> {
  const looks = filesOf(source).map(async (path) => {
    try {
      const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true })
      return [dev, ino, size, mtimeNs, ctimeNs].join(' ')
    } catch (error) {
      return reasonOf(error)
    }
  })
  return (await Promise.all(looks)).join('\n')
}
