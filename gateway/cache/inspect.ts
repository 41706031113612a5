import { setImmediate as nextTurn } from 'node:timers/promises'
import { ADDRESS_LENGTH, IPV4_AT } from '../../dns/address.ts'
import { putU32 } from '../../dns/bytes.ts'
import { lower } from '../../dns/name.ts'
import { formatAddress } from '../../net/address.ts'
import { Audience } from './audience.ts'
import { type Entry, Word } from './entry.ts'
import { PAGE_BYTES } from './geometry.ts'
import { audienceIn, CacheKey, CHECKING_DISABLED, DNSSEC_OK, EVERY_TYPE, networkLengthIn } from './key.ts'
import { type CacheMemory, checksumSeed } from './memory.ts'
import { walkPages } from './page-walk.ts'
import { Table } from './table.ts'

/** What a question is known by, besides its name. */
export interface CachedQuestion {
  /** Null: the name is denied, whatever the type. */
  readonly type: number | null
  readonly class: number
  readonly dnssecOk: boolean
  readonly checkingDisabled: boolean
  /** For whom an answer is (RFC 7871); null: nobody was told a network. */
  readonly network: string | null
  readonly space: number
}

/** Seconds left are above 0 while the entry is still true. */
export interface CachedAnswer extends CachedQuestion {
  readonly rcode: number
  readonly secondsLeft: number
  /** Octets of the table. */
  readonly bytes: number
  /** How often it was asked for lately; up to MAX_POPULARITY. */
  readonly popularity: number
}

export interface CachedFailure extends CachedQuestion {
  /** RFC 8914 INFO-CODE. */
  readonly reason: number
  readonly secondsLeft: number
}

export interface CachedName {
  readonly answers: readonly CachedAnswer[]
  readonly failures: readonly CachedFailure[]
}

export interface Purged {
  /** Answers and failures that are gone. */
  readonly entries: number
  /** Pages that were not looked through: another thread was writing to them all the time. */
  readonly busyPages: number
}

export interface CacheStatistics {
  readonly entries: number
  /** Octets in use, what was replaced since its page was last written anew included; and of the table. */
  readonly bytesUsed: number
  readonly bytes: number
  readonly pages: number
}

/**
 * What the operator sees of the shared cache, and throws out of it. Other threads go on using it meanwhile: an answer that is
 * on its way while its name is thrown out comes in again. Names are valid and in wire form, uncompressed.
 */
export class CacheInspector {
  readonly #memory: CacheMemory
  readonly #answers: Table
  readonly #failures: Table

  /** `owner`: of this thread's locks, see PageLocks. */
  constructor(memory: CacheMemory, owner: number) {
    // it stores nothing
    const options = { owner, seed: checksumSeed(memory), keepMs: 0 }
    this.#memory = memory
    this.#answers = new Table(memory.answers, options)
    this.#failures = new Table(memory.failures, options)
  }

  /** All that is known of a name. `now`: milliseconds of the clock. */
  lookUp(name: Uint8Array, now: number): CachedName {
    const key = this.#keyOf(name)
    const time = now + this.#memory.clockOffset
    const answers: CachedAnswer[] = []
    visitName(this.#answers, key, (entry) => {
      const { popularity } = this.#answers
      answers.push({ ...questionOf(entry), rcode: entry.rcode, secondsLeft: (entry.end - time) / 1000, bytes: entry.size, popularity })
    })
    const failures: CachedFailure[] = []
    visitName(this.#failures, key, (entry) => {
      // one that lives for no time at all: the question has been answered since
      if (entry.lifetime > 0) failures.push({ ...questionOf(entry), reason: entry.reason, secondsLeft: (entry.end - time) / 1000 })
    })
    return { answers, failures }
  }

  /** Throws out a name, of every type. */
  purgeName(name: Uint8Array): Promise<Purged> {
    const key = this.#keyOf(name)
    return this.#purge(
      (table) => pagesOf(table, key),
      (entry) => entry.isNamed(key),
    )
  }

  /** Throws out a name and all that is below it. */
  purgeSuffix(name: Uint8Array): Promise<Purged> {
    const suffix = name.map(lower)
    return this.#purge(allPages, (entry) => entry.isWithin(suffix))
  }

  purgeAll(): Promise<Purged> {
    return this.#purge(allPages, () => true)
  }

  /** Of the answers. Other threads go on counting: true for a moment that may be over. */
  statistics(): CacheStatistics {
    const table = this.#answers
    let entries = 0
    let bytesUsed = 0
    for (let page = 0; page < table.pages; page++) {
      entries += table.countOf(page)
      bytesUsed += table.endOf(page)
    }
    return { entries, bytesUsed, bytes: table.pages * PAGE_BYTES, pages: table.pages }
  }

  /** Clears what `owner`, who is dead, was writing to. */
  wipe(owner: number): void {
    for (const table of [this.#answers, this.#failures]) table.wipe(owner)
  }

  #keyOf(name: Uint8Array): CacheKey {
    const key = new CacheKey(this.#memory.secret)
    key.readName(name, 0, name.length)
    return key
  }

  async #purge(pagesOf: (table: Table) => Iterable<number>, isGone: (entry: Entry) => boolean): Promise<Purged> {
    let entries = 0
    let busyPages = 0
    for (const table of [this.#answers, this.#failures]) {
      const visit = (page: number): boolean => {
        const gone = table.remove(page, isGone)
        entries += Math.max(gone, 0)
        return gone >= 0
      }
      busyPages += await walkPages(pagesOf(table), { visit, rest: () => nextTurn() })
    }
    return { entries, busyPages }
  }
}

function questionOf(entry: Entry): CachedQuestion {
  const { words } = entry
  const type = words[Word.TYPE] as number
  const flags = (words[Word.FACTS] as number) >>> 8
  return {
    type: (type & 0xffff) === EVERY_TYPE ? null : type & 0xffff,
    class: type >>> 16,
    dnssecOk: (flags & DNSSEC_OK) !== 0,
    checkingDisabled: (flags & CHECKING_DISABLED) !== 0,
    network: networkText(entry),
    space: (words[Word.SPACE] as number) >>> 0,
  }
}

function networkText({ words, network }: Entry): string | null {
  const facts = words[Word.FACTS] as number
  const audience = audienceIn(facts)
  if (audience === Audience.OFF) return null
  if (audience === Audience.EVERYBODY) return 'any'
  if (audience === Audience.WITHHELD) return 'none'
  const isIpv4 = audience === Audience.IPV4 || audience === Audience.IPV4_ONLY
  const isExact = audience === Audience.IPV4_ONLY || audience === Audience.IPV6_ONLY
  const address = new Uint8Array(ADDRESS_LENGTH)
  if (isIpv4) address.fill(0xff, IPV4_AT - 2, IPV4_AT)
  putU32(address, isIpv4 ? IPV4_AT : 0, network[0])
  if (!isIpv4) putU32(address, 4, network[1])
  return `${formatAddress(address)}/${networkLengthIn(facts)}${isExact ? ' exactly' : ''}`
}

function visitName(table: Table, key: CacheKey, visit: (entry: Entry) => void): void {
  for (const page of pagesOf(table, key)) table.visit(page, (entry) => entry.isNamed(key) && visit(entry))
}

/** The page of a name; a table may have none. */
function pagesOf(table: Table, key: CacheKey): readonly number[] {
  return table.pages === 0 ? [] : [table.pageOf(key)]
}

function allPages(table: Table): Iterable<number> {
  return Array(table.pages).keys()
}
