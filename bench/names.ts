import { existsSync, readFileSync } from 'node:fs'
import { nameOf } from './traffic.ts'

/** Ranked names of the real world, where a checkout has them beside it. */
const TOP_LIST = new URL('../../shared/data/names/opendns-top-domains.txt', import.meta.url)

/** The names that are asked most, most asked first; null where there is no list. */
export function topNames(): readonly string[] | null {
  if (!existsSync(TOP_LIST)) return null
  return readFileSync(TOP_LIST, 'latin1')
    .split('\n')
    .filter((name) => name !== '')
}

export function madeUpNames(count: number): readonly string[] {
  return Array.from({ length: count }, (_, i) => nameOf(i))
}
