import type { Question } from '../load/link.ts'
import { Dice } from '../measure.ts'
import { questionOf } from '../traffic.ts'

/** Names are below so many domains; the first of them, as many as there are routes, are asked elsewhere. */
const DOMAINS = 250
export const ROUTES = 200
/** Names that are in the cache before anything is measured. */
const KNOWN = 5000
const KNOWN_SHARE = 0.9

export function domainOf(i: number): string {
  return `r${i % DOMAINS}.example`
}

export function knownNames(): readonly string[] {
  return Array.from({ length: KNOWN }, (_, i) => `www${i}.${domainOf(i)}`)
}

/** What is asked: mostly names of the cache, and among them some that nobody has asked for. */
export class Questions {
  readonly #mark: string
  readonly #known = knownNames().map((name) => questionOf(name))
  readonly #dice: Dice

  /** `mark`: begins the new names; nobody else has the same. `seed`: of the order. */
  constructor(mark: string, seed: number) {
    this.#mark = mark
    this.#dice = new Dice(seed)
  }

  at(index: number): Question {
    const known = this.#dice.next() < KNOWN_SHARE ? this.#known[this.#dice.below(KNOWN)] : undefined
    return { index, wire: known ?? questionOf(`${this.#mark}-${index}.${domainOf(index)}`) }
  }
}
