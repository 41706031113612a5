import { Answer, type AnswerBody, type AnswerSource } from '../../dns/answer.ts'
import { putU32, u32 } from '../../dns/bytes.ts'
import { NO_EDE } from '../../dns/failure.ts'
import { GRANULE, MAX_ENTRY_BYTES } from './geometry.ts'
import { type CacheKey, networkLengthIn } from './key.ts'

/** Words of an entry; behind them the name, where it is for one the network and SCOPE, the offsets of the TTLs, and the records. */
export const Word = {
  CHECKSUM: 0,
  /** Octets of the whole entry; above, 16 bits of hash: where it stands in the directory. */
  SIZE: 1,
  /** As in the key. */
  FACTS: 2,
  TYPE: 3,
  SPACE: 4,
  /** Seconds. */
  LIFETIME: 5,
  /** Milliseconds, a double. */
  AT: 6,
  /** RCODE; above, the reason of a failure. */
  RCODE: 8,
  /** Answers; above, authorities. */
  COUNTS: 9,
  /** Additional records; above, TTLs. */
  MORE_COUNTS: 10,
  /** Octets of the records; above, those before the additional section. */
  LENGTHS: 11,
  NAME: 12,
} as const

const NO_TTLS = new Uint16Array(0)
const NO_TEXT = new Uint8Array(0)
export const MIN_ENTRY_BYTES = 4 * (Word.NAME + 1)

/** An entry to be stored. */
export interface EntryFacts {
  readonly rcode: number
  /** Why there is no answer, RFC 8914 INFO-CODE; 0 for an answer. */
  readonly reason: number
  /** RFC 7871; counts where the key has a network. */
  readonly scope: number
  /** Milliseconds at which the TTLs were true. */
  readonly at: number
  /** Seconds. */
  readonly lifetime: number
  /** Null for a failure. */
  readonly body: AnswerBody | null
}

/**
 * One entry outside the shared memory: written here before it is stored, copied here before it is believed. JavaScript has no
 * fences: what stands in the shared memory may be half of one entry and half of another, and the checksum tells.
 */
export class Entry {
  readonly words: Int32Array
  readonly #octets: Uint8Array
  readonly #halves: Uint16Array
  readonly #times: Float64Array
  readonly #seed: number

  /** `seed`: a secret, so that nobody can write records that look like an entry. */
  constructor(seed: number) {
    const memory = new ArrayBuffer(MAX_ENTRY_BYTES)
    this.words = new Int32Array(memory)
    this.#octets = new Uint8Array(memory)
    this.#halves = new Uint16Array(memory)
    this.#times = new Float64Array(memory)
    this.#seed = seed | 0
  }

  get size(): number {
    return this.#halves[2 * Word.SIZE] as number
  }

  /** Milliseconds at which the TTLs were true. */
  get at(): number {
    return this.#times[Word.AT / 2] as number
  }

  /** Seconds. */
  get lifetime(): number {
    return this.words[Word.LIFETIME] as number
  }

  get rcode(): number {
    return this.#halves[2 * Word.RCODE] as number
  }

  get reason(): number {
    return this.#halves[2 * Word.RCODE + 1] as number
  }

  /** Milliseconds at which it ceases to be true. */
  get end(): number {
    return this.at + this.lifetime * 1000
  }

  /** Writes an entry; false when it is too large. */
  write(key: CacheKey, { rcode, reason, scope, at, lifetime, body }: EntryFacts): boolean {
    const { words } = this
    const network = Word.NAME + ((key.nameLength + 3) >>> 2)
    const ttls = body === null ? NO_TTLS : body.ttls
    const ttlsAt = network + networkWords(key.facts)
    const records = 4 * (ttlsAt + ((ttls.length + 1) >>> 1))
    const length = body === null ? 0 : body.end - body.start
    const size = (records + length + GRANULE - 1) & -GRANULE
    if (size > MAX_ENTRY_BYTES) return false
    words[Word.SIZE] = size | (key.slot << 16) | (key.tag << 16)
    words[Word.FACTS] = key.facts
    words[Word.TYPE] = key.type
    words[Word.SPACE] = key.space
    words[Word.LIFETIME] = lifetime
    this.#times[Word.AT / 2] = at
    words[Word.RCODE] = rcode | (reason << 16)
    words[Word.COUNTS] = body === null ? 0 : body.answers | (body.authorities << 16)
    words[Word.MORE_COUNTS] = body === null ? 0 : body.additionals | (ttls.length << 16)
    words[Word.LENGTHS] = body === null ? 0 : length | ((body.additional - body.start) << 16)
    for (let i = Word.NAME; i < network; i++) words[i] = key.name[i - Word.NAME] as number
    if (ttlsAt > network) {
      words[network] = key.networkHigh
      words[network + 1] = key.networkLow | scope
    }
    if (body !== null) {
      for (let i = 0; i < ttls.length; i++) this.#halves[2 * ttlsAt + i] = (ttls[i] as number) - body.start
      this.#octets.set(body.bytes.subarray(body.start, body.end), records)
    }
    words[Word.CHECKSUM] = this.#checksum(size / 4)
    return true
  }

  /** Takes the entry at `at`, in words, of a page that ends at `end`; false when it is none, or not whole. */
  load(memory: Int32Array, at: number, end: number): boolean {
    const size = (memory[at + Word.SIZE] as number) & 0xffff
    if (size < MIN_ENTRY_BYTES || size > MAX_ENTRY_BYTES || (size & (GRANULE - 1)) !== 0 || at + size / 4 > end) return false
    const { words } = this
    const count = size / 4
    let sum = this.#seed
    for (let i = 1; i < count; i++) {
      const word = memory[at + i] as number
      words[i] = word
      sum = blend(sum, word)
    }
    words[Word.CHECKSUM] = memory[at] as number
    return sum === words[Word.CHECKSUM] && this.size === size
  }

  /** Whether it is the entry of `key`. */
  isOf(key: CacheKey): boolean {
    const { words } = this
    if (words[Word.TYPE] !== key.type || words[Word.FACTS] !== key.facts || words[Word.SPACE] !== key.space) return false
    return this.isNamed(key) && this.#isForNetwork(key)
  }

  /** Whether it is about the name of `key`. */
  isNamed({ name, nameLength }: CacheKey): boolean {
    if (((this.words[Word.FACTS] as number) & 0xff) !== nameLength) return false
    for (let i = 0; 4 * i < nameLength; i++) if (this.words[Word.NAME + i] !== name[i]) return false
    return true
  }

  /** Whether it is about `suffix`, a name in small letters, or about a name below it. */
  isWithin(suffix: Uint8Array): boolean {
    const octets = this.#octets
    const from = 4 * Word.NAME + this.#nameLength - suffix.length
    let at = 4 * Word.NAME
    while (at < from) at += 1 + (octets[at] as number)
    return at === from && suffix.every((octet, i) => octet === octets[at + i])
  }

  /**
   * The answer as it is at `now`: its TTLs have aged, or are all `ttl` where that is given (seconds). It borrows this entry until
   * that holds another one.
   */
  answer({ now, source, ede = NO_EDE, ttl = -1 }: { now: number; source: AnswerSource; ede?: number; ttl?: number }): Answer {
    const octets = this.#octets
    const halves = this.#halves
    const age = Math.max(0, Math.floor((now - this.at) / 1000))
    const ttls = halves[2 * Word.MORE_COUNTS + 1] as number
    const ttlsAt = 2 * (this.#networkAt + networkWords(this.words[Word.FACTS] as number))
    const start = 2 * ttlsAt + 4 * ((ttls + 1) >>> 1)
    for (let i = 0; i < ttls; i++) {
      const at = start + (halves[ttlsAt + i] as number)
      putU32(octets, at, ttl >= 0 ? ttl : Math.max(0, u32(octets, at) - age))
    }
    const body: AnswerBody = {
      bytes: octets,
      start,
      additional: start + (halves[2 * Word.LENGTHS + 1] as number),
      end: start + (halves[2 * Word.LENGTHS] as number),
      answers: halves[2 * Word.COUNTS] as number,
      authorities: halves[2 * Word.COUNTS + 1] as number,
      additionals: halves[2 * Word.MORE_COUNTS] as number,
      ttls: NO_TTLS,
      freshness: ttl >= 0 ? ttl : this.lifetime - age,
      at: Number.POSITIVE_INFINITY,
    }
    return new Answer({ rcode: this.rcode, source, ede, edeText: NO_TEXT, scope: this.scope, body })
  }

  /** RFC 7871: how many bits of the network the answer depends on; 0 where it is for no network. */
  get scope(): number {
    return networkWords(this.words[Word.FACTS] as number) === 0 ? 0 : (this.words[this.#networkAt + 1] as number) & SCOPE_MASK
  }

  /** Its first 32 bits, and those behind them. */
  get network(): readonly [high: number, low: number] {
    if (networkWords(this.words[Word.FACTS] as number) === 0) return [0, 0]
    return [this.words[this.#networkAt] as number, (this.words[this.#networkAt + 1] as number) & ~SCOPE_MASK]
  }

  #isForNetwork({ facts, networkHigh, networkLow }: CacheKey): boolean {
    if (networkWords(facts) === 0) return true
    const at = this.#networkAt
    return this.words[at] === networkHigh && ((this.words[at + 1] as number) & ~SCOPE_MASK) === networkLow
  }

  get #networkAt(): number {
    return Word.NAME + ((this.#nameLength + 3) >>> 2)
  }

  get #nameLength(): number {
    return (this.words[Word.FACTS] as number) & 0xff
  }

  #checksum(count: number): number {
    let sum = this.#seed
    for (let i = 1; i < count; i++) sum = blend(sum, this.words[i] as number)
    return sum
  }
}

/** A network has two words; of the second, the last eight bits are beyond any network, and say the SCOPE. */
const SCOPE_MASK = 0xff

function networkWords(facts: number): number {
  return networkLengthIn(facts) === 0 ? 0 : 2
}

/** A step of MurmurHash3: one to one in `word`, so that a single changed word always shows, and several show but for chance. */
function blend(sum: number, word: number): number {
  word = Math.imul(word, 0xcc9e_2d51)
  sum ^= Math.imul((word << 15) | (word >>> 17), 0x1b87_3593)
  return (Math.imul((sum << 13) | (sum >>> 19), 5) + 0xe654_6b64) | 0
}
