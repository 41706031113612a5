import { FIRST_ENTRY, PAGE_BYTES } from '../../gateway/cache/geometry.ts'
import { type CacheMemory, createCacheMemory } from '../../gateway/cache/memory.ts'
import { createTableMemory, Table } from '../../gateway/cache/table.ts'
import { nameOf, Traffic } from '../traffic.ts'
import { Ours, SECRET } from './contenders.ts'

const SAMPLES = 2000

/** Names by number, below `count`. */
export interface Names {
  readonly count: number
  readonly at: (i: number) => string
}

/** A cache whose pages, filled to the last octet, would hold answers to `entries` of the names. */
export function memoryFor(entries: number, names: Names = { count: entries, at: nameOf }): CacheMemory {
  const pages = Math.ceil((entries * entryBytes(names)) / (PAGE_BYTES - FIRST_ENTRY))
  // what else is in the memory, failures and leases, grows with the answers
  const rest = createCacheMemory({ bytes: pages * PAGE_BYTES, secret: SECRET, clockOffset: 0 })
  return { ...rest, answers: createTableMemory(pages * (PAGE_BYTES + 4)) }
}

export function bytesOf({ answers, failures, leases }: CacheMemory): number {
  const buffers = [answers.pages, answers.locks, failures.pages, failures.locks, leases]
  return buffers.reduce((sum, { byteLength }) => sum + byteLength, 0)
}

export function entriesIn({ answers }: CacheMemory): number {
  return sumOverPages(answers, (table, page) => table.countOf(page))
}

/** Octets of an average entry. */
function entryBytes({ count, at }: Names): number {
  const memory = createCacheMemory({ bytes: SAMPLES * 2048, secret: SECRET, clockOffset: 0 })
  const ours = new Ours(memory)
  const traffic = new Traffic(Array.from({ length: SAMPLES }, (_, i) => at(Math.floor((i * count) / SAMPLES))))
  for (let i = 0; i < traffic.count; i++) {
    const answer = traffic.answer(i, 0)
    ours.store(traffic.ask(i, 0), answer, 0)
  }
  return sumOverPages(memory.answers, (table, page) => Math.max(0, table.endOf(page) - FIRST_ENTRY)) / entriesIn(memory)
}

function sumOverPages(memory: CacheMemory['answers'], value: (table: Table, page: number) => number): number {
  const table = new Table(memory, { owner: 2, seed: 0, keepMs: 0 })
  let sum = 0
  for (let page = 0; page < table.pages; page++) sum += value(table, page)
  return sum
}
