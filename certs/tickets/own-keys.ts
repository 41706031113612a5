import { reasonOf } from '../../dns/operational-error.ts'
import { PRIVATE_MODE } from '../disk.ts'
import type { Storage } from '../storage.ts'
import { TICKET_KEYS, TICKET_ROTATION_MS } from '../tls-policy.ts'
import { flawOfTicketKey, makeTicketKey } from './key.ts'

const PATH = 'secrets/tickets'
/** How often the age of the newest key is looked at: timers do not run while a machine sleeps. */
const LOOK_MS = 60_000

/** Who hears of what becomes of the keys. */
export interface TicketKeysObserver {
  /** There are others, and they are to be served with. */
  changed(): void
  /** They cannot be read, or not be kept: sessions end earlier than they need to. For another reason than before. */
  failed(reason: string): void
}

/** The keys of one gateway's session tickets: they change by themselves, and outlive it in the storage. */
export class OwnTicketKeys {
  readonly #storage: Storage
  readonly #observer: TicketKeysObserver
  #keys: readonly DatedKey[] = []
  #problem: string | null = null
  #timer: NodeJS.Timeout | null = null

  constructor(storage: Storage, observer: TicketKeysObserver) {
    this.#storage = storage
    this.#observer = observer
  }

  /** Takes those of before, where they are still good. Damage costs nothing but full handshakes, so it is no error. */
  async start(): Promise<void> {
    this.#keys = await this.#load()
    if (this.#rotate()) await this.#save()
    this.#timer = setInterval(() => void this.#look(), LOOK_MS).unref()
  }

  /** Hexadecimal; the first makes tickets. None before the start. */
  get current(): readonly string[] {
    return this.#keys.map(({ key }) => key)
  }

  /** From now on no ticket is good that was given before. */
  async forget(): Promise<void> {
    this.#keys = [newKey()]
    this.#observer.changed()
    await this.#save()
  }

  /** Resolves when what is to be kept has been written. */
  async stop(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer)
    await this.#storage.exclusively(PATH, async () => {})
  }

  async #look(): Promise<void> {
    if (!this.#rotate()) return
    this.#observer.changed()
    await this.#save()
  }

  /** False: the keys are as young as they have to be. */
  #rotate(): boolean {
    const now = Date.now()
    const kept = this.#keys.filter(({ madeAt }) => now >= madeAt && now - madeAt < TICKET_KEYS * TICKET_ROTATION_MS)
    const isYoung = kept[0] !== undefined && now - kept[0].madeAt < TICKET_ROTATION_MS
    if (isYoung && kept.length === this.#keys.length) return false
    this.#keys = isYoung ? kept : [newKey(), ...kept.slice(0, TICKET_KEYS - 1)]
    return true
  }

  async #load(): Promise<readonly DatedKey[]> {
    try {
      return parse((await this.#storage.read(PATH)) ?? '')
    } catch (error) {
      this.#fail(reasonOf(error))
      return []
    }
  }

  async #save(): Promise<void> {
    try {
      // what is newest by then, if several wait for each other
      await this.#storage.exclusively(PATH, () => this.#storage.write(PATH, { text: format(this.#keys), mode: PRIVATE_MODE }))
      this.#problem = null
    } catch (error) {
      this.#fail(reasonOf(error))
    }
  }

  #fail(reason: string): void {
    if (reason !== this.#problem) this.#observer.failed(reason)
    this.#problem = reason
  }
}

interface DatedKey {
  /** Milliseconds since 1970. */
  readonly madeAt: number
  /** Hexadecimal. */
  readonly key: string
}

function newKey(): DatedKey {
  return { madeAt: Date.now(), key: makeTicketKey() }
}

/** A line for each key: when it was made, and the key; the newest first. */
function format(keys: readonly DatedKey[]): string {
  return keys.map(({ madeAt, key }) => `${new Date(madeAt).toISOString()} ${key}\n`).join('')
}

/** Throws an Error with the place and what is wrong there, without what it holds. */
function parse(text: string): readonly DatedKey[] {
  const lines = text.split('\n').filter((line) => line !== '')
  if (lines.length > TICKET_KEYS) throw new Error(`Cannot use ${PATH}: expected at most ${TICKET_KEYS} lines: received ${lines.length}`)
  return lines.map((line, i) => {
    const [date = '', key = '', ...more] = line.split(' ')
    const madeAt = Date.parse(date)
    const flaw = Number.isNaN(madeAt) || more.length > 0 ? 'expected a time and a key: received others' : flawOfTicketKey(key)
    if (flaw !== null) throw new Error(`Cannot use ${PATH}:${i + 1}: ${flaw}`)
    return { madeAt, key }
  })
}
