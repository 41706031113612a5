import { lower } from '../../dns/name.ts'

/** `value` is for the names at and below `suffix`. */
export interface SuffixEntry<T> {
  /** Wire form; the root is every name. */
  readonly suffix: Uint8Array
  readonly value: T
}

/** FNV-1a, 32 bits: suffixes are the operator's and ours, so nobody can make them meet. */
const OFFSET_BASIS = 0x811c_9dc5
const PRIME = 0x0100_0193
/** RFC 1035 §3.1: 255 octets have no more labels. */
const MAX_LABELS = 128

/** What is noted for a name: that of the longest suffix it ends with. Looking it up allocates nothing. */
export class SuffixTable<T> {
  readonly #fallback: T
  /** By hash of the suffix; with the names above each, for where there is nothing a name is looked at no further. */
  readonly #suffixes = new Map<number, SuffixEntry<T>[]>()
  /** Offsets of the labels of the name at hand. */
  readonly #labels = new Uint16Array(MAX_LABELS)

  /** `fallback` is for names that end with none of the suffixes. */
  constructor(entries: readonly SuffixEntry<T>[], fallback: T) {
    const folded = entries.map(({ suffix, value }) => ({ suffix: suffix.map(lower), value }))
    const root = folded.find(({ suffix }) => suffix.length === 1)
    this.#fallback = root === undefined ? fallback : root.value
    for (const entry of folded) this.#add(entry)
  }

  /** For the uncompressed name at `at`. */
  find(wire: Uint8Array, at: number): T {
    let value = this.#fallback
    if (this.#suffixes.size === 0) return value
    let hash = OFFSET_BASIS
    for (let i = this.#readLabels(wire, at) - 1; i >= 0; i--) {
      const label = this.#labels[i] as number
      hash = extend(hash, wire, label)
      const entries = this.#suffixes.get(hash)
      if (entries === undefined) return value
      for (const entry of entries) if (isAt(entry.suffix, wire, label)) value = entry.value
    }
    return value
  }

  #add(entry: SuffixEntry<T>): void {
    let hash = OFFSET_BASIS
    for (let i = this.#readLabels(entry.suffix, 0) - 1; i >= 0; i--) {
      hash = extend(hash, entry.suffix, this.#labels[i] as number)
      const entries = this.#suffixes.get(hash) ?? []
      if (i === 0) entries.push(entry)
      this.#suffixes.set(hash, entries)
    }
  }

  #readLabels(wire: Uint8Array, at: number): number {
    let count = 0
    for (let i = at; wire[i] !== 0; i += 1 + (wire[i] as number)) this.#labels[count++] = i
    return count
  }
}

/** The hash of a name with one more label in front. */
function extend(hash: number, wire: Uint8Array, label: number): number {
  const end = label + 1 + (wire[label] as number)
  for (let i = label; i < end; i++) hash = Math.imul(hash ^ lower(wire[i] as number), PRIME)
  return hash
}

/** Whether the name at `at` is `suffix`. */
function isAt(suffix: Uint8Array, wire: Uint8Array, at: number): boolean {
  for (let i = 0; i < suffix.length; i++) if (lower(wire[at + i] as number) !== suffix[i]) return false
  return true
}
