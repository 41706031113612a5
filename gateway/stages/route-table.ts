import type { Route } from '../../dns/contracts.ts'
import { lower } from '../../dns/name.ts'

/** Names at and below `suffix` go this way. */
export interface SuffixRoute {
  /** Wire form; the root is every name. */
  readonly suffix: Uint8Array
  readonly route: Route
}

/** FNV-1a, 32 bits: suffixes are the operator's, so nobody can make them meet. */
const OFFSET_BASIS = 0x811c_9dc5
const PRIME = 0x0100_0193
/** RFC 1035 §3.1: 255 octets have no more labels. */
const MAX_LABELS = 128

/** Which way a name goes: that of the longest suffix it ends with. Looking it up allocates nothing. */
export class RouteTable {
  readonly #fallback: Route
  /** By hash of the suffix. */
  readonly #suffixes = new Map<number, readonly SuffixRoute[]>()
  /** Labels of the longest suffix: names are looked at no further. */
  readonly #depth: number
  /** Offsets of the labels of the name at hand. */
  readonly #labels = new Uint16Array(MAX_LABELS)

  constructor(routes: readonly SuffixRoute[], fallback: Route) {
    const folded = routes.map(({ suffix, route }) => ({ suffix: suffix.map(lower), route }))
    this.#fallback = folded.find(({ suffix }) => suffix.length === 1)?.route ?? fallback
    let depth = 0
    for (const entry of folded) {
      const count = this.#readLabels(entry.suffix, 0)
      let hash = OFFSET_BASIS
      for (let i = count - 1; i >= 0; i--) hash = extend(hash, entry.suffix, this.#labels[i] as number)
      if (count > 0) this.#suffixes.set(hash, [...(this.#suffixes.get(hash) ?? []), entry])
      depth = Math.max(depth, count)
    }
    this.#depth = depth
  }

  /** The way of the uncompressed name at `at`. */
  find(wire: Uint8Array, at: number): Route {
    if (this.#depth === 0) return this.#fallback
    const count = this.#readLabels(wire, at)
    const last = Math.max(0, count - this.#depth)
    let route = this.#fallback
    let hash = OFFSET_BASIS
    for (let i = count - 1; i >= last; i--) {
      const label = this.#labels[i] as number
      hash = extend(hash, wire, label)
      for (const entry of this.#suffixes.get(hash) ?? NONE) if (isAt(entry.suffix, wire, label)) route = entry.route
    }
    return route
  }

  #readLabels(wire: Uint8Array, at: number): number {
    let count = 0
    for (let i = at; wire[i] !== 0; i += 1 + (wire[i] as number)) this.#labels[count++] = i
    return count
  }
}

const NONE: readonly SuffixRoute[] = []

/** The hash of a name with one more label in front. */
function extend(hash: number, wire: Uint8Array, label: number): number {
  const end = label + 1 + (wire[label] as number)
  for (let i = label; i < end; i++) hash = Math.imul(hash ^ lower(wire[i] as number), PRIME)
  return hash
}

/** Whether the name at `at` is `suffix`, the root label left out. */
function isAt(suffix: Uint8Array, wire: Uint8Array, at: number): boolean {
  if (wire[at + suffix.length - 1] !== 0) return false
  for (let i = 0; i < suffix.length - 1; i++) if (lower(wire[at + i] as number) !== suffix[i]) return false
  return true
}
