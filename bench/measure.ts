import { cpus } from 'node:os'

const MICROSECOND = 1000

/** Nanoseconds that this thread has run, from some moment on: another process that takes the core does not count. */
export function threadNanoseconds(): number {
  const { user, system } = process.threadCpuUsage()
  return (user + system) * MICROSECOND
}

/** What all programs and the system have used of all cores so far, seconds. */
export function machineSeconds(): number {
  return cpus().reduce((sum, { times }) => sum + (times.user + times.nice + times.sys + times.irq) / 1000, 0)
}

/** The middle one; of an even number, the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length / 2
  return ((sorted[Math.ceil(middle) - 1] ?? Number.NaN) + (sorted[Math.floor(middle)] ?? Number.NaN)) / 2
}

/**
 * Measures each job once a round, so that whatever else the machine does meets them all alike; the medians, by job. The first
 * round does not count: it compiles.
 */
export async function interleaved<K extends string>(
  rounds: number,
  jobs: Readonly<Record<K, () => number | Promise<number>>>,
): Promise<Record<K, number>> {
  const names = Object.keys(jobs) as K[]
  const values = new Map<K, number[]>(names.map((name) => [name, []]))
  for (let round = 0; round <= rounds; round++) {
    for (const name of names) {
      globalThis.gc?.()
      const value = await jobs[name]()
      if (round > 0) values.get(name)?.push(value)
    }
  }
  return Object.fromEntries(names.map((name) => [name, median(values.get(name) ?? [])])) as Record<K, number>
}

/** Whole numbers below `limit` in the same order in every run. */
export class Dice {
  #state: number

  constructor(seed = 1) {
    this.#state = seed
  }

  /** From 0 to below 1 (Mulberry32). */
  next(): number {
    this.#state = (this.#state + 0x6d2b_79f5) | 0
    let word = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1)
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61)
    return ((word ^ (word >>> 14)) >>> 0) / 2 ** 32
  }

  below(limit: number): number {
    return Math.floor(this.next() * limit)
  }

  /** The numbers below `count`, in no order. */
  shuffled(count: number): Uint32Array {
    const numbers = Uint32Array.from({ length: count }, (_, i) => i)
    for (let i = count - 1; i > 0; i--) {
      const j = this.below(i + 1)
      const other = numbers[j] as number
      numbers[j] = numbers[i] as number
      numbers[i] = other
    }
    return numbers
  }
}
