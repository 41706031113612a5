import type { Behaviour, FaultyKind } from './faulty-server.ts'

/** `strategy` of the configuration; `weighted` and `hash` choose otherwise, and do the same when a server fails. */
export const STRATEGIES = ['ordered', 'round-robin', 'fastest', 'race'] as const
export type Strategy = (typeof STRATEGIES)[number]

/** What is wrong with one of three upstreams, the first of the list. */
export interface Fault {
  readonly name: string
  readonly kind: FaultyKind
  readonly behaviour: Behaviour
  /** From when on: before the gateway starts, from the first question, or in the middle of the load. */
  readonly from: 'start' | 'load' | 'middle'
  readonly bar: keyof typeof BARS | null
}

/** What was promised: at most this many milliseconds or times the healthy p99, and this share that waited; never one lost. */
export const BARS = {
  dead: { ratio: 2, waited: 0.01, p99: Number.POSITIVE_INFINITY, text: '≤ 2 × healthy; ≤ 1 % waited; none lost' },
  lossy: { ratio: Number.POSITIVE_INFINITY, waited: 1, p99: 1000, text: 'p99 ≤ 1 s; none lost' },
} as const

/** The runs that the others are compared with. */
export const HEALTHY: readonly Fault[] = [
  { name: 'healthy', kind: 'udp', behaviour: 'healthy', from: 'start', bar: null },
  { name: 'healthy', kind: 'tls', behaviour: 'healthy', from: 'start', bar: null },
]

export const FAULTS: readonly Fault[] = [
  { name: 'dead from the start', kind: 'udp', behaviour: 'silent', from: 'start', bar: 'dead' },
  { name: 'dead from the start', kind: 'tls', behaviour: 'silent', from: 'start', bar: 'dead' },
  { name: 'dies', kind: 'udp', behaviour: 'silent', from: 'middle', bar: 'dead' },
  { name: 'dies', kind: 'tls', behaviour: 'silent', from: 'middle', bar: 'dead' },
  { name: 'loses 20 %', kind: 'udp', behaviour: 'lossy', from: 'start', bar: 'lossy' },
  { name: 'takes 500 ms', kind: 'udp', behaviour: 'slow', from: 'start', bar: null },
  { name: '2 s dead, 2 s alive', kind: 'udp', behaviour: 'flapping', from: 'load', bar: null },
]
