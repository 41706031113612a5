import { Entry } from './entry.ts'
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

/** Look-ups that are remembered of an entry: enough to tell the popular from the rest, few enough to be forgotten soon. */
export const MAX_POPULARITY = 7
/** Room made at a time beyond what is needed: rewriting a page for every entry would cost more than it keeps. */
const SLACK_BYTES = 512
const SLACK_ENTRIES = 8

const Fate = { KEPT: 0, GONE: 1, /** Proved its worth: goes to the end of the queue. */ AGAIN: 2 } as const

/**
 * Writes pages anew, without the entries that have to go; the page is locked. What is replaced goes first, then what is too
 * old for anything, then what is past its end, then, in the order they came, what nobody asked for since its last turn.
 */
export class PageRewriter {
  readonly #words: Int32Array
  readonly #halves: Uint16Array
  readonly #octets: Uint8Array
  readonly #entry: Entry
  readonly #keepMs: number
  /** The new page. */
  readonly #draft = new Int32Array(PAGE_WORDS)
  readonly #draftHalves = new Uint16Array(this.#draft.buffer)
  readonly #draftOctets = new Uint8Array(this.#draft.buffer)
  /** The entries of the page at hand in the order they came: offset, above 8 bits of slot. */
  readonly #order = new Uint32Array(SLOTS)
  readonly #sizes = new Uint16Array(SLOTS)
  readonly #ends = new Float64Array(SLOTS)
  readonly #popularity = new Uint8Array(SLOTS)
  readonly #fates = new Uint8Array(SLOTS)
  #count = 0
  #bytes = 0
  #left = 0

  constructor(pages: SharedArrayBuffer, { seed, keepMs }: { seed: number; keepMs: number }) {
    this.#words = new Int32Array(pages)
    this.#halves = new Uint16Array(pages)
    this.#octets = new Uint8Array(pages)
    this.#entry = new Entry(seed)
    this.#keepMs = keepMs
  }

  /** Makes room for `size` octets; returns how many entries had to go that were still good. */
  makeRoom(page: number, size: number, now: number): number {
    this.#read(page)
    const bytes = PAGE_BYTES - FIRST_ENTRY - size - SLACK_BYTES
    const entries = MAX_ENTRIES - SLACK_ENTRIES
    this.#dropEnded(now - this.#keepMs, 0, MAX_ENTRIES)
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
      const at = page * PAGE_WORDS + (((this.#order[i] as number) & OFFSET_MASK) * GRANULE) / 4
      if (this.#entry.load(this.#words, at, (page + 1) * PAGE_WORDS) && isGone(this.#entry)) this.#drop(i)
    }
    const gone = before - this.#left
    if (gone > 0) this.#write(page)
    return gone
  }

  #read(page: number): void {
    const directory = (page * PAGE_BYTES + DIRECTORY) / 2
    let count = 0
    for (let slot = 0; slot < SLOTS; slot++) {
      const value = this.#halves[directory + slot] as number
      if (value !== 0) this.#order[count++] = ((value & OFFSET_MASK) << 8) | slot
    }
    this.#order.subarray(0, count).sort()
    this.#count = this.#left = 0
    this.#bytes = 0
    for (let i = 0; i < count; i++) {
      const offset = (this.#order[i] as number) >>> 8
      const slot = (this.#order[i] as number) & (SLOTS - 1)
      const at = page * PAGE_WORDS + (offset * GRANULE) / 4
      // one that is not whole, whatever the cause, is not carried on
      if (!this.#entry.load(this.#words, at, (page + 1) * PAGE_WORDS)) continue
      const next = this.#count++
      this.#order[next] = offset
      this.#sizes[next] = this.#entry.size
      this.#ends[next] = this.#entry.end
      this.#popularity[next] = this.#octets[page * PAGE_BYTES + POPULARITY + slot] as number
      this.#fates[next] = Fate.KEPT
      this.#bytes += this.#entry.size
    }
    this.#left = this.#count
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
    const end = this.#draft[PAGE_END] as number
    this.#draft[PAGE_COUNT] = this.#left
    this.#octets.set(this.#draftOctets.subarray(0, end), page * PAGE_BYTES)
  }

  #append(page: number, i: number): void {
    const from = page * PAGE_WORDS + ((this.#order[i] as number) * GRANULE) / 4
    const end = this.#draft[PAGE_END] as number
    const words = (this.#sizes[i] as number) / 4
    for (let word = 0; word < words; word++) this.#draft[end / 4 + word] = this.#words[from + word] as number
    this.#draft[PAGE_END] = end + 4 * words
    const hash = (this.#draft[end / 4 + 1] as number) >>> 16
    let slot = hash & (SLOTS - 1)
    while (this.#draftHalves[DIRECTORY / 2 + slot] !== 0) slot = (slot + 1) & (SLOTS - 1)
    this.#draftHalves[DIRECTORY / 2 + slot] = (hash & TAG_MASK) | (end / GRANULE)
    this.#draftOctets[POPULARITY + slot] = this.#popularity[i] as number
  }
}
