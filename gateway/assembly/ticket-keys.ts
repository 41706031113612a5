import { unwatchFile, watchFile } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import type { Logger } from 'pino'
import { DirectoryStorage } from '../../certs/storage.ts'
import { acceptsFormerTicketKeys } from '../../certs/tickets/keyring.ts'
import { OwnTicketKeys } from '../../certs/tickets/own-keys.ts'
import { reasonOf } from '../../dns/operational-error.ts'
import type { Prepared } from './prepare.ts'
import { readTicketKeys } from './ticket-key-file.ts'

/** As Kubernetes, which needs a minute to bring a changed secret. */
const LOOK_MS = 60_000

export interface TicketKeysDependencies {
  readonly stateDir: string
  readonly log: Logger
  /** The gateway's own keys are others. */
  readonly onChanged: () => void
  /** The file of shared keys was touched: reread() is due. */
  readonly onFileChanged: () => void
}

/** The keys of session tickets: the gateway's own, which change by themselves, or those of a file that several gateways share. */
export class TicketKeys {
  readonly #log: Logger
  readonly #own: OwnTicketKeys
  readonly #onFileChanged: () => void
  #file: string | null = null
  /** Why the file could not be used at the last look. */
  #problem: string | null = null

  constructor({ stateDir, log, onChanged, onFileChanged }: TicketKeysDependencies) {
    this.#log = log
    this.#onFileChanged = onFileChanged
    this.#own = new OwnTicketKeys(new DirectoryStorage(stateDir), {
      changed: onChanged,
      failed: (reason) => log.warn({ reason }, NOT_KEPT),
    })
  }

  async start(): Promise<void> {
    if (!acceptsFormerTicketKeys()) this.#log.warn(ONLY_ONE)
    await this.#own.start()
  }

  async stop(): Promise<void> {
    this.follow(null)
    await this.#own.stop()
  }

  /** Looks at this file once a minute, also where a link leads to another one. Null: there is none. */
  follow(file: string | null): void {
    if (file === this.#file) return
    if (this.#file !== null) unwatchFile(this.#file, this.#onFileChanged)
    this.#file = file
    this.#problem = null
    if (file !== null) watchFile(file, { interval: LOOK_MS, persistent: false }, this.#onFileChanged)
  }

  /** Hexadecimal; the first makes tickets, all are accepted. */
  of({ ticketKeys }: Prepared): readonly string[] {
    return ticketKeys ?? this.#own.current
  }

  /** The same with what the file says now; null: that is nothing new, or cannot be used, which is in the log. */
  reread(prepared: Prepared): Prepared | null {
    const file = this.#file
    if (file === null) return null
    try {
      const ticketKeys = readTicketKeys(file)
      this.#problem = null
      if (isDeepStrictEqual(ticketKeys, prepared.ticketKeys)) return null
      this.#log.info({ file }, READ)
      return { ...prepared, ticketKeys }
    } catch (error) {
      const reason = reasonOf(error)
      if (reason !== this.#problem) this.#log.error({ reason }, NOT_READ)
      this.#problem = reason
      return null
    }
  }

  /** Our own are made anew, without any of before: their sessions end. Those of a file are not ours. */
  async forget(): Promise<void> {
    await this.#own.forget()
  }
}

const ONLY_ONE = 'this Node.js accepts the newest key of session tickets only: all sessions end when it changes'
const NOT_KEPT = 'the keys of session tickets cannot be read or kept: clients make full handshakes after a restart'
const NOT_READ = 'the file with the keys of session tickets cannot be used: the present ones stay in use'
const READ = 'the file with the keys of session tickets has others'
