import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import { crc32 } from 'node:zlib'
import { reasonOf } from '../../dns/operational-error.ts'
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
  SLOTS,
} from './geometry.ts'
import { type CacheMemory, createCacheMemory } from './memory.ts'
import { PageLocks } from './page-locks.ts'
import { END_OF_RECORDS, HEADER_BYTES, RECORD_BYTES, readHeader, type SnapshotHeader } from './snapshot-format.ts'

export interface OpenCacheOptions {
  /** Of the calling thread's locks, see PageLocks. */
  readonly owner: number
  /** As in CacheMemoryOptions. */
  readonly bytes: number
  readonly fingerprint: number
  /** Milliseconds of the clock, and of the wall clock in the same moment. */
  readonly now: number
  readonly wallClock: number
}

export interface OpenedCache {
  readonly memory: CacheMemory
  /** What is to be restored to the memory; null for an empty one. */
  readonly snapshot: Snapshot | null
  /** Why there is a snapshot that is not used. */
  readonly refused: string | null
}

export interface Restored {
  readonly entries: number
  readonly ageMs: number
}

/**
 * The memory of the cache, made for the snapshot at `path` where there is one that can be used, as far as its header tells.
 * Called before any thread has the memory.
 */
export function openCacheMemory(path: string | null, options: OpenCacheOptions): OpenedCache {
  let refused: string | null = null
  try {
    const snapshot = path === null ? null : openSnapshot(path, options)
    if (snapshot !== null) return { memory: snapshot.memory, snapshot, refused }
  } catch (error) {
    refused = reasonOf(error)
  }
  const secret = crypto.getRandomValues(new Uint32Array(4))
  return { memory: createCacheMemory({ bytes: options.bytes, secret, clockOffset: 0 }), snapshot: null, refused }
}

/** Null when there is no snapshot; throws an Error whose message is the bare reason. */
function openSnapshot(path: string, options: OpenCacheOptions): Snapshot | null {
  const fd = openOwn(path)
  if (fd === null) return null
  try {
    return new Snapshot(fd, options)
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

/**
 * A snapshot whose header is in order. Reading the rest takes a moment, in which threads may have the memory already: it is
 * locked, so that they find what is there and store nothing. Entries are not looked at: each has a checksum of its own, which
 * every look-up verifies. What a look-up and a writer take for granted of a page is checked here.
 */
export class Snapshot {
  readonly memory: CacheMemory
  readonly #fd: number
  readonly #file: SequentialFile
  readonly #ageMs: number
  readonly #checksum: number
  readonly #locks: PageLocks
  #isOpen = true

  constructor(fd: number, options: OpenCacheOptions) {
    this.#fd = fd
    this.#file = new SequentialFile(fd)
    const header = readHeader(this.#file.take(HEADER_BYTES))
    this.#checksum = header.checksum
    this.#ageMs = Math.max(0, options.wallClock - header.wallClock) // the wall clock may have gone back
    const clockOffset = header.time + this.#ageMs - options.now
    this.memory = createCacheMemory({ bytes: options.bytes, secret: header.secret, clockOffset })
    const { pages, locks } = this.memory.answers
    new Uint8Array(this.memory.audiences).set(header.audiences)
    requireSame(header, { pages: pages.byteLength / PAGE_BYTES, fingerprint: options.fingerprint >>> 0 })
    this.#locks = new PageLocks(locks, options.owner)
    this.#locks.lockAll()
  }

  /** Fills the memory, or empties it again and throws an Error whose message is the bare reason. */
  restore(): Restored {
    const { pages } = this.memory.answers
    try {
      return { entries: readRecords(this.#file, pages, this.#checksum), ageMs: this.#ageMs }
    } catch (error) {
      new Uint8Array(pages).fill(0)
      throw error
    } finally {
      this.#locks.unlockAll()
      this.close()
    }
  }

  close(): void {
    if (this.#isOpen) closeSync(this.#fd)
    this.#isOpen = false
  }
}

/** A file that nobody else could have written or read. Opening waits for nobody (a FIFO), and follows no link. */
function openOwn(path: string): number | null {
  let fd: number
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : null
    if (code === 'ENOENT') return null
    throw code === 'ELOOP' ? new Error('it is not a regular file', { cause: error }) : error
  }
  const reason = distrust(fd)
  if (reason === null) return fd
  closeSync(fd)
  throw new Error(reason)
}

function distrust(fd: number): string | null {
  const stat = fstatSync(fd)
  if (!stat.isFile()) return 'it is not a regular file'
  if (stat.uid !== process.geteuid?.()) return `it belongs to another user: ${stat.uid}`
  if ((stat.mode & 0o077) !== 0) return `it is open to other users: mode ${(stat.mode & 0o777).toString(8)}`
  return null
}

function requireSame(header: SnapshotHeader, { pages, fingerprint }: Pick<SnapshotHeader, 'pages' | 'fingerprint'>): void {
  if (header.pages !== pages) throw new Error(`it is for a cache of another size: ${header.pages} pages instead of ${pages}`)
  if (header.fingerprint !== fingerprint) throw new Error('it is of another configuration')
}

/** Returns how many entries there are. */
function readRecords(file: SequentialFile, pages: SharedArrayBuffer, checksum: number): number {
  const memory = new Uint8Array(pages)
  const words = new Int32Array(pages)
  const halves = new Uint16Array(pages)
  let entries = 0
  for (let records = 0; ; records++) {
    const head = file.take(RECORD_BYTES)
    const [expected, page, length] = [head.readUInt32LE(0), head.readUInt32LE(4), head.readUInt32LE(8)]
    checksum = crc32(head.subarray(4), checksum)
    const isEnd = page === END_OF_RECORDS
    const octets = file.take(isEnd ? 0 : Math.min(length, PAGE_BYTES))
    checksum = crc32(octets, checksum)
    if (checksum !== expected) throw new Error(`it is damaged: the checksum of record ${records} is wrong`)
    if (isEnd) {
      if (length !== records || !file.isAtEnd) throw new Error('it is damaged: its end is not where it says')
      return entries
    }
    const at = page * PAGE_WORDS
    // one that is filled already comes twice
    if (words[at + PAGE_END] !== 0) throw new Error(`it is damaged: there is no room for page ${page}`)
    memory.set(octets, page * PAGE_BYTES)
    if (words[at + PAGE_END] !== length || !isSound(words, halves, page)) throw new Error(`it is damaged: page ${page} is not sound`)
    entries += words[at + PAGE_COUNT] as number
  }
}

/** Whether all that the directory of a page says is within the page, and it counts its entries right. */
function isSound(words: Int32Array, halves: Uint16Array, page: number): boolean {
  const end = words[page * PAGE_WORDS + PAGE_END] as number
  if (end < FIRST_ENTRY || end > PAGE_BYTES || end % GRANULE !== 0) return false
  const directory = (page * PAGE_BYTES + DIRECTORY) / 2
  let entries = 0
  // by index: a million slots, before anything is compiled
  for (let i = directory; i < directory + SLOTS; i++) {
    const slot = halves[i] as number
    if (slot === 0) continue
    const at = (slot & OFFSET_MASK) * GRANULE
    if (at < FIRST_ENTRY || at >= end) return false
    entries++
  }
  return entries === words[page * PAGE_WORDS + PAGE_COUNT] && entries <= MAX_ENTRIES
}

const PIECE_BYTES = 1_048_576

/** A file from its beginning to its end, never much of it at once. */
class SequentialFile {
  readonly #fd: number
  readonly #buffer = Buffer.allocUnsafe(PIECE_BYTES)
  #at = 0
  #end = 0

  constructor(fd: number) {
    this.#fd = fd
  }

  get isAtEnd(): boolean {
    if (this.#at === this.#end) this.#refill()
    return this.#at === this.#end
  }

  /** The next octets, borrowed until the next call. */
  take(length: number): Buffer {
    if (this.#end - this.#at < length) this.#refill()
    if (this.#end - this.#at < length) throw new Error('it is truncated')
    this.#at += length
    return this.#buffer.subarray(this.#at - length, this.#at)
  }

  #refill(): void {
    this.#buffer.copyWithin(0, this.#at, this.#end)
    this.#end -= this.#at
    this.#at = 0
    while (this.#end < PIECE_BYTES) {
      const read = readSync(this.#fd, this.#buffer, this.#end, PIECE_BYTES - this.#end, null)
      if (read === 0) return
      this.#end += read
    }
  }
}
