import { Entry, MIN_ENTRY_BYTES, Word } from './entry.ts'
import {
  DIRECTORY,
  FIRST_ENTRY,
  GRANULE,
  MAX_ENTRIES,
  PAGE_BYTES,
  PAGE_COUNT,
  PAGE_END,
  PAGE_WORDS,
  POPULARITY,
  SLOTS,
  TAG_MASK,
} from './geometry.ts'

/** Look-ups that are remembered of an entry: enough to tell the popular from the rest, few enough to be forgotten soon. */
export const MAX_POPULARITY = 7
/** Room made at a time beyond what is needed: rewriting a page for every entry would cost more than it keeps. */
const SLACK_BYTES = 1024
const SLACK_ENTRIES = 12

const Fate = { KEPT: 0, GONE: 1, /** Proved its worth: goes to the end of the queue. */ AGAIN: 2 } as const

/**
 * Writes pages anew, without the entries that have to go; the page is locked. What is replaced goes first, then what is too
 * old for anything, then what is past its end, then, in the order they came, what nobody asked for since its last turn.
 */
export class PageRewriter {
  readonly #words: Int32Array
  readonly #halves: Uint16Array
  readonly #octets: Uint8Array
  readonly #times: Float64Array
  readonly #entry: Entry
  keepMs: number
  /** The new page. */
  readonly #draft = new Int32Array(PAGE_WORDS)
  readonly #draftHalves = new Uint16Array(this.#draft.buffer)
  readonly #draftOctets = new Uint8Array(this.#draft.buffer)
  /** The entries of the page at hand, in the order they came; offsets in octets. */
  readonly #offsets = new Uint16Array(SLOTS)
  readonly #sizes = new Uint16Array(SLOTS)
  readonly #ends = new Float64Array(SLOTS)
  readonly #popularity = new Uint8Array(SLOTS)
  readonly #fates = new Uint8Array(SLOTS)
  #count = 0
  #bytes = 0
  #left = 0
  /** Neighbours that are to be copied, in words, and where to. */
  #runStart = 0
  #runEnd = 0
  #runTo = 0

  constructor(pages: SharedArrayBuffer, { seed, keepMs }: { seed: number; keepMs: number }) {
    this.#words = new Int32Array(pages)
    this.#halves = new Uint16Array(pages)
    this.#octets = new Uint8Array(pages)
    this.#times = new Float64Array(pages)
    this.#entry = new Entry(seed)
    this.keepMs = keepMs
  }

  /** Makes room for `size` octets; returns how many entries had to go that were still good. */
  makeRoom(page: number, size: number, now: number): number {
    this.#read(page)
    const bytes = PAGE_BYTES - FIRST_ENTRY - size - SLACK_BYTES
    const entries = MAX_ENTRIES - SLACK_ENTRIES
    this.#dropEnded(now - this.keepMs, 0, MAX_ENTRIES)
    const before = this.#left
    this.#dropEnded(now, bytes, entries)
    // each round halves the popularity, so that the fourth finds none left
    while (this.#bytes > bytes || this.#left > entries) this.#dropUnpopular(bytes, entries)
    const evicted = before - this.#left
    this.#write(page)
    return evicted
  }

  /** Leaves out the entries of which `isGone` is true; returns how many. */
  filter(page: number, isGone: (entry: Entry) => boolean): number {
    this.#read(page)
    const before = this.#left
    for (let i = 0; i < this.#count; i++) {
      const at = page * PAGE_WORDS + (this.#offsets[i] as number) / 4
      if (this.#entry.load(this.#words, at, (page + 1) * PAGE_WORDS) && isGone(this.#entry)) this.#drop(i)
    }
    const gone = before - this.#left
    if (gone > 0) this.#write(page)
    return gone
  }

  /** Finds the entries one behind the other. Those that the directory does not lead to have been replaced. */
  #read(page: number): void {
    this.#count = 0
    this.#bytes = 0
    const base = page * PAGE_WORDS
    const end = this.#words[base + PAGE_END] as number
    for (let at = FIRST_ENTRY; at < end; ) {
      const word = this.#words[base + at / 4 + Word.SIZE] as number
      const size = word & 0xffff
      // what cannot be an entry ends the page: nothing is believed of what stands behind
      if (size < MIN_ENTRY_BYTES || (size & (GRANULE - 1)) !== 0 || at + size > end) break
      const slot = this.#slotOf(page, word >>> 16, at / GRANULE)
      if (slot >= 0) this.#take(page, at, { size, slot })
      at += size
    }
    this.#left = this.#count
  }

  /** The slot that leads to the entry at `offset`, in granules; -1 for none. */
  #slotOf(page: number, hash: number, offset: number): number {
    const directory = (page * PAGE_BYTES + DIRECTORY) / 2
    const sought = (hash & TAG_MASK) | offset
    for (let probes = 0, slot = hash & (SLOTS - 1); probes < SLOTS; probes++, slot = (slot + 1) & (SLOTS - 1)) {
      const value = this.#halves[directory + slot] as number
      if (value === sought) return slot
      if (value === 0) return -1
    }
    return -1
  }

  /** Nothing is verified here: whoever finds the entry will. */
  #take(page: number, at: number, { size, slot }: { size: number; slot: number }): void {
    const i = this.#count++
    const word = page * PAGE_WORDS + at / 4
    this.#offsets[i] = at
    this.#sizes[i] = size
    this.#ends[i] = (this.#times[(word + Word.AT) / 2] as number) + (this.#words[word + Word.LIFETIME] as number) * 1000
    this.#popularity[i] = this.#octets[page * PAGE_BYTES + POPULARITY + slot] as number
    this.#fates[i] = Fate.KEPT
    this.#bytes += size
  }

  #drop(i: number): void {
    this.#fates[i] = Fate.GONE
    this.#bytes -= this.#sizes[i] as number
    this.#left--
  }

  /** Drops what ended before `time`, the first come first, until no more than `bytes` and `entries` are left. */
  #dropEnded(time: number, bytes: number, entries: number): void {
    for (let i = 0; i < this.#count && (this.#bytes > bytes || this.#left > entries); i++) {
      if (this.#fates[i] === Fate.KEPT && (this.#ends[i] as number) <= time) this.#drop(i)
    }
  }

  #dropUnpopular(bytes: number, entries: number): void {
    for (let i = 0; i < this.#count && (this.#bytes > bytes || this.#left > entries); i++) {
      if (this.#fates[i] === Fate.GONE) continue
      const popularity = this.#popularity[i] as number
      if (popularity === 0) this.#drop(i)
      else {
        this.#popularity[i] = popularity >>> 1
        this.#fates[i] = Fate.AGAIN
      }
    }
  }

  #write(page: number): void {
    this.#draft.fill(0, 0, FIRST_ENTRY / 4)
    this.#draft[PAGE_END] = FIRST_ENTRY
    for (const fate of [Fate.KEPT, Fate.AGAIN]) {
      for (let i = 0; i < this.#count; i++) if (this.#fates[i] === fate) this.#append(page, i)
    }
    this.#copyRun()
    this.#draft[PAGE_COUNT] = this.#left
    this.#octets.set(this.#draftOctets.subarray(0, this.#draft[PAGE_END] as number), page * PAGE_BYTES)
  }

  #append(page: number, i: number): void {
    const from = page * PAGE_WORDS + (this.#offsets[i] as number) / 4
    const end = this.#draft[PAGE_END] as number
    const size = this.#sizes[i] as number
    if (from !== this.#runEnd) {
      this.#copyRun()
      this.#runStart = from
      this.#runTo = end / 4
    }
    this.#runEnd = from + size / 4
    this.#draft[PAGE_END] = end + size
    const hash = (this.#words[from + Word.SIZE] as number) >>> 16
    let slot = hash & (SLOTS - 1)
    while (this.#draftHalves[DIRECTORY / 2 + slot] !== 0) slot = (slot + 1) & (SLOTS - 1)
    this.#draftHalves[DIRECTORY / 2 + slot] = (hash & TAG_MASK) | (end / GRANULE)
    this.#draftOctets[POPULARITY + slot] = this.#popularity[i] as number
  }

  /** Neighbours that stay neighbours are copied at once. */
  #copyRun(): void {
    this.#draft.set(this.#words.subarray(this.#runStart, this.#runEnd), this.#runTo)
    this.#runStart = this.#runEnd = 0
  }
}
