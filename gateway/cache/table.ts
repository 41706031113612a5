import { Entry, type EntryFacts } from './entry.ts'
import {
  DIRECTORY,
  FIRST_ENTRY,
  GRANULE,
  MAX_ENTRIES,
  OFFSET_MASK,
  PAGE_BYTES,
  PAGE_COUNT,
  PAGE_END,
  PAGE_WORDS,
  POPULARITY,
  SLOTS,
  TAG_MASK,
} from './geometry.ts'
import type { CacheKey } from './key.ts'
import { PageLocks } from './page-locks.ts'
import { MAX_POPULARITY, PageRewriter } from './page-rewriter.ts'

/** What the threads share. */
export interface TableMemory {
  readonly pages: SharedArrayBuffer
  readonly locks: SharedArrayBuffer
}

export const Stored = {
  YES: 0,
  TOO_LARGE: 1,
  /** Another thread was writing to the page. */ BUSY: 2,
  /** The table has no page. */ NOWHERE: 3,
} as const
export type Stored = (typeof Stored)[keyof typeof Stored]

export interface TableOptions {
  /** Of this thread's locks, see PageLocks. */
  readonly owner: number
  /** A secret, the same in every thread. */
  readonly seed: number
  /** How long an entry is worth keeping after its end, milliseconds. */
  readonly keepMs: number
}

/** A table of `bytes`, rounded down to whole pages. */
export function createTableMemory(bytes: number): TableMemory {
  const pages = Math.floor(bytes / (PAGE_BYTES + 4))
  return { pages: new SharedArrayBuffer(pages * PAGE_BYTES), locks: new SharedArrayBuffer(pages * 4) }
}

/**
 * The shared table, as one thread sees it. Reading takes no lock: what is found is copied, then verified. Writing locks one
 * page, or gives up. Bytes and times in, bytes out: no clock, no I/O.
 */
export class Table {
  /** What find() found. */
  readonly found: Entry
  /** How often it was asked for since it was last made to prove its worth; up to MAX_POPULARITY. */
  popularity = 0
  /** Entries that were pushed out for others, by this thread. */
  evictions = 0
  /** Copies that turned out not to be whole. */
  torn = 0
  /** What is to be stored, and what stands in its place: an answer may still be reading `found`. */
  readonly #draft: Entry
  readonly #old: Entry
  readonly #memory: Int32Array
  readonly #halves: Uint16Array
  readonly #octets: Uint8Array
  readonly #locks: PageLocks
  readonly #rewriter: PageRewriter
  readonly #pages: number

  constructor(memory: TableMemory, { owner, seed, keepMs }: TableOptions) {
    this.#memory = new Int32Array(memory.pages)
    this.#halves = new Uint16Array(memory.pages)
    this.#octets = new Uint8Array(memory.pages)
    this.#locks = new PageLocks(memory.locks, owner)
    this.#pages = memory.pages.byteLength / PAGE_BYTES
    this.found = new Entry(seed)
    this.#draft = new Entry(seed)
    this.#old = new Entry(seed)
    this.#rewriter = new PageRewriter(memory.pages, { seed, keepMs })
  }

  /** How long an entry is worth keeping after its end, milliseconds. */
  set keepMs(keepMs: number) {
    this.#rewriter.keepMs = keepMs
  }

  get pages(): number {
    return this.#pages
  }

  /** Whether there is an entry of `key`, whatever its age; then it is in `found`. */
  find(key: CacheKey): boolean {
    if (this.#pages === 0) return false
    const page = this.pageOf(key)
    const slot = this.#search(page, key, this.found)
    if (slot < 0) return false
    const popularity = page * PAGE_BYTES + POPULARITY + slot
    this.popularity = this.#octets[popularity] as number
    // not locked: a count that is lost, or that falls to another entry, does no harm
    if (this.popularity < MAX_POPULARITY) this.#octets[popularity] = this.popularity + 1
    return true
  }

  /** Keeps an entry of `key`, in place of the one that is there. */
  store(key: CacheKey, facts: EntryFacts, now: number): Stored {
    if (this.#pages === 0) return Stored.NOWHERE
    if (!this.#draft.write(key, facts)) return Stored.TOO_LARGE
    const page = this.pageOf(key)
    if (!this.#locks.tryLock(page)) return Stored.BUSY
    this.#insert(page, key, now)
    this.#locks.unlock(page)
    return Stored.YES
  }

  /** Where everything about the name of `key` is. */
  pageOf(key: CacheKey): number {
    return Math.floor((key.page / 0x1_0000_0000) * this.#pages)
  }

  /** How many entries a page has. Not locked: true for a moment that may be over. */
  countOf(page: number): number {
    return Math.min((this.#memory[page * PAGE_WORDS + PAGE_COUNT] as number) >>> 0, MAX_ENTRIES)
  }

  /** Octets in use of a page, 0 when nothing was ever stored there. */
  endOf(page: number): number {
    return Math.min((this.#memory[page * PAGE_WORDS + PAGE_END] as number) >>> 0, PAGE_BYTES)
  }

  /** Calls `visit` with each whole entry of a page; `popularity` is of that entry. Not locked. */
  visit(page: number, visit: (entry: Entry) => void): void {
    for (let slot = 0; slot < SLOTS; slot++) {
      if (!this.#loads(page, slot, this.found)) continue
      this.popularity = this.#octets[page * PAGE_BYTES + POPULARITY + slot] as number
      visit(this.found)
    }
  }

  /** Leaves out the entries of which `isGone` is true; how many those were, or -1 when another thread writes to the page. */
  remove(page: number, isGone: (entry: Entry) => boolean): number {
    if (!this.#locks.tryLock(page)) return -1
    try {
      return this.#rewriter.filter(page, isGone)
    } finally {
      this.#locks.unlock(page)
    }
  }

  /** Copies the octets in use of a page to `to`; how many those are, or -1 when another thread writes to it. */
  copyPage(page: number, to: Uint8Array): number {
    if (!this.#locks.tryLock(page)) return -1
    const end = this.endOf(page)
    to.set(this.#octets.subarray(page * PAGE_BYTES, page * PAGE_BYTES + end))
    this.#locks.unlock(page)
    return end
  }

  /** Clears what `owner`, who is dead, was writing to. */
  wipe(owner: number): void {
    for (const page of this.#locks.heldBy(owner)) {
      this.#octets.fill(0, page * PAGE_BYTES, page * PAGE_BYTES + FIRST_ENTRY)
      this.#locks.unlock(page)
    }
  }

  /** The slot of the entry of `key`, which is then in `into`; -1 when there is none. */
  #search(page: number, key: CacheKey, into: Entry): number {
    const directory = (page * PAGE_BYTES + DIRECTORY) / 2
    let slot = key.slot
    for (let probes = 0; probes < SLOTS; probes++) {
      const value = this.#halves[directory + slot] as number
      if (value === 0) return -1
      if ((value & TAG_MASK) === key.tag && this.#loads(page, slot, into) && into.isOf(key)) return slot
      slot = (slot + 1) & (SLOTS - 1)
    }
    return -1
  }

  #loads(page: number, slot: number, into: Entry): boolean {
    const value = this.#halves[(page * PAGE_BYTES + DIRECTORY) / 2 + slot] as number
    if (value === 0) return false
    const base = page * PAGE_WORDS
    if (into.load(this.#memory, base + (value & OFFSET_MASK) * (GRANULE / 4), base + PAGE_WORDS)) return true
    this.torn++
    return false
  }

  /** The page is locked. */
  #insert(page: number, key: CacheKey, now: number): void {
    const draft = this.#draft
    const base = page * PAGE_WORDS
    if (this.#memory[base + PAGE_END] === 0) this.#memory[base + PAGE_END] = FIRST_ENTRY
    let slot = this.#search(page, key, this.#old)
    if (!this.#hasRoom(page, slot)) {
      this.evictions += this.#rewriter.makeRoom(page, draft.size, now)
      slot = this.#search(page, key, this.#old)
    }
    const end = this.#memory[base + PAGE_END] as number
    const at = base + end / 4
    for (let i = 0; i < draft.size / 4; i++) this.#memory[at + i] = draft.words[i] as number
    this.#memory[base + PAGE_END] = end + draft.size
    if (slot < 0) {
      slot = this.#freeSlot(page, key.slot)
      this.#memory[base + PAGE_COUNT] = (this.#memory[base + PAGE_COUNT] as number) + 1
    }
    this.#halves[(page * PAGE_BYTES + DIRECTORY) / 2 + slot] = key.tag | (end / GRANULE)
  }

  #hasRoom(page: number, slot: number): boolean {
    const base = page * PAGE_WORDS
    const isFull = slot < 0 && (this.#memory[base + PAGE_COUNT] as number) >= MAX_ENTRIES
    return !isFull && (this.#memory[base + PAGE_END] as number) + this.#draft.size <= PAGE_BYTES
  }

  #freeSlot(page: number, from: number): number {
    const directory = (page * PAGE_BYTES + DIRECTORY) / 2
    let slot = from
    while (this.#halves[directory + slot] !== 0) slot = (slot + 1) & (SLOTS - 1)
    return slot
  }
}
