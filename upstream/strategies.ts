import { HEADER_LENGTH } from '../dns/header.ts'
import { lower } from '../dns/name.ts'
import type { Query } from '../dns/query.ts'
import type { Candidate } from './candidate.ts'

/** In which order the servers of a group are asked, among those that are equally healthy. */
export interface Strategy {
  /** Something that stays the same for all looks at one query. */
  turn(query: Query): number
  /** Who has the least comes first. `i`: position of the candidate in the group. */
  rank(candidate: Candidate, i: number, turn: number): number
  /** Whether a server that is much slower than the best is passed over (see Selection). */
  readonly avoidsSlow: boolean
  /** Whether all are asked now and then, beside the one that is chosen, to know how quick they are. */
  readonly explores: boolean
  /** Whether a second one is asked as soon as the first takes longer than it mostly does. */
  readonly hedges: boolean
}

const PLAIN = { avoidsSlow: true, explores: false, hedges: false }

/** The first that works. */
export function ordered(): Strategy {
  return { ...PLAIN, avoidsSlow: false, turn: () => 0, rank: (_, i) => i }
}

/** Each in turn. */
export function roundRobin(count: number): Strategy {
  let next = 0
  return {
    ...PLAIN,
    turn: () => {
      next = next + 1 < count ? next + 1 : 0
      return next
    },
    rank: (_, i, turn) => (i >= turn ? i - turn : i - turn + count),
  }
}

/** By chance, in proportion to the weights: the sample of Efraimidis and Spirakis (2006), which orders those that come after, too. */
export function weighted(): Strategy {
  let next = 0
  return {
    ...PLAIN,
    turn: () => {
      next = (next + 1) | 0
      return next
    },
    rank: ({ weight }, i, turn) => -Math.log(chance(mix(turn, i))) / weight,
  }
}

/** By smoothed round-trip time; those not known yet come last, and are tried beside the others. */
export function fastest(): Strategy {
  return { ...PLAIN, avoidsSlow: false, explores: true, turn: () => 0, rank: ({ watch }) => known(watch.rttMs) }
}

/** The fastest, and the next one besides when it takes longer than its p95. */
export function race(): Strategy {
  return { ...fastest(), hedges: true }
}

/** Always the same server for a name: rendezvous hashing (Thaler, Ravishankar 1998), so that one that comes or goes moves its own names only. */
export function hashed(): Strategy {
  return { ...PLAIN, turn: hashOfName, rank: ({ key, weight }, _i, turn) => -Math.log(chance(mix(turn, key))) / weight }
}

function known(rttMs: number): number {
  return Number.isNaN(rttMs) ? Number.MAX_VALUE : rttMs
}

/** FNV-1a, letters without case. */
function hashOfName({ wire, questionEnd }: Query): number {
  let hash = 0x811c_9dc5
  for (let i = HEADER_LENGTH; i < questionEnd - 4; i++) hash = Math.imul(hash ^ lower(wire[i] as number), 0x0100_0193)
  return hash
}

/** MurmurHash3's finalizer over both numbers: every bit of the result depends on all of theirs. */
function mix(a: number, b: number): number {
  let word = Math.imul(a ^ Math.imul(b + 1, 0x9e37_79b1), 0x85eb_ca6b)
  word = Math.imul(word ^ (word >>> 15), 0xc2b2_ae35)
  word ^= word >>> 13
  word = Math.imul(word, 0x27d4_eb2f)
  return (word ^ (word >>> 16)) >>> 0
}

/** Above 0, below 1. */
function chance(word: number): number {
  return (word + 0.5) / 2 ** 32
}
